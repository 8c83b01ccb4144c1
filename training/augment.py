"""Draws training examples: clips assembled, cut, warped and covered with noise in mel power.

Adding mel powers is adding independent sounds, scaling them is gain, so all of this costs a few
array operations a clip and no example is ever seen twice.
"""
import numpy as np

from .features import FLOOR, FRAMES_PER_SECOND, MELS, SAMPLE_RATE, WINDOW_FRAMES, mel_power, normalise

NOISE_KINDS = ("white", "pink", "brown", "hum", "tone", "clicks", "babble", "fan")


def noise_wave(kind, seconds, rng, voices=None):
    """Samples of one kind of noise with unit root mean square."""
    n = int(seconds * SAMPLE_RATE)
    time = np.arange(n) / SAMPLE_RATE
    if kind in ("white", "pink", "brown", "fan"):
        slope = {"white": 0, "pink": 0.5, "brown": 1.0, "fan": 0.8}[kind] + rng.uniform(-0.1, 0.1)
        spectrum = np.fft.rfft(rng.standard_normal(n))
        spectrum /= np.maximum(np.fft.rfftfreq(n, 1 / SAMPLE_RATE), 30) ** slope
        wave = np.fft.irfft(spectrum, n)
        if kind == "fan":
            wave *= 1 + 0.3 * np.sin(2 * np.pi * rng.uniform(2, 15) * time)
    elif kind == "hum":
        base = rng.choice([50, 60]) * rng.uniform(0.99, 1.01)
        wave = sum(rng.uniform(0, 1) / h * np.sin(2 * np.pi * base * h * time + rng.uniform(0, 6)) for h in range(1, 12))
        wave += 0.02 * rng.standard_normal(n)
    elif kind == "tone":
        wave = np.sin(2 * np.pi * rng.uniform(200, 3000) * time) + 0.01 * rng.standard_normal(n)
        if rng.random() < 0.5:
            wave *= (time % rng.uniform(0.3, 1.5)) < 0.25
    elif kind == "clicks":
        wave = 0.001 * rng.standard_normal(n)
        for at in rng.integers(0, n - 800, int(seconds * rng.uniform(1, 8))):
            wave[at: at + 800] += rng.standard_normal(800) * np.exp(-np.arange(800) / rng.uniform(30, 200))
    else:  # babble: many voices at once, none of them to be followed
        wave = np.zeros(n)
        for _ in range(8):
            voice = voices[rng.integers(len(voices))]
            wave += np.resize(np.roll(voice, rng.integers(len(voice))), n)
    return (wave / (np.sqrt((wave ** 2).mean()) + 1e-9)).astype(np.float32)


def noise_bank(count=96, seed=5):
    """-> list of (kind, mel power [1000, 80]) of unit-level noises; babble is left to `Drawer`."""
    rng = np.random.default_rng(seed)
    kinds = [k for k in NOISE_KINDS if k != "babble"]
    return [(kinds[i % len(kinds)], mel_power(noise_wave(kinds[i % len(kinds)], 10.0, rng))) for i in range(count)]


def stretch(mel, factor):
    """Changes the pace: [frames, 80] -> [frames * factor, 80] by linear interpolation in log power."""
    at = np.linspace(0, len(mel) - 1, max(2, round(len(mel) * factor)))
    low = at.astype(int)
    part = (at - low)[:, None].astype(np.float32)
    return mel[low] * (1 - part) + mel[np.minimum(low + 1, len(mel) - 1)] * part


def warp(mel, factor):
    """Changes the vocal tract's length: shifts formants up (factor > 1) or down along the mel axis."""
    at = np.clip(np.arange(MELS) / factor, 0, MELS - 1)
    low = at.astype(int)
    part = (at - low).astype(np.float32)
    return mel[:, low] * (1 - part) + mel[:, np.minimum(low + 1, MELS - 1)] * part


def colour(rng, strength):
    """A smooth random frequency response: log10 power offsets [80]."""
    axis = np.linspace(0, np.pi, MELS)
    return sum(rng.normal(0, strength / k) * np.cos(k * axis) for k in range(1, 5)).astype(np.float32)


class Drawer:
    """Random training examples from `pools`: name -> (weight, [clip]); a clip has mel, text, word_ends."""

    SHARES = {"noise": 0.05, "truncated": 0.2, "two": 0.18, "timestamps": 0.08, "covered": 0.7, "warped": 0.6, "full": 0.12}

    def __init__(self, pools, seed, spec_augment=True, shares=None):
        self.rng = np.random.default_rng(seed)
        self.pools = [pool for _, pool in pools.values()]
        weights = np.array([weight for weight, _ in pools.values()], dtype=float)
        self.weights = weights / weights.sum()
        self.noises = noise_bank()
        self.spec_augment = spec_augment
        self.shares = {**self.SHARES, **(shares or {})}

    def _clip(self):
        pool = self.pools[self.rng.choice(len(self.pools), p=self.weights)]
        return pool[self.rng.integers(len(pool))]

    def _voiced(self, clip):
        """One clip, warped -> (log power [frames, 80], word_ends or None)."""
        rng, mel, ends = self.rng, clip["mel"].astype(np.float32), clip["word_ends"]
        if rng.random() < self.shares["warped"]:
            factor = rng.uniform(0.82, 1.18)
            mel = stretch(mel, factor)
            ends = ends and [round(e * factor) for e in ends]
        if rng.random() < self.shares["warped"]:
            mel = warp(mel, rng.uniform(0.88, 1.14))
        return mel + colour(rng, 0.25) * (rng.random() < self.shares["warped"]), ends

    def _noise(self, frames, level):
        """Mel power of a random noise at `level` decibels re full scale, [frames, 80]."""
        rng = self.rng
        if rng.random() < 0.12:
            power = sum(np.resize(np.roll(10 ** self._clip()["mel"].astype(np.float32), rng.integers(300), 0), (frames, MELS)) for _ in range(6))
            power = power / (power.mean() + 1e-9) * 5
        else:
            _, power = self.noises[rng.integers(len(self.noises))]
            power = np.roll(power, rng.integers(WINDOW_FRAMES), 0)[:frames]
        return power * np.float32(10 ** (level / 10)) * 10 ** colour(rng, 0.15)

    def draw(self):
        """-> (log mel power [frames, 80], words or None for noise, [(text, first, last frame)])."""
        rng = self.rng
        kind = rng.random()
        if kind < self.shares["noise"]:
            frames = int(rng.integers(40, 500))
            level = rng.choice([-200, rng.uniform(-75, -15)], p=[0.3, 0.7])
            return np.log10(np.maximum(self._noise(frames, level), FLOOR)), None, []
        cut = rng.random() < self.shares["truncated"]
        wanted = 2 if rng.random() < self.shares["two"] else 1
        power, spans, words, ends = [], [], [], []
        at = int(rng.choice([rng.integers(0, 6), rng.integers(20, 45), rng.integers(0, 120)], p=[0.25, 0.55, 0.2]))
        power.append(np.zeros((at, MELS), np.float32))
        gain = rng.uniform(-2.2, 0.4)
        for number in range(wanted):
            clip = self._clip()
            mel, clip_ends = self._voiced(clip)
            if at + len(mel) > WINDOW_FRAMES - 12:
                break
            if number:
                gap = int(rng.integers(8, 60))
                if at + gap + len(mel) > WINDOW_FRAMES - 12:
                    break
                power.append(np.zeros((gap, MELS), np.float32))
                at += gap
            power.append(10 ** (mel + np.float32(gain + rng.uniform(-0.2, 0.2))))
            spans.append((clip["text"], at, at + len(mel)))
            words += clip["text"].split()
            ends += [at + e for e in clip_ends] if clip_ends and len(clip_ends) == len(clip["text"].split()) else [None] * len(clip["text"].split())
            at += len(mel)
        if not spans:
            return self.draw()
        if cut and None not in ends:
            stop = int(rng.integers(spans[0][1] + 10, at))
            power = [np.concatenate(power)[:stop]]
            words = [w for w, e in zip(words, ends) if e <= stop + 3]
            spans = []
        else:
            tail = min(int(rng.choice([rng.integers(0, 10), rng.integers(20, 60), rng.integers(0, 200)], p=[0.25, 0.55, 0.2])), WINDOW_FRAMES - at)
            power.append(np.zeros((tail, MELS), np.float32))
        power = np.concatenate(power)
        if rng.random() < self.shares["covered"]:
            speech = 10 * np.log10(power.mean() + FLOOR) - 7  # mel power of a unit-level noise is about 7 dB
            power = power + self._noise(len(power), speech - rng.uniform(3, 40))
        return np.log10(np.maximum(power, FLOOR)), words, spans

    def mask(self, mel):
        """SpecAugment on normalised features, in place: two bands of mels, two stretches of time."""
        rng, fill = self.rng, mel.mean()
        for _ in range(2):
            width = rng.integers(0, 14)
            start = rng.integers(0, MELS - width)
            mel[:, start: start + width] = fill
            width = rng.integers(0, max(1, min(25, len(mel) // 12)))
            start = rng.integers(0, len(mel) - width)
            mel[start: start + width] = fill



def padded(log_mel, frames):
    """Zero-padded to `frames` (digital silence) and normalised: [frames, 80]."""
    return normalise(np.pad(log_mel, ((0, frames - len(log_mel)), (0, 0)), constant_values=-10.0))
