"""Sentences said by the synthesisers with the time of every word, for the streaming corpus.

A `Take` is one sentence in one voice, trimmed to its audible sound. A word starts where the one before it ends, or where
sound sets in after a pause; the last word ends with the audible sound.
"""
import dataclasses
import math
import random

import numpy as np
from scipy.signal import resample_poly

from . import bilingual, evaluate, text_open, voices

AUDIBLE_DB = 35  # under the loudest 10 ms of a sentence; what lies lower counts as silence
MARGIN_FRAMES = 2
FRAMES_PER_SECOND = 100
PAUSE_S = 0.08  # a silence this long inside a sentence belongs to no word
SHORTEST_WORD_S = 0.02
PEAK = 0.5
FADE_S = 0.005
DECK_SEEDS = (8101, 8102, 8103)
WATCHED = 480  # so many of evaluate's sentences were watched or measured on; they are left out


@dataclasses.dataclass
class Take:
    """`words`: (text, start, end) in seconds from the first sample."""
    text: str
    language: str
    translations: dict
    voice: str
    samples: np.ndarray
    rate: int
    words: list

    @property
    def seconds(self):
        return len(self.samples) / self.rate


def deck(barred, fewest=4, most=14):
    """-> [(english, spanish)]: held-out template sentences in an order that only seeds decide; none of `barred`,
    none that training watched or the model card's figures were measured on."""
    without = {text_open.letters(text) for text in list(barred) + evaluate.domain_sentences(WATCHED)}
    found = {}
    for seed in DECK_SEEDS:
        for english, spanish in bilingual.pairs(700, seed, held=True):
            key = text_open.letters(english)
            if fewest <= len(english.split()) <= most and key not in without:
                found.setdefault(key, (english, spanish))
    order = [found[key] for key in sorted(found)]
    random.Random(DECK_SEEDS[0]).shuffle(order)
    assert all(text_open.held_out(english) for english, _ in order)
    return order


class Speakers:
    """All engines. A voice is "flite:NAME", "festival:NAME", or "espeak:NAME" at a rate and pitch that hang on its name."""

    def __init__(self):
        self.espeak, self.flite = voices.Espeak(), voices.Flite()

    def say(self, voice, texts):
        """-> for each text (samples in -1..1, their rate, word ends in seconds or None); None where the engine failed."""
        engine, _, name = voice.partition(":")
        if engine == "festival":
            return voices.festival_batch(texts, name)
        if engine == "flite":
            return [self.flite.say(text, name) for text in texts]
        rng = random.Random(voice)
        style = {"words_per_minute": rng.randint(135, 175), "pitch": rng.randint(35, 65), "pitch_range": rng.randint(40, 65)}
        said = (self.espeak.say(text, name, **style) for text in texts)
        return [(samples, self.espeak.rate, ends) for samples, ends in said]

    def takes(self, voice, pairs, rate, language="en"):
        """-> [Take] of the pairs whose word times the engine tells."""
        texts = [pair[0] if language == "en" else pair[1] for pair in pairs]
        found = []
        for text, (_, spanish), said in zip(texts, pairs, self.say(voice, texts)):
            if said is None or not said[2]:
                continue
            made = _take(text, said, rate)
            if made:
                found.append(Take(text, language, {"es": spanish} if language == "en" else {}, voice, made[0], rate, made[1]))
        return found


def espeak_voices(count, seed, accents=voices.ESPEAK_ACCENTS):
    """-> so many of espeak-ng's training voices, drawn by seed, no variant twice."""
    rng = random.Random(seed)
    return [f"espeak:{rng.choice(accents)}+{variant}" for variant in rng.sample(voices.ESPEAK_VARIANTS, count)]


def resample(samples, source, target):
    """Any rate to any rate."""
    if source == target:
        return np.asarray(samples, np.float32)
    common = math.gcd(source, target)
    return resample_poly(samples, target // common, source // common).astype(np.float32)


def audible(samples, rate):
    """-> for each 10 ms whether it is within AUDIBLE_DB of the loudest."""
    frame = rate // FRAMES_PER_SECOND
    count = len(samples) // frame
    level = 10 * np.log10((samples[: count * frame].reshape(count, frame) ** 2).mean(1) + 1e-12)
    return level > level.max() - AUDIBLE_DB


def _take(text, said, rate):
    """-> (samples at `rate`, words), or None where two words would end at the same time."""
    samples = resample(said[0], said[1], rate)
    samples = samples * (PEAK / np.abs(samples).max())
    heard = np.flatnonzero(audible(samples, rate))
    frame = rate // FRAMES_PER_SECOND
    first = max(0, heard[0] - MARGIN_FRAMES)
    samples = faded(samples[first * frame: (heard[-1] + 1 + MARGIN_FRAMES) * frame], rate)
    onset, finish = (heard[0] - first) / FRAMES_PER_SECOND, (heard[-1] + 1 - first) / FRAMES_PER_SECOND
    ends = [end - first / FRAMES_PER_SECOND for end in said[2][:-1]] + [finish]
    words = _words(text.split(), onset, ends, audible(samples, rate))
    return (samples, words) if all(end - start >= SHORTEST_WORD_S for _, start, end in words) else None


def _words(texts, onset, ends, heard):
    """Words end where the engine says, but not later than their sound; see the file's first lines."""
    words, start = [], onset
    for number, (text, end) in enumerate(zip(texts, ends)):
        following = end
        if number + 1 < len(texts):
            begun = round(start * FRAMES_PER_SECOND)
            before = np.flatnonzero(heard[begun: round(end * FRAMES_PER_SECOND)])
            after = np.flatnonzero(heard[round(end * FRAMES_PER_SECOND):])
            last = (begun + before[-1] + 1) / FRAMES_PER_SECOND if len(before) else end
            next_sound = end + after[0] / FRAMES_PER_SECOND if len(after) else end
            if next_sound - last >= PAUSE_S:
                end, following = min(end, last), max(end, next_sound)
        words.append((text, start, end))
        start = following
    return words


def faded(samples, rate):
    """Both edges drawn to zero within FADE_S, so that a cut does not click."""
    ramp = np.linspace(0, 1, int(FADE_S * rate), dtype=np.float32)
    samples = samples.copy()
    samples[: len(ramp)] *= ramp
    samples[-len(ramp):] *= ramp[::-1]
    return samples


def hesitating(take, rng, share=0.3, shortest=0.3, longest=0.5):
    """The take with one or two silences of `shortest` to `longest` seconds between its words."""
    inner = list(range(1, len(take.words) - 1))
    places = sorted(rng.sample(inner, min(len(inner), 2 if rng.random() < share else 1)))
    parts, words, cut, shift = [], [], 0, 0.0
    for number, (text, start, end) in enumerate(take.words):
        words.append((text, start + shift, end + shift))
        if number in places:
            at = round(end * take.rate)
            gap = round(rng.uniform(shortest, longest) * take.rate)
            parts += [faded(take.samples[cut:at], take.rate), np.zeros(gap, np.float32)]
            cut, shift = at, shift + gap / take.rate
    parts.append(faded(take.samples[cut:], take.rate))
    return dataclasses.replace(take, samples=np.concatenate(parts), words=words)
