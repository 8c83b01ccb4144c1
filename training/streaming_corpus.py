"""Synthesises what `subtide bench stream` plays: speech with the true time of every word, and sounds that are no speech.

    python -m training streaming-corpus [--out DIR] [--small] [--only GROUP...]

DIR gets corpus.json and one FLAC (16 bit) per recording. Everything hangs on the seeds in the code. The sentences are
held-out template sentences, dealt by seed; what the model makes of them had no part in it.
"""
import json
import os
import random
import zlib

import numpy as np
import soundfile

from . import stream_sounds, voices
from .features import SAMPLE_RATE
from .stream_speech import Speakers, deck, espeak_voices, hesitating
from .text_open import letters

SEED = 20_260
LEAD_S, TAIL_S = 0.6, 1.5
GAP_S = (0.7, 1.5)
LONG_PAUSE_S = (3.0, 8.0)
NO_GAP_S = (0.01, 0.03)  # besides the 20 ms that each take keeps on either side: less than 60 ms in all
FLOOR_DB = -66  # a room is never digitally silent
CEILING = 0.97
BABBLERS = 8
# How many sentences each group is dealt, in this order; espeak-ng tells word times for about three in four.
QUOTAS = {"small": 90, "clean": 240, "pauses": 30, "monologue": 270, "two-languages": 50, "telephone": 40, "stereo48": 40, "babble": 320}
SPANISH_VOICES = ["espeak:es+f2", "espeak:es+m3"]
CONVERSATION = ["flite:slt", "flite:rms", "festival:cmu_us_slt_arctic_hts", "flite:awb"]


class Track:
    """Takes one after another at one rate, with gaps; `pans` are positions from 0 (left) to 1 (right)."""

    def __init__(self, rate=SAMPLE_RATE):
        self.rate, self.parts, self.utterances, self.at, self.pans = rate, [], [], 0, []
        self.rest(LEAD_S)

    def rest(self, seconds):
        count = round(seconds * self.rate)
        self.parts.append(np.zeros(count, np.float32))
        self.pans.append(0.5)
        self.at += count

    def add(self, take, pan=0.5):
        ms = lambda seconds: round((self.at / self.rate + seconds) * 1000)
        words = [{"text": text, "start_ms": ms(start), "end_ms": ms(end)} for text, start, end in take.words]
        self.utterances.append({"text": take.text, "language": take.language, "translations": take.translations,
                                "start_ms": words[0]["start_ms"], "end_ms": words[-1]["end_ms"], "voice": take.voice, "words": words})
        self.parts.append(take.samples)
        self.pans.append(pan)
        self.at += len(take.samples)

    def wave(self):
        return np.concatenate(self.parts)

    def stereo(self):
        """Each take at its place between the loudspeakers, with constant power: [samples, 2]."""
        left = [part * np.cos(pan * np.pi / 2) for part, pan in zip(self.parts, self.pans)]
        right = [part * np.sin(pan * np.pi / 2) for part, pan in zip(self.parts, self.pans)]
        return np.stack([np.concatenate(left), np.concatenate(right)], axis=1).astype(np.float32)

    def speech_power(self, wave):
        """Mean power within the utterances."""
        spans = [wave[u["start_ms"] * self.rate // 1000: u["end_ms"] * self.rate // 1000] for u in self.utterances]
        return float((np.concatenate(spans) ** 2).mean())


def fill(track, takes, gap, rng, most=None, pans=None):
    """Adds takes with gaps drawn from `gap` between them."""
    for number, take in enumerate(takes[:most]):
        if number:
            track.rest(rng.uniform(*gap))
        track.add(take, pans[number % len(pans)] if pans else 0.5)
    track.rest(TAIL_S)
    return track


class Maker:
    """Makes groups of recordings; `small` is the subset that ships."""

    def __init__(self, small, barred=()):
        self.small, self.speakers, self._kept = small, Speakers(), {}
        cards = deck(barred)
        self.dealt = {}
        for group, count in QUOTAS.items():
            self.dealt[group], cards = cards[:count], cards[count:]
            assert len(self.dealt[group]) == count, f"too few sentences for {group}"

    def random(self, name):
        """A stream of random numbers for each thing, so that no group depends on which others are made."""
        return random.Random(f"{SEED}:{self.small}:{name}")

    def noise(self, name):
        return np.random.default_rng([SEED, int(self.small), zlib.crc32(name.encode())])

    def cards(self, group, first, count):
        """Some of the sentences dealt to a group; the small corpus has a hand of its own."""
        if self.small:
            group, first = "small", {"clean": 0, "monologue": 30, "telephone": 60, "stereo48": 70, "babble": 80}[group]
        return self.dealt[group][first: first + count]

    def alternating(self, names, pairs, rate=SAMPLE_RATE, language="en"):
        """The pairs said by the voices in turn, in order -> [Take]."""
        said = [dict() for _ in names]
        for number, name in enumerate(names):
            own = pairs[number:: len(names)]
            said[number] = {take.text: take for take in self.speakers.takes(name, own, rate, language)}
        column = 0 if language == "en" else 1
        found = [said[i % len(names)].get(pair[column]) for i, pair in enumerate(pairs)]
        return [take for take in found if take]

    def conversation(self):
        """Several people in turn, about a minute: the last clean recording, and what the noises cover."""
        if "conversation" not in self._kept:
            count = 15 if self.small else 17
            names = CONVERSATION + espeak_voices(1, 71)
            takes = self.alternating(names, self.cards("clean", 200, count + 5))
            self._kept["conversation"] = fill(Track(), takes, GAP_S, self.random("conversation"), count)
        return self._kept["conversation"]

    def babblers(self):
        """Voices that speak without a break, none of them in the conversation."""
        if "babblers" not in self._kept:
            names = [f"espeak:en-us+{v}" for v in voices.HELD_OUT_VARIANTS] + [f"festival:{voices.HELD_OUT_FESTIVAL}", "flite:kal16"]
            names += espeak_voices(BABBLERS - len(names), 72)
            pairs = self.dealt["babble"]
            each = len(pairs) // len(names)
            takes = [self.speakers.takes(name, pairs[i * each: (i + 1) * each], SAMPLE_RATE) for i, name in enumerate(names)]
            self._kept["babblers"] = [np.concatenate([take.samples for take in some]) for some in takes]
        return self._kept["babblers"]

    # Each of these gives [(name, wave, rate, utterances, more fields)].

    def clean(self):
        tracks = []
        names = [] if self.small else ["flite:slt", "flite:rms", "flite:awb", "festival:cmu_us_slt_arctic_hts", "festival:kal_diphone",
                                       *espeak_voices(2, 70)]
        for number, name in enumerate(names):
            takes = self.speakers.takes(name, self.cards("clean", 28 * number, 28), SAMPLE_RATE)
            tracks.append(fill(Track(), takes, GAP_S, self.random(f"clean-{number}"), 17))
        tracks.append(self.conversation())
        return [(f"clean-{i}", *self.roomy(track, f"clean-{i}"), {}) for i, track in enumerate(tracks, 1)]

    def roomy(self, track, name, wave=None):
        wave = track.wave() if wave is None else wave
        return wave + stream_sounds.at_level(self.noise(name).standard_normal(wave.shape), FLOOR_DB), track.rate, track.utterances

    def covered(self, kind, decibels):
        track, name = self.conversation(), f"{kind}-{decibels}"
        wave, utterances = track.wave(), track.utterances
        if self.small:  # the first twenty seconds
            utterances = [u for u in utterances if u["end_ms"] < 20_000]
            wave = wave[: utterances[-1]["end_ms"] * SAMPLE_RATE // 1000 + SAMPLE_RATE // 10]  # before the next one starts
            wave = np.concatenate([wave, np.zeros(round(TAIL_S * SAMPLE_RATE), np.float32)])
        if kind == "babble":
            noise = stream_sounds.babble(self.babblers(), len(wave))
        else:
            noise = self.noise(name).standard_normal(len(wave))
        level = 10 * np.log10(track.speech_power(wave)) - decibels
        return [(name, wave + stream_sounds.at_level(noise, level), SAMPLE_RATE, utterances, {"snr_db": decibels})]

    def pauses(self):
        rng = self.random("pauses")
        takes = self.alternating(["flite:slt", "flite:rms"], self.cards("pauses", 0, 30))
        takes = [hesitating(take, rng) for take in takes]
        return [("pauses-1", *self.roomy(fill(Track(), takes, LONG_PAUSE_S, rng, 15), "pauses"), {})]

    def monologue(self):
        made = []
        for number, name in enumerate(["flite:slt"] if self.small else ["flite:slt", "flite:rms"], 1):
            pairs = [pair for pair in self.cards("monologue", 135 * (number - 1), 30 if self.small else 135) if "," not in pair[0]]
            takes = self.speakers.takes(name, pairs, SAMPLE_RATE)
            track = fill(Track(), takes, NO_GAP_S, self.random(f"monologue-{number}"), 17 if self.small else 84)
            made.append((f"monologue-{number}", *self.roomy(track, f"monologue-{number}"), {}))
        return made

    def two_languages(self):
        pairs, rng = self.cards("two-languages", 0, 50), self.random("two-languages")
        english = self.alternating(["flite:slt", "flite:rms"], pairs[:25])
        spanish = self.alternating(SPANISH_VOICES, pairs[25:], language="es")
        track = fill(Track(), [take for both in zip(english, spanish) for take in both], GAP_S, rng, 26)
        return [("two-languages-1", *self.roomy(track, "two-languages"), {"language": "auto"})]

    def telephone(self):
        takes = self.alternating(["flite:rms", "flite:kal16", "flite:slt"], self.cards("telephone", 0, 9 if self.small else 40))
        track = fill(Track(), takes, GAP_S, self.random("telephone"), 4 if self.small else 18)
        wave, _, utterances = self.roomy(track, "telephone")
        return [("telephone-1", stream_sounds.telephone(wave), stream_sounds.TELEPHONE_RATE, utterances, {})]

    def stereo48(self):
        names = ["festival:cmu_us_slt_arctic_hts", "flite:rms", *espeak_voices(1, 73)]
        takes = self.alternating(names, self.cards("stereo48", 0, 9 if self.small else 40), rate=48_000)
        track = fill(Track(48_000), takes, GAP_S, self.random("stereo48"), 2 if self.small else 18, pans=[0.2, 0.75, 0.5])
        return [("stereo48-1", *self.roomy(track, "stereo48", track.stereo()), {})]

    def sound(self, kind):
        seconds = 8 if self.small else 180 if kind == "music" else 120
        return [(kind, stream_sounds.KINDS[kind](seconds, self.noise(kind)), SAMPLE_RATE, [], {"speech": False})]

    def groups(self):
        """Name -> what makes it, in the order of the corpus."""
        found = {"clean": self.clean}
        if self.small:
            found |= {"babble-10": lambda: self.covered("babble", 10)}
        else:
            found |= {f"{kind}-{db}": lambda kind=kind, db=db: self.covered(kind, db) for kind in ("babble", "white") for db in (20, 10, 5)}
            found |= {"pauses": self.pauses, "two-languages": self.two_languages}
        found |= {"monologue": self.monologue, "telephone": self.telephone, "stereo48": self.stereo48}
        return found | {kind: lambda kind=kind: self.sound(kind) for kind in stream_sounds.KINDS if not (self.small and kind == "tone")}


def write(folder, group, made):
    """One FLAC -> its record in corpus.json."""
    name, wave, rate, utterances, more = made
    peak = float(np.abs(wave).max())
    wave = wave * min(1.0, CEILING / max(peak, 1e-9))
    path = os.path.join(folder, name + ".flac")
    soundfile.write(path, wave, rate, subtype="PCM_16", format="FLAC")
    os.chmod(path, 0o644)
    return {"name": name, "group": group, "file": name + ".flac", "sample_rate": rate, "channels": 1 if wave.ndim == 1 else wave.shape[1],
            "duration_ms": round(len(wave) * 1000 / rate), "language": "en", "targets": ["es"], "speech": True, **more,
            "utterances": utterances}


def barred_sentences(models):
    """The sentences of models/demo-speech, which were chosen among those the model hears well."""
    with open(os.path.join(models, "demo-speech", "manifest.json"), encoding="utf-8") as file:
        return [u["text"] for u in json.load(file)["utterances"]]


def make(folder, models, small=False, only=()):
    os.makedirs(folder, exist_ok=True)
    barred = barred_sentences(models)
    groups = Maker(small, barred).groups()
    unknown = set(only) - set(groups)
    if unknown:
        raise SystemExit(f"no such group: {', '.join(sorted(unknown))} (there are {', '.join(groups)})")
    recordings = []
    for group, maker in groups.items():
        if not only or group in only:
            for made in maker():
                recordings.append(write(folder, group, made))
                print(f"{made[0]}: {recordings[-1]['duration_ms'] / 1000:.1f} s, {len(made[3])} utterances", flush=True)
    said = {letters(u["text"]) for r in recordings for u in r["utterances"]}
    assert not said & {letters(text) for text in barred}
    path = os.path.join(folder, "corpus.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"recordings": recordings}, file, indent=1, ensure_ascii=False)
        file.write("\n")
    os.chmod(path, 0o644)
    print(f"{len(recordings)} recordings, {sum(r['duration_ms'] for r in recordings) / 60_000:.1f} minutes -> {folder}")
