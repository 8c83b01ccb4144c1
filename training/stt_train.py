"""Trains the speech model: cross-entropy on the decoder plus CTC on the encoder, resumable."""
import glob
import json
import multiprocessing
import os
import tempfile
import time

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing
import torch.nn.functional as F

from . import stt_model
from .augment import Drawer, padded
from .features import WINDOW_FRAMES
from .scoring import word_errors
from .stt_model import CTC_LETTERS, Speech
from .text_open import letters
from .tokens import SpeechTokens

FRAMES_PER_BATCH = 10_000
CTC_WEIGHT, LABEL_SMOOTHING, EMA = 0.5, 0.1, 0.996
IGNORE = -100


def load_pool(folder):
    """All clips of a folder's shards, mel memory-mapped."""
    clips = []
    for index in sorted(glob.glob(os.path.join(folder, "*.json"))):
        mel = np.load(index[:-5] + ".npy", mmap_mode="r")
        for record in json.load(open(index)):
            record["mel"] = mel[record["start"]: record["start"] + record["frames"]]
            clips.append(record)
    return clips


def target(tokens, words, spans, rng, timestamp_share):
    """-> (decoder input ids, labels, letters for CTC)."""
    if words is None:
        ids = tokens.prompt
        return ids, [tokens.no_speech, IGNORE, IGNORE, tokens.end], ""
    text = " ".join(words)
    if not spans:  # cut off: nothing says yet how the sentence goes on
        text = text.rstrip(".,?!")
    if spans and rng.random() < timestamp_share:
        ids = tokens.prompt[:3]
        for part, first, last in spans:
            ids = ids + [tokens.timestamp(first)] + tokens.encode(part) + [tokens.timestamp(last)]
    else:
        ids = tokens.prompt + tokens.encode(text)
    ids = ids[: stt_model.TARGET_POSITIONS]
    return ids, (ids[1:] + [tokens.end]), letters(text)


def batches(tokens, drawer, frames_per_batch):
    """Endless batches of examples of like length: (mel, ids, labels, ctc targets, lengths in positions)."""
    rng = drawer.rng
    while True:
        drawn = sorted((drawer.draw() for _ in range(400)), key=lambda e: len(e[0]))
        groups, at = [], 0
        while at < len(drawn):
            full = rng.random() < drawer.shares["full"]
            frames = WINDOW_FRAMES
            size = max(4, frames_per_batch // WINDOW_FRAMES)
            if not full:
                size = max(4, min(48, frames_per_batch // len(drawn[min(at + 23, len(drawn) - 1)][0])))
                frames = len(drawn[min(at + size, len(drawn)) - 1][0])
                frames += int(rng.integers(0, 200)) if rng.random() < 0.25 else 0
                frames = min(frames + frames % 2, WINDOW_FRAMES)
            groups.append((drawn[at: at + size], frames))
            at += size
        for number in rng.permutation(len(groups)):
            yield batch(tokens, drawer, *groups[number])


def batch(tokens, drawer, examples, frames):
    mel = np.empty((len(examples), frames, 80), np.float32)
    targets, lengths = [], []
    for i, (log_mel, words, spans) in enumerate(examples):
        mel[i] = padded(log_mel, frames)
        if drawer.spec_augment and words:
            drawer.mask(mel[i][: len(log_mel)])
        lengths.append(len(log_mel) // 2)
        targets.append(target(tokens, words, spans, drawer.rng, drawer.shares["timestamps"]))
    width = max(len(ids) for ids, _, _ in targets)
    ids, labels = np.full((len(targets), width), tokens.end), np.full((len(targets), width), IGNORE)
    ctc = []
    for i, (inputs, wanted, text) in enumerate(targets):
        ids[i, : len(inputs)], labels[i, : len(wanted)] = inputs, wanted
        ctc.append([CTC_LETTERS.index(ch) + 1 for ch in text])
    return mel.transpose(0, 2, 1).copy(), ids, labels, ctc, lengths


def _feed(queue, make_drawer, tokenizer_path, frames_per_batch):
    torch.set_num_threads(1)
    for item in batches(SpeechTokens(tokenizer_path), make_drawer(), frames_per_batch):
        queue.put(item)


class DrawerMaker:
    """Builds a Drawer in the feeding process; `plan` maps a shard folder to its weight."""

    def __init__(self, plan, seed, spec_augment, shares=None):
        self.plan, self.seed, self.spec_augment, self.shares = plan, seed, spec_augment, shares

    def __call__(self):
        pools = {folder: (weight, load_pool(folder)) for folder, weight in self.plan.items()}
        return Drawer({k: v for k, v in pools.items() if v[1]}, self.seed, self.spec_augment, self.shares)


def losses(model, item):
    mel, ids, labels, ctc, lengths = item
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, letter_logits = model(torch.from_numpy(mel), torch.from_numpy(ids))
    cross = F.cross_entropy(logits.float().flatten(0, 1), torch.from_numpy(labels).flatten(), ignore_index=IGNORE, label_smoothing=LABEL_SMOOTHING)
    flat = torch.tensor([c for row in ctc for c in row], dtype=torch.long)
    log_probs = F.log_softmax(letter_logits.float(), -1).transpose(0, 1)
    ctc_loss = F.ctc_loss(log_probs, flat, torch.tensor(lengths), torch.tensor([len(r) for r in ctc]), zero_infinity=True)
    return cross, ctc_loss


def learning_rate(step, peak, warmup, steps, decay_from):
    """Warm-up, a plateau until `decay_from`, and a straight line to zero at `steps`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * min(1.0, max(0.0, (steps - step) / max(1, steps - decay_from)))


@torch.no_grad()
def quick_wer(model, tokens, clips, limit=40):
    """WER of greedy decoding over (features [frames, 80], text) pairs, padded to the longest."""
    wrong = total = 0
    clips = sorted(clips[:limit], key=lambda c: len(c[0]))
    for at in range(0, len(clips), 20):
        part = clips[at: at + 20]
        frames = max(len(m) for m, _ in part)
        frames += frames % 2
        mel = np.stack([padded(m, frames) for m, _ in part]).transpose(0, 2, 1).copy()
        for ids, (_, text) in zip(model.greedy(torch.from_numpy(mel), tokens.prompt, tokens.end, 48), part):
            errors, words = word_errors(text, tokens.decode(ids))
            wrong, total = wrong + errors, total + words
    return 100 * wrong / max(1, total)


class Settings:
    """What one training run is made of; every process of the run gets the same."""

    def __init__(self, run, plan, tokenizer_path, steps, decay_from, total=None, peak=1.2e-3, warmup=400, seed=1, size=None, spec_augment=True,
                 checks=None, check_every=400, processes=2, frames_per_batch=FRAMES_PER_BATCH, shares=None):
        self.__dict__.update({k: v for k, v in locals().items() if k != "self"})
        self.size = size or stt_model.SIZE
        self.total = total or max(steps, decay_from)  # where the learning rate reaches zero; a stage may stop before
        self.state_path = os.path.join(run, "state.pt")


def train(**settings):
    """Trains until `steps` in folder `run`, going on from run/state.pt where there is one. -> EMA model.

    Each process computes the gradient of its own batch on one thread and all apply the mean: on
    busy cores that beats one process with several threads, which wait for each other far oftener.
    """
    settings = Settings(**settings)
    os.makedirs(settings.run, exist_ok=True)
    meeting = tempfile.mktemp(prefix="subtide-training-")
    context = torch.multiprocessing.get_context("spawn")
    helpers = [context.Process(target=_loop, args=(settings, rank, meeting), daemon=True) for rank in range(1, settings.processes)]
    for helper in helpers:
        helper.start()
    model = _loop(settings, 0, meeting)
    for helper in helpers:
        helper.join()
    return model


class _Average:
    """Exponential moving average of the weights: what is evaluated and exported."""

    def __init__(self, weights):
        self.values = [w.detach().clone() for w in weights]

    @torch.no_grad()
    def update(self, weights, step):
        torch._foreach_lerp_(self.values, list(weights), 1 - min(EMA, (step + 1) / (step + 10)))

    @torch.no_grad()
    def model(self, settings, vocabulary, current):
        model = Speech(vocabulary, **settings.size).eval()
        model.load_state_dict(current.state_dict())
        for p, a in zip(trainable(model), self.values):
            p.copy_(a)
        return model


def trainable(model):
    return [p for p in model.parameters() if p.requires_grad]


def share_gradients(weights, processes):
    """Replaces every gradient by its mean over the processes."""
    if processes == 1:
        return
    flat = torch.cat([w.grad.flatten() for w in weights])
    dist.all_reduce(flat)
    flat /= processes
    at = 0
    for w in weights:
        w.grad.copy_(flat[at: at + w.numel()].view_as(w))
        at += w.numel()


def start_feeder(settings, rank, step):
    """A process of its own draws this rank's batches into a short queue."""
    context = multiprocessing.get_context("fork")
    queue = context.Queue(4)
    maker = DrawerMaker(settings.plan, (settings.seed * 1_000_003 + step) * 16 + rank, settings.spec_augment, settings.shares)
    feeder = context.Process(target=_feed, args=(queue, maker, settings.tokenizer_path, settings.frames_per_batch))
    feeder.daemon = True
    multiprocessing.process.current_process()._config["daemon"] = False  # helpers are daemons and may have this one child
    feeder.start()
    return queue, feeder


def _loop(settings, rank, meeting):
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    if settings.processes > 1:
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=settings.processes)
    tokens = SpeechTokens(settings.tokenizer_path)
    model = Speech(tokens.size, **settings.size)
    weights = trainable(model)
    average = _Average(weights)
    optimizer = torch.optim.AdamW(weights, lr=settings.peak, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    step = 0
    if os.path.exists(settings.state_path):
        state = torch.load(settings.state_path)
        model.load_state_dict(state["model"])
        average.values = state["average"]
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
    queue, feeder = start_feeder(settings, rank, step)
    sums, since = np.zeros(2), time.time()
    while step < settings.steps:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, settings.peak, settings.warmup, settings.total, settings.decay_from)
        cross, ctc = losses(model, queue.get())
        optimizer.zero_grad(set_to_none=True)
        (cross + CTC_WEIGHT * ctc).backward()
        share_gradients(weights, settings.processes)
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        step += 1
        if rank:
            continue
        average.update(weights, step)
        sums += (float(cross.detach()), float(ctc.detach()))
        if step % 50 == 0:
            print(f"step {step} ce {sums[0] / 50:.3f} ctc {sums[1] / 50:.3f} lr {optimizer.param_groups[0]['lr']:.2e} "
                  f"{50 / (time.time() - since):.2f} it/s", flush=True)
            sums[:], since = 0, time.time()
        if step % settings.check_every == 0 or step == settings.steps:
            torch.save({"model": model.state_dict(), "average": average.values, "optimizer": optimizer.state_dict(),
                        "step": step, "size": settings.size}, settings.state_path + ".part")
            os.replace(settings.state_path + ".part", settings.state_path)
            if settings.checks:
                averaged = average.model(settings, tokens.size, model)
                print(f"  {time.strftime('%H:%M:%S')} WER " + " ".join(
                    f"{name} {quick_wer(averaged, tokens, clips):.1f}" for name, clips in settings.checks.items()), flush=True)
            since = time.time()
    feeder.terminate()
    return None if rank else average.model(settings, tokens.size, model)
