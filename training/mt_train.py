"""Trains the translator: a Marian (Hugging Face's module) on sentence pairs, resumable."""
import os
import random
import time

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from transformers import MarianConfig, MarianMTModel

from .text_pairs import multi, vary

END, PAD, POSITIONS = 0, 2, 128
IGNORE, LABEL_SMOOTHING = -100, 0.1
TOKENS_PER_BATCH = 900
SHARES = {"domain": 0.6, "other": 0.28}  # the rest: several sentences at once
SIZE = dict(d_model=192, layers=3, heads=3, ffn=768)


def config(vocabulary, d_model, layers, heads, ffn):
    """`decoder_vocab_size` and friends are written out because other loaders ask for them."""
    return MarianConfig(
        vocab_size=vocabulary, decoder_vocab_size=vocabulary, d_model=d_model, encoder_layers=layers, decoder_layers=layers,
        encoder_attention_heads=heads, decoder_attention_heads=heads, encoder_ffn_dim=ffn, decoder_ffn_dim=ffn,
        max_position_embeddings=POSITIONS, activation_function="swish", scale_embedding=True, share_encoder_decoder_embeddings=True,
        tie_word_embeddings=True, pad_token_id=PAD, eos_token_id=END, bos_token_id=None, decoder_start_token_id=PAD, forced_eos_token_id=END,
        dropout=0.0, attention_dropout=0.0, activation_dropout=0.0)


def batches(tokenizer, domain, other, seed):
    """Endless batches of pairs of like length: (source ids, mask, decoder input, labels)."""
    rng = random.Random(seed)
    while True:
        drawn = []
        for _ in range(3000):
            chance = rng.random()
            if chance < SHARES["domain"] or not other:
                pair = rng.choice(domain)
            elif chance < SHARES["domain"] + SHARES["other"]:
                pair = rng.choice(other)
            else:
                pair = multi(domain, rng)
            drawn.append(vary(pair, rng))
        sources = [e.ids[: POSITIONS - 1] + [END] for e in tokenizer.encode_batch([en for en, _ in drawn])]
        targets = [e.ids[: POSITIONS - 1] + [END] for e in tokenizer.encode_batch([es for _, es in drawn])]
        order = sorted(range(len(drawn)), key=lambda i: len(targets[i]) + rng.random())
        groups, at = [], 0
        while at < len(order):
            size = max(8, TOKENS_PER_BATCH // len(targets[order[min(at + 40, len(order) - 1)]]))
            groups.append(order[at: at + size])
            at += size
        rng.shuffle(groups)
        for group in groups:
            yield pack([sources[i] for i in group], [targets[i] for i in group])


def pack(sources, targets):
    def grid(rows, fill):
        width = max(map(len, rows))
        return torch.tensor([row + [fill] * (width - len(row)) for row in rows])

    source = grid(sources, PAD)
    return source, (source != PAD).long(), grid([[PAD] + t[:-1] for t in targets], PAD), grid(targets, IGNORE)


@torch.no_grad()
def translate(model, tokenizer, texts, most=100):
    """Greedy translations of a list of texts, batched by length."""
    model.eval()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    found = [""] * len(texts)
    for at in range(0, len(order), 50):
        part = order[at: at + 50]
        rows = [e.ids[: POSITIONS - 1] + [END] for e in tokenizer.encode_batch([texts[i] for i in part])]
        width = max(map(len, rows))
        source = torch.tensor([row + [PAD] * (width - len(row)) for row in rows])
        made = model.generate(input_ids=source, attention_mask=(source != PAD).long(), num_beams=1, do_sample=False, max_new_tokens=most)
        for i, ids in zip(part, made.tolist()):
            found[i] = tokenizer.decode([t for t in ids if t > PAD])
    return found


def train(run, tokenizer_path, domain, other, steps, peak=1.2e-3, warmup=300, seed=1, size=None, threads=1, check=None, check_every=500):
    """Trains until `steps`, the learning rate falling to zero; goes on from run/state.pt. -> model."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    os.makedirs(run, exist_ok=True)
    tokenizer = Tokenizer.from_file(tokenizer_path)
    model = MarianMTModel(config(tokenizer.get_vocab_size(), **(size or SIZE)))
    with torch.no_grad():  # scale_embedding multiplies by sqrt(d): bring the embedding to unit size
        model.model.shared.weight.normal_(0, model.config.d_model ** -0.5)
        model.model.shared.weight[PAD].zero_()
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    step, state_path = 0, os.path.join(run, "state.pt")
    if os.path.exists(state_path):
        state = torch.load(state_path)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
    source = batches(tokenizer, domain, other, seed * 1_000_003 + step)
    total, since = 0.0, time.time()
    model.train()
    while step < steps:
        for group in optimizer.param_groups:
            group["lr"] = peak * min((step + 1) / warmup, (steps - step) / (steps - min(warmup, steps - 1)))
        ids, mask, inputs, labels = next(source)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(input_ids=ids, attention_mask=mask, decoder_input_ids=inputs, use_cache=False).logits
        loss = F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORE, label_smoothing=LABEL_SMOOTHING)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        total += float(loss.detach())
        if step % 100 == 0:
            print(f"mt step {step} loss {total / 100:.3f} {100 / (time.time() - since):.2f} it/s", flush=True)
            total, since = 0.0, time.time()
        if step % check_every == 0 or step == steps:
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, state_path + ".part")
            os.replace(state_path + ".part", state_path)
            if check:
                print("  " + check(model, tokenizer), flush=True)
                model.train()
            since = time.time()
    return model


def chrf(references, hypotheses):
    import sacrebleu
    return sacrebleu.corpus_chrf(hypotheses, [references]).score


