"""Whisper's log-mel features in numpy, split in two so that augmentation can work on mel power.

`log_power` gives log10 mel power, [frames, 80], 100 frames a second; `normalise` does what the
feature extractor does last (clamp to 8 decades under the clip's maximum, then shift and scale).
Together they equal Hugging Face's WhisperFeatureExtractor.
"""
import functools

import numpy as np

SAMPLE_RATE = 16_000
FFT, HOP, MELS = 400, 160, 80
FRAMES_PER_SECOND = SAMPLE_RATE // HOP
WINDOW_FRAMES = 1000  # the model's window: 10 s
FLOOR = 1e-10


def _hz_to_mel(hz):
    """Slaney's mel scale: linear below 1 kHz, logarithmic above."""
    hz = np.asarray(hz, dtype=np.float64)
    return np.where(hz < 1000, hz * 3 / 200, 15 + np.log(np.maximum(hz, 1e-9) / 1000) * 27 / np.log(6.4))


def _mel_to_hz(mel):
    mel = np.asarray(mel, dtype=np.float64)
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


@functools.cache
def filter_bank():
    """Triangles of unit area over 0-8 kHz: [201 bins, 80 mels]."""
    edges = _mel_to_hz(np.linspace(_hz_to_mel(0), _hz_to_mel(SAMPLE_RATE / 2), MELS + 2))
    bins = np.linspace(0, SAMPLE_RATE / 2, FFT // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    bank = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))
    return bank.astype(np.float32)


@functools.cache
def _window():
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT) / FFT)).astype(np.float32)


def mel_power(wave):
    """Samples in -1..1 at 16 kHz -> mel power, [len // 160, 80] f32."""
    wave = np.pad(np.asarray(wave, dtype=np.float32), FFT // 2, mode="reflect")
    count = (len(wave) - FFT) // HOP
    frames = np.lib.stride_tricks.sliding_window_view(wave, FFT)[::HOP][:count]
    spectrum = np.fft.rfft(frames * _window(), axis=-1)
    return (np.abs(spectrum) ** 2).astype(np.float32) @ filter_bank()


def log_power(wave):
    """Samples in -1..1 at 16 kHz -> log10 mel power, [len // 160, 80] f32, not below -10."""
    return np.log10(np.maximum(mel_power(wave), FLOOR))


def normalise(log_mel):
    """log10 mel power -> the model's input, same shape. Pad with power 0 (log -10) before this."""
    return (np.maximum(log_mel, log_mel.max() - 8) + 4) / 4


def features(wave, frames=None):
    """Samples -> [frames, 80] f32 as the model wants it, zero-padded or cut to `frames`."""
    wave = np.asarray(wave, dtype=np.float32)
    if frames is not None:
        wave = np.pad(wave, (0, max(0, frames * HOP - len(wave))))[: frames * HOP]
    return normalise(log_power(wave))
