"""Checkpoints with random weights in the real shapes, written as ordinary Hugging Face directories.

No trained weights are needed to compare speeds: the arithmetic does not depend on the values. What does matter is that
every program does the same work, so the weights are made such that the greedy continuation never ends by itself and
never repeats one token: linear layers have unit gain (normal, standard deviation 1/sqrt(fan-in)), and the end token
(Whisper: every token that is not text) cannot win, by the weights themselves rather than by each program's options.
All values come from one seed, so two runs make the same bytes.
"""

import argparse
import base64
import importlib.util
import json
import math
import shutil
from pathlib import Path

SEED = 3
RECIPE = 3  # Raised whenever the values change: older folders are then made anew.
ROW_COUNT = 16
ROW_TOKENS = 20
# Shapes as published with the models (their config.json): width, heads, encoder layers, decoder layers, mel bins, vocabulary.
WHISPER_SHAPES = {
    "tiny": (384, 6, 4, 4, 80, 51865),
    "base": (512, 8, 6, 6, 80, 51865),
    "small": (768, 12, 12, 12, 80, 51865),
    "large-v3": (1280, 20, 32, 32, 128, 51866),
    "large-v3-turbo": (1280, 20, 32, 4, 128, 51866),
}
TRANSLATION_SHAPES = ("opus-mt", "nllb-600m")
NAMES = (*WHISPER_SHAPES, *TRANSLATION_SHAPES)
DEFAULT_NAMES = ("tiny", "base", "opus-mt")
END_OF_TEXT = 50257


def is_speech(name):
    """Whether the checkpoint of this name is a speech model (else a translation model)."""
    return name in WHISPER_SHAPES


def make(name, folder):
    """Writes checkpoint `name` into `folder`, unless it is already there in full; returns the folder."""
    folder = Path(folder)
    done = folder / "complete.json"
    recipe = {"name": name, "seed": SEED, "recipe": RECIPE}
    if done.exists() and json.loads(done.read_text()) == recipe:
        return folder
    for stale in folder.parent.glob(f"{name}.*"):  # What was converted from an older recipe.
        shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    if is_speech(name):
        _make_whisper(name, folder)
    elif name == "opus-mt":
        _make_marian(folder)
    else:
        _make_nllb(folder)
    done.write_text(json.dumps(recipe))
    return folder


# Gains that keep a random decoder from settling on one token: sharper attention, stronger feed-forward layers and
# positions, and a share of the encoder's average that does not drown the rest. Found by trial; speed does not see them.
WHISPER_GAINS = (("decoder.embed_positions", 10.0), ("decoder.embed_tokens", 5.0), ("q_proj.weight", 3.0),
                 ("decoder.", "fc2.weight", 3.0), ("encoder_attn.out_proj.weight", 0.5))
TRANSLATION_GAINS = (("shared", 6.0), ("q_proj.weight", 3.0), ("decoder.", "fc2.weight", 9.0),
                     ("encoder_attn.out_proj.weight", 0.1), ("decoder.", "self_attn.out_proj.weight", 0.5))


def _gain(name, gains):
    """The factor of the parameter of this name."""
    return next((factor for *words, factor in gains if all(word in name for word in words)), 1.0)


def _fill(model, gains):
    """Seeded values for every parameter: unit-gain linear layers, small biases, layer norms near the identity."""
    import torch

    generator = torch.Generator().manual_seed(SEED)
    for name, parameter in sorted(model.named_parameters()):
        if "embed_positions" in name and "decoder" not in name or "sinusoidal" in name:
            continue  # Fixed sinusoids, made by the model's own constructor.
        noise = torch.empty_like(parameter).normal_(generator=generator)
        if "layer_norm" in name or "layernorm" in name:
            parameter.data = 0.02 * noise + (1.0 if name.endswith("weight") else 0.0)
        elif name.endswith("bias") or "embed" in name or "shared" in name:
            parameter.data = 0.02 * _gain(name, gains) * noise
        else:
            parameter.data = _gain(name, gains) * noise / math.sqrt(parameter[0].numel())


def _make_whisper(name, folder):
    import torch
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    width, heads, encoder_layers, decoder_layers, mels, vocabulary = WHISPER_SHAPES[name]
    config = WhisperConfig(
        vocab_size=vocabulary, num_mel_bins=mels, d_model=width,
        encoder_layers=encoder_layers, encoder_attention_heads=heads, encoder_ffn_dim=4 * width,
        decoder_layers=decoder_layers, decoder_attention_heads=heads, decoder_ffn_dim=4 * width,
        max_source_positions=1500, max_target_positions=448, activation_function="gelu",
        pad_token_id=END_OF_TEXT, bos_token_id=END_OF_TEXT, eos_token_id=END_OF_TEXT,
        decoder_start_token_id=END_OF_TEXT + 1, begin_suppress_tokens=None,
    )
    model = WhisperForConditionalGeneration(config).float().eval()
    _fill(model, WHISPER_GAINS)
    with torch.no_grad():
        # Feature 0 of the last layer norm is the constant 4, and every row that is no text answers it with -1: such a
        # token's logit is near -4, below the winner's.
        model.model.decoder.embed_tokens.weight[:, 0] = 0.0
        model.model.decoder.embed_tokens.weight[END_OF_TEXT:, 0] = -1.0
        model.model.decoder.layer_norm.weight[0] = 0.0
        model.model.decoder.layer_norm.bias[0] = 4.0
    languages = vocabulary - 51765 - 1
    tokenizer = _whisper_tokenizer(languages)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=mels).save_pretrained(folder)
    settings = model.generation_config
    settings.suppress_tokens, settings.begin_suppress_tokens = [], []
    settings.is_multilingual = True
    settings.no_timestamps_token_id = tokenizer.convert_tokens_to_ids("<|notimestamps|>")
    ids = {f"<|{code}|>": END_OF_TEXT + 2 + i for i, code in enumerate(_language_codes()[:languages])}
    settings.lang_to_id = ids
    settings.task_to_id = {t: tokenizer.convert_tokens_to_ids(f"<|{t}|>") for t in ("transcribe", "translate")}
    half = range(decoder_layers // 2, decoder_layers)
    settings.alignment_heads = [[layer, head] for layer in half for head in range(heads)]
    model.save_pretrained(folder)


def whisper_asset(file):
    """A file that the PyPI package openai-whisper brings along."""
    package = importlib.util.find_spec("whisper").submodule_search_locations[0]
    return Path(package) / "assets" / file


def _language_codes():
    from whisper.tokenizer import LANGUAGES

    return list(LANGUAGES)


def whisper_ranks():
    """The text tokens of multilingual Whisper: bytes to rank, which is also the token id."""
    pairs = (line.split() for line in whisper_asset("multilingual.tiktoken").read_bytes().splitlines() if line)
    return {base64.b64decode(token): int(rank) for token, rank in pairs}


def byte_letters():
    """The letter that byte-level BPE files write for each byte (GPT-2): itself if visible, else from U+0100 on."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte if byte in visible else 0x100 + hidden.index(byte)) for byte in range(256)}


def _merged_pair(token, ranks):
    """The two parts whose merge gives `token`: byte-pair merging in rank order, stopped before the last merge."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        joined = [ranks.get(parts[i] + parts[i + 1], len(ranks)) for i in range(len(parts) - 1)]
        best = min(joined)
        if best == len(ranks):
            return None
        at = joined.index(best)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts


def _whisper_tokenizer(languages):
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = byte_letters()
    spell = lambda token: "".join(letters[b] for b in token)  # noqa: E731
    ranks = whisper_ranks()
    vocabulary = {spell(token): rank for token, rank in ranks.items()}
    pairs = (_merged_pair(token, ranks) for token in sorted(ranks, key=ranks.get) if len(token) > 1)
    merges = [(spell(pair[0]), spell(pair[1])) for pair in pairs if pair]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{c}|>" for c in _language_codes()[:languages])]
    tasks = ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")
    special += [f"<|{task}|>" for task in tasks]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    times = [f"<|{i * 0.02:.2f}|>" for i in range(1501)]
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in times])
    assert tokenizer.token_to_id("<|endoftext|>") == END_OF_TEXT, "the text tokens are not complete"
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|endoftext|>", bos_token="<|endoftext|>", unk_token="<|endoftext|>",
        additional_special_tokens=special[1:],
    )


def _make_marian(folder):
    from transformers import MarianConfig, MarianMTModel

    config = MarianConfig(
        vocab_size=65001, decoder_vocab_size=65001, d_model=512, max_position_embeddings=512,
        encoder_layers=6, encoder_attention_heads=8, encoder_ffn_dim=2048,
        decoder_layers=6, decoder_attention_heads=8, decoder_ffn_dim=2048,
        activation_function="swish", scale_embedding=True, share_encoder_decoder_embeddings=True,
        pad_token_id=65000, eos_token_id=0, decoder_start_token_id=65000, forced_eos_token_id=None,
    )
    model = MarianMTModel(config).float().eval()
    _fill(model, TRANSLATION_GAINS)
    model.model.shared.weight.data[65000] = 0.0  # The start of decoding is a zero embedding, as in trained models.
    model.final_logits_bias[0, [0, 1, 65000]] = -1e4  # End, unknown, padding: never.
    model.generation_config.bad_words_ids = [[65000]]
    model.save_pretrained(folder)
    pieces = _syllables(65001 - 3)
    vocabulary = {"</s>": 0, "<unk>": 1, **{piece: i + 2 for i, piece in enumerate(pieces)}, "<pad>": 65000}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    for side in ("source.spm", "target.spm"):
        (folder / side).write_bytes(_sentencepiece(pieces))
    settings = {"tokenizer_class": "MarianTokenizer", "source_lang": "en", "target_lang": "es",
                "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "separate_vocabs": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    _write_rows(folder, 2, 65000)


def _make_nllb(folder):
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import M2M100Config, M2M100ForConditionalGeneration, PreTrainedTokenizerFast

    config = M2M100Config(
        vocab_size=256206, d_model=1024, max_position_embeddings=1024, activation_function="relu",
        encoder_layers=12, encoder_attention_heads=16, encoder_ffn_dim=4096,
        decoder_layers=12, decoder_attention_heads=16, decoder_ffn_dim=4096, scale_embedding=True,
        bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2,
    )
    model = M2M100ForConditionalGeneration(config).float().eval()
    _fill(model, TRANSLATION_GAINS)
    with torch.no_grad():  # As in Whisper: tokens 0 to 3 answer a constant feature with -1.
        model.model.shared.weight[:, 0] = 0.0
        model.model.shared.weight[:4, 0] = -1.0
        model.model.decoder.layer_norm.weight[0] = 0.0
        model.model.decoder.layer_norm.bias[0] = 4.0
    model.save_pretrained(folder)
    words = ["<s>", "<pad>", "</s>", "<unk>", *(f"word{i}" for i in range(4, 256206))]
    splitter = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    splitter.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=splitter, bos_token="<s>", pad_token="<pad>", eos_token="</s>",
                            unk_token="<unk>").save_pretrained(folder)
    _write_rows(folder, 4, 256000)


def _write_rows(folder, first, end):
    """The source rows that both sides translate: `rows.json`, 16 rows of 20 ids, without the end token."""
    import random

    draw = random.Random(SEED)
    rows = [[draw.randrange(first, end) for _ in range(ROW_TOKENS)] for _ in range(ROW_COUNT)]
    (folder / "rows.json").write_text(json.dumps(rows))


def _syllables(count):
    """Distinct made-up words with SentencePiece's word mark, for a tokenizer that can be loaded."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = ["\u2581", *letters]
    number = 0
    while len(pieces) < count:
        word, rest = "", number
        while True:
            rest, consonant = divmod(rest, 21)
            rest, vowel = divmod(rest, 5)
            word += "bcdfghjklmnpqrstvwxyz"[consonant] + "aeiou"[vowel]
            if rest == 0:
                break
            rest -= 1
        pieces.append("\u2581" + word)
        number += 1
    return pieces


def _sentencepiece(pieces):
    from sentencepiece import sentencepiece_model_pb2 as schema

    proto = schema.ModelProto()
    kinds = schema.ModelProto.SentencePiece
    for piece, kind in (("<unk>", kinds.UNKNOWN), ("<s>", kinds.CONTROL), ("</s>", kinds.CONTROL)):
        proto.pieces.add(piece=piece, score=0.0, type=kind)
    for i, piece in enumerate(pieces):
        proto.pieces.add(piece=piece, score=-5.0 - i / len(pieces), type=kinds.NORMAL)
    proto.trainer_spec.model_type = schema.TrainerSpec.UNIGRAM
    proto.trainer_spec.vocab_size = len(proto.pieces)
    proto.normalizer_spec.name = "identity"
    return proto.SerializeToString()


if __name__ == "__main__":
    options = argparse.ArgumentParser(description="Write random-weight checkpoints in real shapes.")
    options.add_argument("folder", type=Path)
    options.add_argument("names", nargs="+", choices=NAMES)
    chosen = options.parse_args()
    for each in chosen.names:
        print(make(each, chosen.folder / each))
