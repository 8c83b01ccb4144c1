"""Writes a Whisper checkpoint in the file format that whisper.cpp loads.

The format (whisper.cpp, `models/README.md` and its loader): a magic number, eleven integers of sizes, the mel filter bank,
the text tokens' bytes, then each tensor as (dimension count, name length, type, dimensions from the innermost outwards,
name, data). All little-endian. Quantised types hold blocks of 32 weights behind one f16 scale (ggml's `q8_0`, `q5_0`). There is no
f32 here: whisper.cpp's convolutions refuse f32 weights.
"""

import json
import struct

MAGIC = 0x67676D6C
# Type: (file type in the header, tensor type of the matrices). Quantised files carry the quantisation version 2 as thousands.
TYPES = {"f16": (1, 1), "q5_0": (2008, 6), "q8_0": (2007, 8)}
BLOCK = 32


def write(checkpoint, kind, path):
    """Writes the Hugging Face directory `checkpoint` to `path`, its matrices in type `kind`."""
    from safetensors.numpy import load_file

    from checkpoints import whisper_ranks
    from torch_peers import openai_name

    config = json.loads((checkpoint / "config.json").read_text())
    width, heads, mels = config["d_model"], config["encoder_attention_heads"], config["num_mel_bins"]
    sizes = (config["vocab_size"], config["max_source_positions"], width, heads, config["encoder_layers"],
             config["max_target_positions"], width, heads, config["decoder_layers"], mels, TYPES[kind][0])
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(struct.pack("<I11i", MAGIC, *sizes))
        filters = _mel_filters(mels)
        file.write(struct.pack("<2i", *filters.shape) + filters.tobytes())
        ranks = whisper_ranks()
        file.write(struct.pack("<i", len(ranks)))
        for token in sorted(ranks, key=ranks.get):
            file.write(struct.pack("<I", len(token)) + token)
        for name, value in load_file(checkpoint / "model.safetensors").items():
            _write_tensor(file, openai_name(name), value, kind)
    part.rename(path)
    return path


def _mel_filters(mels):
    """The filter bank of openai-whisper, (mels, 201)."""
    import numpy

    from checkpoints import whisper_asset

    with numpy.load(whisper_asset("mel_filters.npz")) as banks:
        return numpy.ascontiguousarray(banks[f"mel_{mels}"], dtype="<f4")


def _write_tensor(file, name, value, kind):
    import numpy

    value = numpy.ascontiguousarray(value, dtype="<f4")
    if name in ("encoder.conv1.bias", "encoder.conv2.bias"):
        value = value[:, None]
    if value.ndim == 1 or value.shape[-1] == 1 or "positional_embedding" in name:
        code, data = 0, value.tobytes()
    elif kind == "f16" or value.ndim == 3:  # Convolutions stay f16 in quantised files.
        code, data = 1, value.astype("<f2").tobytes()
    else:
        code, data = TYPES[kind][1], (_q8_0 if kind == "q8_0" else _q5_0)(value)
    raw = name.encode()
    file.write(struct.pack("<3i", value.ndim, len(raw), code))
    file.write(struct.pack(f"<{value.ndim}i", *reversed(value.shape)) + raw + data)


def _q8_0(value):
    """Blocks of an f16 scale and 32 signed bytes: weight = scale * byte, scale = largest magnitude / 127."""
    import numpy

    blocks = value.reshape(-1, BLOCK)
    scale = numpy.abs(blocks).max(1, keepdims=True) / 127
    bytes_ = numpy.rint(blocks / numpy.where(scale == 0, 1, scale)).astype(numpy.int8)
    return numpy.concatenate([scale.astype("<f2").view(numpy.uint8), bytes_.view(numpy.uint8)], 1).tobytes()


def _q5_0(value):
    """Blocks of an f16 scale, 32 fifth bits and 32 nibbles (low halves first): weight = scale * (code - 16)."""
    import numpy

    blocks = value.reshape(-1, BLOCK)
    farthest = numpy.take_along_axis(blocks, numpy.abs(blocks).argmax(1)[:, None], 1)
    scale = farthest / -16
    code = numpy.clip(numpy.floor(blocks / numpy.where(scale == 0, 1, scale) + 16.5), 0, 31).astype(numpy.uint8)
    high = numpy.packbits(code >> 4, axis=1, bitorder="little")
    low = (code[:, :16] & 15) | ((code[:, 16:] & 15) << 4)
    return numpy.concatenate([scale.astype("<f2").view(numpy.uint8), high, low], 1).tobytes()
