"""Networks of the real configurations with the random weights of weights.py, and the files their numbers go to."""
import json
import pathlib
import tempfile

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from transformers import GenerationConfig

from . import weights

SINUSOIDS = ("encoder.embed_positions.weight", "decoder.embed_positions.weight")


def fill(model, reference, louder, computed=()):
    """Gives the model the weights of weights.py and notes the shape of each tensor that it saves.

    `louder`: name -> rows and factors: an end token that is louder than others ends some texts early.
    `computed`: endings of the names of tables that the model computes itself."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        shapes = {}
        for path in pathlib.Path(folder).glob("*.safetensors"):
            with safe_open(path, "np") as file:
                shapes.update({name: list(file.get_slice(name).get_shape()) for name in file.keys()})
    shapes = {name: shape for name, shape in sorted(shapes.items()) if not name.endswith(tuple(computed) or "/")}
    state = model.state_dict()
    with torch.no_grad():
        for name, shape in shapes.items():
            made = torch.from_numpy(weights.tensor(name, shape, louder.get(name, ())))
            assert list(state[name].shape) == shape, name
            state[name].copy_(made)
    assert set(louder) <= set(shapes), louder
    reference["tensors"] = shapes
    reference["louder"] = louder
    model.generation_config = GenerationConfig()  # nothing of the configuration's own, such as an end forced at the limit
    return model.eval()


def places(size, count):
    """About `count` places spread over `size` of them."""
    return list(range(0, size, max(1, size // count)))


class Family:
    """The cases of one architecture: what is known of each goes to a JSON file, its numbers beside it."""

    def __init__(self):
        self.cases, self.numbers = {}, {}

    def add(self, case, reference, numbers):
        self.cases[case] = reference
        self.numbers.update({f"{case}/{name}": np.ascontiguousarray(n, dtype=np.float32) for name, n in numbers.items()})

    def write(self, out, name):
        write_json(out / f"{name}.json", self.cases)
        save_file(self.numbers, out / f"{name}.safetensors")


def write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")
