"""What the streaming corpus holds besides speech: silence, hum, tones, clicks, noise, something like music; babble and a telephone.

All at 16 kHz as float32; levels are in decibels of root mean square re full scale.
"""
import io

import numpy as np
import soundfile
from scipy.signal import butter, sosfiltfilt

from .features import SAMPLE_RATE

TELEPHONE_RATE, TELEPHONE_BAND = 8_000, (300, 3400)


def at_level(wave, decibels):
    """The wave brought to a level."""
    return (wave * (10 ** (decibels / 20) / (np.sqrt((wave ** 2).mean()) + 1e-12))).astype(np.float32)


def _pieces(seconds, count):
    """So many lengths in samples that make up `seconds`."""
    edges = np.linspace(0, round(seconds * SAMPLE_RATE), count + 1).astype(int)
    return np.diff(edges)


def _floor(count, rng, decibels=-72):
    return at_level(rng.standard_normal(count), decibels)


def silence(seconds, rng):
    """Digital zero, then white noise at -72 dB, then a room's low rumble at -60 dB."""
    zero, quiet, rumble = _pieces(seconds, 3)
    brown = np.cumsum(rng.standard_normal(rumble + 799))
    brown = brown[400: 400 + rumble] - np.convolve(brown, np.ones(800) / 800, mode="valid")
    return np.concatenate([np.zeros(zero, np.float32), _floor(quiet, rng), at_level(brown, -60)])


def hum(seconds, rng):
    """Mains hum of 50 Hz at -30 dB, then of 60 Hz at -20 dB, with harmonics."""
    parts = []
    for count, base, level in zip(_pieces(seconds, 2), (50, 60), (-30, -20)):
        time = np.arange(count) / SAMPLE_RATE
        wave = sum(rng.uniform(0.3, 1) / h * np.sin(2 * np.pi * (base * h * time + rng.random())) for h in range(1, 13))
        parts.append(at_level(wave, level) + _floor(count, rng))
    return np.concatenate(parts)


def tone(seconds, rng):
    """In turn steady tones, tones that beep, and pairs of tones, from 200 to 3000 Hz and -40 to -15 dB."""
    parts = []
    for number, count in enumerate(_pieces(seconds, max(3, round(seconds / 10)))):
        time = np.arange(count) / SAMPLE_RATE
        wave = sum(np.sin(2 * np.pi * rng.uniform(200, 3000) * time) for _ in range(2 if number % 3 == 2 else 1))
        if number % 3 == 1:
            wave = wave * ((time % rng.uniform(0.4, 1.2)) < 0.2)
        parts.append(at_level(wave, rng.uniform(-40, -15)) + _floor(count, rng))
    return np.concatenate(parts)


def clicks(seconds, rng):
    """Clicks and knocks at random moments, one to eight a second, over a quiet floor."""
    count = round(seconds * SAMPLE_RATE)
    wave = _floor(count, rng).astype(np.float64)
    at = 0.0
    while at < seconds - 0.2:
        length = int(rng.uniform(0.01, 0.12) * SAMPLE_RATE)
        decay = np.exp(-np.arange(length) / (length / 6))
        start = int(at * SAMPLE_RATE)
        wave[start: start + length] += 10 ** (rng.uniform(-30, -8) / 20) * rng.standard_normal(length) * decay
        at += rng.exponential(1 / rng.uniform(1, 8))
    return np.clip(wave, -0.97, 0.97).astype(np.float32)


def white(seconds, rng):
    """White noise, from -60 to -15 dB in steps."""
    levels = np.linspace(-60, -15, 6 if seconds >= 30 else 3)
    return np.concatenate([at_level(rng.standard_normal(n), level) for n, level in zip(_pieces(seconds, len(levels)), levels)])


def _note(frequency, seconds, rng, harmonics, attack, decay):
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    wave = sum(np.sin(2 * np.pi * frequency * h * time + rng.uniform(0, 6)) / h ** 1.3 for h in range(1, harmonics + 1) if frequency * h < 7000)
    return wave * np.minimum(1, time / attack) * np.exp(-time / decay) * np.minimum(1, (seconds - time) / 0.02)


def _add(wave, start, part, gain):
    start = int(start * SAMPLE_RATE)
    part = part[: max(0, len(wave) - start)]
    wave[start: start + len(part)] += gain * part


def music(seconds, rng, beats_per_minute=104):
    """Something like music: four chords in turn, a melody over them, a bass, and drum-like bursts; -20 dB."""
    wave = np.zeros(round(seconds * SAMPLE_RATE))
    beat = 60 / beats_per_minute
    hertz = lambda semitones: 220 * 2 ** (semitones / 12)
    chords = [(0, 3, 7), (-4, 0, 3), (3, 7, 10), (-2, 2, 5)]
    scale, step = [12, 15, 17, 19, 22, 24], 2
    for number in range(int(seconds / beat)):
        at, chord = number * beat, chords[number // 4 % 4]
        if number % 4 == 0:
            for semitone in chord:
                _add(wave, at, _note(hertz(semitone), 4 * beat, rng, 6, 0.05, 1.2), 0.25)
        if number % 2 == 0:
            _add(wave, at, _note(hertz(chord[0] - 24), 2 * beat, rng, 4, 0.01, 0.5), 0.5)
        for half in range(2):
            if rng.random() < 0.7:
                step = int(np.clip(step + rng.integers(-2, 3), 0, len(scale) - 1))
                _add(wave, at + half * beat / 2, _note(hertz(scale[step]), beat * rng.choice([0.5, 1]), rng, 8, 0.02, 0.4), 0.35)
        time = np.arange(int(0.25 * SAMPLE_RATE)) / SAMPLE_RATE
        drum = np.sin(2 * np.pi * (50 * time + 4 * (1 - np.exp(-time * 30)))) if number % 2 == 0 else rng.standard_normal(len(time)) * 0.5
        _add(wave, at, drum * np.exp(-time / 0.06), 0.8)
        hat = np.diff(rng.standard_normal(len(time) // 2 + 1)) * np.exp(-time[: len(time) // 2] / 0.015)
        _add(wave, at + beat / 2, hat, 0.2)
    return at_level(wave, -20)


def babble(voices, count):
    """Several people talking at once: each of `voices` (samples) at the same level, repeated to `count` samples."""
    return sum(np.resize(at_level(voice, -20), count) for voice in voices)


def telephone(wave):
    """16 kHz -> 8 kHz, 300 to 3400 Hz, through G.711's mu-law and back."""
    wave = sosfiltfilt(butter(4, TELEPHONE_BAND, "bandpass", fs=SAMPLE_RATE, output="sos"), wave)[::2]
    file = io.BytesIO()
    soundfile.write(file, np.clip(wave, -1, 1), TELEPHONE_RATE, format="WAV", subtype="ULAW")
    file.seek(0)
    return soundfile.read(file, dtype="float32")[0]


KINDS = {"silence": silence, "hum": hum, "tone": tone, "clicks": clicks, "white": white, "music": music}
