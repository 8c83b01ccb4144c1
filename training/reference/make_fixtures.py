"""Makes tests/fixtures/parity: what Hugging Face transformers computes, for the Rust models to be held against.

    python -m training.reference.make_fixtures                       (from the repository root)
    python -m training.reference.make_fixtures --full --out FOLDER   (whole vocabularies, more layers)

Reference: transformers 5.23, sentencepiece 0.2.3. The networks have real configurations, some with fewer layers, and
the random weights of weights.py. Only numbers are stored: encoder outputs and logits at chosen places, cross-attention,
and the texts that `generate` decodes greedily and with five beams.
"""
import argparse
import pathlib

import torch

from . import m2m100, marian, sounds, t5, whisper
from .networks import write_json

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/fixtures/parity"
FAMILIES = dict(whisper=whisper, marian=marian, m2m100=m2m100, t5=t5)


def make_pieces(out):
    from . import pieces  # Wants the package sentencepiece, which the others can do without.

    reference = {}
    pieces.make(reference, out)
    write_json(out / "spm.json", reference)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", help="spm, mel, whisper, marian, m2m100, t5; all unless named")
    parser.add_argument("--out", type=pathlib.Path, default=OUT)
    parser.add_argument("--full", action="store_true", help="the larger cases, which are not kept in the repository")
    options = parser.parse_args()
    if options.full and options.out == OUT:
        parser.error("--full needs --out: these fixtures are not kept in the repository")
    options.out.mkdir(parents=True, exist_ok=True)
    wanted = options.families or [*FAMILIES, *([] if options.full else ["spm", "mel"])]
    torch.manual_seed(0)
    with torch.no_grad():
        for name in wanted:
            if name in FAMILIES:
                FAMILIES[name].make(options.out, options.full)
            else:
                dict(spm=make_pieces, mel=sounds.make)[name](options.out)


if __name__ == "__main__":
    main()
