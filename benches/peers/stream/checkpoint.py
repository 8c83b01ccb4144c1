"""Copies a demo speech checkpoint into the shape that every multilingual Whisper has, so that programs made for those can load it.

    python benches/peers/stream/checkpoint.py models/demo-stt-en FOLDER

The peers take for granted what OpenAI's checkpoints have in common: 51865 tokens with the special ones at fixed ids, a window of 30 s.
The copy has the same weights, row for row, at those places:
- text tokens keep their ids; special tokens and timestamps move to their usual ids; rows between are filled so that they never win
- the encoder's positions go on to 1500: they are sinusoids, so the first 500 stay as they are, and the rest was never trained

Writes Hugging Face's layout, beside it CTranslate2's (FOLDER.ct2), and the text tokens in tiktoken's form (FOLDER/tokens.tiktoken).
"""

import base64
import json
import math
import shutil
import sys
from pathlib import Path

VOCABULARY, POSITIONS = 51865, 1500  # a window of 30 s
END, START, LANGUAGES = 50257, 50258, 99
TRANSLATE, TRANSCRIBE, START_OF_LM, START_OF_PREVIOUS, NO_SPEECH, NO_TIMESTAMPS = range(50358, 50364)
FIRST_TIMESTAMP, TIMESTAMPS = 50364, 1501
# The score of the filled rows, below 0. Scores that win are above -10.
DEPTH = 60.0


def _language_codes():
    """Whisper's languages in the order of their ids."""
    from faster_whisper.tokenizer import _LANGUAGE_CODES
    from whisperlivekit.whisper.tokenizer import LANGUAGES as ordered

    codes = list(ordered)[:LANGUAGES]
    assert set(codes) <= set(_LANGUAGE_CODES)
    return codes


def _names():
    """Special token -> its usual id."""
    names = {"<|endoftext|>": END, "<|startoftranscript|>": START, "<|translate|>": TRANSLATE, "<|transcribe|>": TRANSCRIBE,
             "<|startoflm|>": START_OF_LM, "<|startofprev|>": START_OF_PREVIOUS, "<|nospeech|>": NO_SPEECH, "<|notimestamps|>": NO_TIMESTAMPS}
    names.update({f"<|{code}|>": START + 1 + i for i, code in enumerate(_language_codes())})
    names.update({f"<|{i * 0.02:.2f}|>": FIRST_TIMESTAMP + i for i in range(TIMESTAMPS)})
    return names


def _sinusoids(length, width):
    """Whisper's encoder positions (`sinusoids` of openai-whisper's model.py)."""
    import torch

    rates = torch.exp(-math.log(10_000) / (width // 2 - 1) * torch.arange(width // 2))
    angle = torch.arange(length)[:, None] * rates[None]
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def _losing_row(state):
    """A token's row whose score is -DEPTH whatever was heard, [width].

    The decoder's last layer norm gives g * n + b, where the numbers of n sum to 0. A row of c / g then scores c * sum(b / g), a constant.
    """
    gain, shift = (state[f"model.decoder.layer_norm.{part}"].double() for part in ("weight", "bias"))
    constant = (shift / gain).sum()
    row = -DEPTH / constant / gain
    assert row.abs().max() < 1e3, f"the filled rows would be too large ({row.abs().max():.0f}) to be exact"
    return row.float()


def _tokenizer(source, names):
    """tokenizer.json with the special tokens at their usual ids, and the text tokens (1024 of them)."""
    tokenizer = json.loads((source / "tokenizer.json").read_text())
    text = {token: i for token, i in tokenizer["model"]["vocab"].items()}
    first_special = min(added["id"] for added in tokenizer["added_tokens"])
    assert sorted(text.values()) == list(range(first_special)), "the text tokens are not the first ids"
    # The one before the end token is empty: by that CTranslate2 knows a multilingual Whisper.
    tokenizer["model"]["vocab"] = {**text, **{f"<|unused{i}|>": i for i in range(len(text), END - 1)}, "": END - 1}
    kinds = {added["content"]: added for added in tokenizer["added_tokens"]}
    template = kinds["<|startoftranscript|>"]
    tokenizer["added_tokens"] = [{**kinds.get(name, template), "id": i, "content": name} for name, i in sorted(names.items(), key=lambda item: item[1])]
    return tokenizer, text


def _tiktoken(text):
    """The text tokens as tiktoken lists them: base64 of the bytes, and the rank; filled up to END with bytes that never come."""
    letters = [*range(33, 127), *range(161, 173), *range(174, 256)]
    byte_of = {chr(b): b for b in letters}
    byte_of.update({chr(256 + n): b for n, b in enumerate(b for b in range(256) if b not in letters)})
    lines = []
    for token, i in sorted(text.items(), key=lambda item: item[1]):
        lines.append(f"{base64.b64encode(bytes(byte_of[c] for c in token)).decode()} {i}")
    for i in range(len(text), END):
        lines.append(f"{base64.b64encode(b'%c%c%d' % (255, 254, i)).decode()} {i}")
    return "\n".join(lines) + "\n"


def make(source, folder, positions=POSITIONS):
    """Writes the copy into `folder` unless it is there; with fewer `positions` its window stays shorter than 30 s."""
    import torch
    from safetensors.torch import load_file, save_file

    if (folder.parent / (folder.name + ".ct2") / "model.bin").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    names = _names()
    tokenizer, text = _tokenizer(source, names)
    old = {added["content"]: added["id"] for added in json.loads((source / "tokenizer.json").read_text())["added_tokens"]}
    state = {name: weight.float() for name, weight in load_file(source / "model.safetensors").items()}
    rows = state["model.decoder.embed_tokens.weight"]
    wide = _losing_row(state).repeat(VOCABULARY, 1)
    wide[: len(text)] = rows[: len(text)]
    for name, i in names.items():
        if name in old:
            wide[i] = rows[old[name]]
    state["model.decoder.embed_tokens.weight"] = wide
    trained = state["model.encoder.embed_positions.weight"]
    wave = _sinusoids(positions, trained.shape[1])
    assert (wave[: len(trained)] - trained).abs().max() < 2e-3, "the encoder's positions are not sinusoids"  # f16
    state["model.encoder.embed_positions.weight"] = wave
    save_file({name: weight.contiguous() for name, weight in state.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    _write_settings(source, folder, names, positions)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))
    (folder / "tokens.tiktoken").write_text(_tiktoken(text))
    _convert(folder)
    return folder


def _write_settings(source, folder, names, positions):
    """The configurations, with the moved ids."""
    special = sorted(i for name, i in names.items() if i > END)
    ids = {"bos_token_id": END, "eos_token_id": END, "pad_token_id": END, "decoder_start_token_id": START, "begin_suppress_tokens": []}
    config = json.loads((source / "config.json").read_text())
    config.update(ids, vocab_size=VOCABULARY, max_source_positions=positions, suppress_tokens=special, torch_dtype="float32")
    settings = json.loads((source / "generation_config.json").read_text())
    settings.update(ids, suppress_tokens=special, no_timestamps_token_id=NO_TIMESTAMPS, prev_sot_token_id=START_OF_PREVIOUS, is_multilingual=True,
                    lang_to_id={name: i for name, i in names.items() if START < i < TRANSLATE},
                    task_to_id={"transcribe": TRANSCRIBE, "translate": TRANSLATE}, forced_decoder_ids=None)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    (folder / "generation_config.json").write_text(json.dumps(settings, indent=2))
    shutil.copyfile(source / "preprocessor_config.json", folder / "preprocessor_config.json")


def _convert(folder):
    """The same in CTranslate2's format."""
    from ctranslate2.converters import TransformersConverter

    out = folder.parent / (folder.name + ".ct2")
    TransformersConverter(str(folder), copy_files=["tokenizer.json", "preprocessor_config.json"]).convert(str(out), force=True)


if __name__ == "__main__":
    make(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
