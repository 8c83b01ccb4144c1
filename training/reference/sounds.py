"""Log-mel frames by the reference's feature extractor."""
import numpy as np
from safetensors.numpy import save_file
from transformers import WhisperFeatureExtractor

from . import weights
from .networks import write_json
from .whisper import SAMPLES

# Name: bands, seconds of the window, frames kept. In the last one the sound fills the window to its edge.
CASES = {
    "mel_80": (80, 30, [0, 1, 2, 5, 40, 118, 119, 120, 121, 140, 158, 159, 160, 161, 200, 317, 318, 319, 320, 321, 400, 2999]),
    "mel_128": (128, 30, [0, 1, 40, 120, 160, 319, 320, 321, 2999]),
    "mel_edge": (80, 3, [0, 150, 296, 297, 298, 299]),
}


def make(out):
    reference, numbers = {}, {}
    for name, (bands, seconds, frames) in CASES.items():
        extractor = WhisperFeatureExtractor(feature_size=bands, chunk_length=seconds)
        features = extractor(weights.sound(0, SAMPLES), sampling_rate=16000, return_tensors="np").input_features[0]
        numbers[name] = np.ascontiguousarray(features[:, frames], dtype=np.float32)
        reference[name] = dict(bands=bands, window_frames=seconds * 100, frames=frames)
    write_json(out / "mel.json", reference)
    save_file(numbers, out / "mel.safetensors")
