"""Speech synthesisers: espeak-ng and flite through their C libraries, festival in batches.

Each gives 16 kHz mono samples and, for every blank-separated word, the time it ends (seconds);
`word_ends` is None where an engine split the words otherwise than we do.
"""
import ctypes as c
import fractions
import os
import random
import shutil
import subprocess
import tempfile

import numpy as np
import soundfile
from scipy.signal import resample_poly

from .features import SAMPLE_RATE

ESPEAK_ACCENTS = ["en-us", "en-us", "en-us", "en", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029"]
ESPEAK_VARIANTS = """Alex Alicia Andrea Andy Annie Denis Diogo Gene Gene2 Henrique Hugo Jacky Lee Marco Mario Michael Mike Storm
 Tweaky adam anika antonio aunty belinda benjamin boris caleb david ed edward edward2 f1 f2 f3 f5 grandma grandpa gustave
 iven iven2 iven3 iven4 john kaukovalta klatt klatt2 klatt3 linda m1 m2 m3 m4 m6 m7 m8 marcelo max michel miguel norbert
 pablo paul pedro quincy rob robert sandro shelby steph steph2 steph3 travis victor zac""".split()
FLITE_VOICES = ["slt", "rms", "awb", "slt", "rms", "awb", "kal16"]
FESTIVAL_VOICES = ["cmu_us_slt_arctic_hts", "kal_diphone"]
# Never heard in training: another speaker, and two variants of espeak-ng.
HELD_OUT_FESTIVAL = "ked_diphone"
HELD_OUT_VARIANTS = ["f4", "m5"]


def change_rate(samples, rate, speed=1.0):
    """Resamples to 16 kHz; speed != 1 also shifts pitch and formants, as a faster tape would."""
    ratio = fractions.Fraction(SAMPLE_RATE / (rate * speed)).limit_denominator(60)
    samples = np.asarray(samples, dtype=np.float32)
    if ratio != 1:
        samples = resample_poly(samples, ratio.numerator, ratio.denominator).astype(np.float32)
    return samples


class Espeak:
    """libespeak-ng, in this process."""

    class _Event(c.Structure):
        _fields_ = [("type", c.c_int), ("uid", c.c_uint), ("text_position", c.c_int), ("length", c.c_int),
                    ("audio_ms", c.c_int), ("sample", c.c_int), ("user", c.c_void_p), ("id", c.c_longlong)]

    WORD = 1
    RATE_PARAMETER, PITCH_PARAMETER, RANGE_PARAMETER = 1, 3, 4

    def __init__(self):
        self.lib = c.CDLL("libespeak-ng.so.1")
        synchronous, no_exit = 2, 0x8000
        self.rate = self.lib.espeak_Initialize(synchronous, 0, None, no_exit)
        if self.rate <= 0:
            raise RuntimeError("espeak-ng did not start; is espeak-ng installed?")
        self._chunks, self._words = [], []
        self._callback = c.CFUNCTYPE(c.c_int, c.POINTER(c.c_short), c.c_int, c.POINTER(self._Event))(self._take)
        self.lib.espeak_SetSynthCallback(self._callback)

    def _take(self, samples, count, events):
        if samples and count > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        i = 0
        while events[i].type != 0:
            if events[i].type == self.WORD:
                self._words.append((events[i].text_position - 1, events[i].audio_ms / 1000))
            i += 1
        return 0

    def say(self, text, voice="en-us", words_per_minute=160, pitch=50, pitch_range=50):
        """-> (samples in -1..1 at self.rate, word_ends)."""
        if self.lib.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice!r}")
        for parameter, value in ((self.RATE_PARAMETER, words_per_minute), (self.PITCH_PARAMETER, pitch), (self.RANGE_PARAMETER, pitch_range)):
            self.lib.espeak_SetParameter(parameter, int(value), 0)
        self._chunks, self._words = [], []
        data, utf8 = text.encode(), 1
        self.lib.espeak_Synth(data, len(data) + 1, 0, 1, 0, utf8, None, None)
        self.lib.espeak_Synchronize()
        samples = np.concatenate(self._chunks).astype(np.float32) / 32768 if self._chunks else np.zeros(1, np.float32)
        return samples, self._ends(text, len(samples) / self.rate)

    def _ends(self, text, total):
        """A word ends where the next one that espeak announced starts (pauses count to the word)."""
        starts, position = [], 0
        announced = dict(self._words)
        for word in text.split():
            position = text.index(word, position)
            found = [announced[p] for p in range(position, position + len(word)) if p in announced]
            starts.append(found[0] if found else None)
            position += len(word)
        if None in starts or not starts:
            return None
        return starts[1:] + [total]


class Flite:
    """libflite and its voices, in this process."""

    class _Wave(c.Structure):
        _fields_ = [("type", c.c_char_p), ("rate", c.c_int), ("count", c.c_int), ("channels", c.c_int), ("samples", c.POINTER(c.c_short))]

    class _Voice(c.Structure):
        _fields_ = [("name", c.c_char_p), ("features", c.c_void_p)]

    LAST_SEGMENT_END = b"daughtern.R:SylStructure.daughtern.daughtern.R:Segment.end"

    def __init__(self):
        self.lib = lib = c.CDLL("libflite.so.1", c.RTLD_GLOBAL)
        for part in ("usenglish", "cmulex"):
            c.CDLL(f"libflite_{part}.so.1", c.RTLD_GLOBAL)
        for name in ("flite_synth_text", "utt_relation", "relation_head", "item_next", "utt_wave"):
            getattr(lib, name).restype = c.c_void_p
        lib.flite_ffeature_float.restype = c.c_float
        lib.feat_set_float.argtypes = [c.c_void_p, c.c_char_p, c.c_float]
        lib.flite_init()
        self.voices = {}

    def _voice(self, name):
        if name not in self.voices:
            register = getattr(c.CDLL(f"libflite_cmu_us_{name}.so.1"), f"register_cmu_us_{name}")
            register.restype = c.c_void_p
            self.voices[name] = register(None)
        return self.voices[name]

    def say(self, text, voice="slt", stretch=1.0, pitch=1.0):
        """-> (samples in -1..1, their rate, word_ends)."""
        handle = self._voice(voice)
        features = c.cast(handle, c.POINTER(self._Voice)).contents.features
        self.lib.feat_set_float(features, b"duration_stretch", stretch)
        self.lib.feat_set_float(features, b"f0_shift", pitch)
        utterance = c.c_void_p(self.lib.flite_synth_text(text.encode(), c.c_void_p(handle)))
        wave = c.cast(self.lib.utt_wave(utterance), c.POINTER(self._Wave)).contents
        samples = np.ctypeslib.as_array(wave.samples, (wave.count,)).astype(np.float32) / 32768
        ends, item = [], self.lib.relation_head(c.c_void_p(self.lib.utt_relation(utterance, b"Token")))
        while item:
            ends.append(self.lib.flite_ffeature_float(c.c_void_p(item), self.LAST_SEGMENT_END))
            item = self.lib.item_next(c.c_void_p(item))
        rate = wave.rate
        self.lib.delete_utterance(utterance)
        usable = len(ends) == len(text.split()) and min(ends) > 0
        return samples, rate, ends if usable else None


# Prints the end of each token: the latest end of its words (a final stop is a word without sound, at 0).
FESTIVAL_ENDS = """(define (word.end word) (parse-number (item.feat word "R:SylStructure.daughtern.daughtern.R:Segment.end")))
(define (latest.end words)
  (if words (let ((end (word.end (car words))) (rest (latest.end (cdr words)))) (if (> end rest) end rest)) 0))
(define (tokens.ends token)
  (if token (begin (format out " %s" (latest.end (item.daughters token))) (tokens.ends (item.next token)))))"""


def festival_batch(texts, voice, stretch=1.0):
    """Says all texts in one festival process -> list of (samples, rate, word_ends), None where it failed."""
    if shutil.which("festival") is None:
        raise RuntimeError("festival is not installed")
    with tempfile.TemporaryDirectory() as folder:
        lines = [f"(voice_{voice})", f"(Parameter.set 'Duration_Stretch {stretch:.2f})", f'(set! out (fopen "{folder}/ends" "w"))', FESTIVAL_ENDS]
        for i, text in enumerate(texts):
            quoted = text.replace("\\", "").replace('"', "")
            lines.append(f'(set! u (utt.synth (Utterance Text "{quoted}")))')
            lines.append(f"""(utt.save.wave u "{folder}/{i}.wav" 'riff)""")
            lines.append(f'(format out "{i}")')
            lines.append("(tokens.ends (utt.relation.first u 'Token))")
            lines.append('(format out "\\n")')
        lines.append("(fclose out)")
        script = os.path.join(folder, "say.scm")
        with open(script, "w") as file:
            file.write("\n".join(lines))
        subprocess.run(["festival", "-b", script], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=600)
        ends = {}
        if os.path.exists(f"{folder}/ends"):
            for line in open(f"{folder}/ends"):
                number, *values = line.split()
                ends[int(number)] = [float(v) for v in values]
        results = []
        for i, text in enumerate(texts):
            path = f"{folder}/{i}.wav"
            if not os.path.exists(path):
                results.append(None)
                continue
            samples, rate = soundfile.read(path, dtype="float32")
            e = ends.get(i)
            results.append((samples, rate, e if e and len(e) == len(text.split()) and min(e) > 0 else None))
        return results


def random_espeak_voice(rng: random.Random):
    """-> keyword arguments of Espeak.say for a random training voice."""
    return {"voice": f"{rng.choice(ESPEAK_ACCENTS)}+{rng.choice(ESPEAK_VARIANTS)}", "words_per_minute": rng.randint(125, 190),
            "pitch": rng.randint(25, 75), "pitch_range": rng.randint(30, 75)}
