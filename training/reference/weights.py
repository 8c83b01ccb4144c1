"""Random weights that Python and Rust make alike, so that no weights have to be stored.

A tensor is a stream of splitmix64 numbers that starts at the FNV-1a hash of its name, scaled so that every layer
keeps the variance of what goes through it. inference/tests/parity_weights/mod.rs is the same in Rust: change both.
"""
import numpy as np

BIAS_SCALE = 0.1
LAYER_FACTOR = 0.5
ATTENTION_FACTOR = 1.5
UNSCALED_ATTENTION_FACTOR = 0.45  # T5 does not divide its scores by the root of the head size

# Endings of the names of tensors that get another scale, and the factor on it. The first that fits counts.
FACTORS = [
    (("out_proj.weight", "fc2.weight", ".o.weight", ".wo.weight"), LAYER_FACTOR),
    (("q_proj.weight", "k_proj.weight"), ATTENTION_FACTOR),
    ((".q.weight", ".k.weight"), UNSCALED_ATTENTION_FACTOR),
]


def name_hash(name):
    """FNV-1a, 64 bits."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def uniform(name, count):
    """`count` numbers in [-1, 1), exact in 24 bits."""
    with np.errstate(over="ignore"):
        z = np.uint64(name_hash(name)) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float32) / np.float32(1 << 23) - np.float32(1)


def scale(name, shape):
    """Keeps the variance, with two thumbs on the scale so that greedy tokens vary.

    What layers add is kept small, what attention compares is enlarged: the text so far is not drowned by the layers,
    and each position looks at something else.
    """
    if name.endswith("bias"):
        return np.float32(BIAS_SCALE)
    if name == "shared.weight" or name.endswith("relative_attention_bias.weight"):
        return np.float32(np.sqrt(3.0))  # T5's embeddings are not scaled up, nor are its position biases
    factor = next((factor for endings, factor in FACTORS if name.endswith(endings)), 1.0)
    return np.float32(factor * np.sqrt(3.0 / int(np.prod(shape[1:]))))


def tensor(name, shape, louder=()):
    """The weights of one tensor, float32. `louder`: rows and the factor each is multiplied by."""
    values = uniform(name, int(np.prod(shape)))
    if name.endswith("layer_norm.weight"):
        # Gains of 0.75 to 1.25 and of either sign: a tied output does not echo its input.
        return (values * np.float32(0.5) + np.where(values < 0, np.float32(-0.75), np.float32(0.75))).reshape(shape)
    values = (values * scale(name, shape)).reshape(shape)
    for row, factor in louder:
        values[row] *= np.float32(factor)
    return values


def choose(name, count, low, high):
    """`count` whole numbers from `low` to below `high`."""
    return (low + (uniform(name, count).astype(np.float64) + 1) / 2 * (high - low)).astype(int).tolist()


def sound(variant, samples):
    """A made-up sound at 16 kHz: a beating tone, a rising one, some noise, and a pause. Variants differ in pitch."""
    t = np.arange(samples) / 16000
    low, start = 220 + 17 * variant, 400 + 31 * variant
    wave = 0.3 * np.sin(2 * np.pi * low * t) * (0.5 + 0.5 * np.sin(2 * np.pi * 3 * t))
    wave += 0.2 * np.sin(2 * np.pi * (start * t + 300 * t * t))
    wave += 0.05 * uniform(f"noise {variant}" if variant else "noise", samples)
    wave[(t >= 1.2) & (t < 1.6)] = 0
    return wave.astype(np.float32)
