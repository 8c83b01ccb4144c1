"""What is measured: the cases, their inputs, and how seconds become a case's figure. Shared by every program's side."""

import statistics
import wave
from dataclasses import dataclass
from pathlib import Path

SAMPLE_RATE = 16_000
FRAMES_PER_SECOND = 100
# <|startoftranscript|> <|en|> <|transcribe|>, and <|notimestamps|>, whose id is one higher where the vocabulary has one
# more language (large-v3 and its kin).
PROMPT = (50258, 50259, 50359, 50363)
PROMPT_V3 = (50258, 50259, 50360, 50364)
WHOLE_TOKENS = {5: 24, 30: 100}
# Time per token is the difference of a long and a short continuation: neither the encoder nor the prompt counts.
DECODE_SHORT, DECODE_LONG = 8, 72
TARGET_TOKENS = 20


class Unsupported(Exception):
    """This program cannot do this case; the text says why."""


@dataclass(frozen=True)
class Case:
    """One thing to measure: `goal` is the ratio to reach against the fastest peer, if the case has one."""

    name: str
    unit: str
    better: str
    seconds: int = 0
    batch: int = 1
    goal: float | None = None

    @property
    def kind(self):
        """encode, decode, whole, translation or mel."""
        return self.name.split("/")[1].rstrip("0123456789") if self.name.startswith("speech/") else self.name.split("/")[0]

    def value(self, seconds):
        """The figure in this case's unit, from the seconds of each of its parts (decode: the long one, the short one)."""
        if self.kind == "translation":
            return self.batch * TARGET_TOKENS / seconds[0]
        if self.kind == "decode":
            return 1e3 * (seconds[0] - seconds[1]) / (DECODE_LONG - DECODE_SHORT)
        return 1e3 * seconds[0] / (self.seconds if self.kind == "mel" else 1)


SPEECH_CASES = (
    Case("speech/encode/5s", "ms", "lower", 5),
    Case("speech/encode/30s", "ms", "lower", 30),
    Case("speech/decode/5s", "ms/token", "lower", 5),
    Case("speech/decode/30s", "ms/token", "lower", 30),
    Case("speech/decode8/30s", "ms/step", "lower", 30, 8),
    Case("speech/whole/5s", "ms", "lower", 5, goal=1.0),
    Case("speech/whole/30s", "ms", "lower", 30, goal=1.0),
    Case("mel", "ms/s", "lower", 30),
)
TRANSLATION_CASES = (
    Case("translation/b1", "tokens/s", "higher", batch=1, goal=1.0),
    Case("translation/b16", "tokens/s", "higher", batch=16, goal=1.0),
    Case("translation/b1/beam4", "tokens/s", "higher", batch=1),
    Case("translation/b16/beam4", "tokens/s", "higher", batch=16),
)


def case(name):
    """The case of this name."""
    return next(each for each in (*SPEECH_CASES, *TRANSLATION_CASES) if each.name == name)


def prompt(vocabulary):
    """The forced first tokens for a Whisper vocabulary of this size."""
    return list(PROMPT_V3 if vocabulary > 51865 else PROMPT)


def audio(seconds):
    """Speech of this length: the demo recording, repeated and cut; 16 kHz, one channel, f32 in -1..1."""
    import numpy

    path = Path(__file__).resolve().parents[2] / "models" / "demo-speech" / "demo.wav"
    with wave.open(str(path)) as file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (SAMPLE_RATE, 1, 2):
            raise Unsupported(f"{path} is not 16 kHz, mono, 16 bits")
        samples = numpy.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    return numpy.resize(samples, seconds * SAMPLE_RATE).astype(numpy.float32) / 32768.0


def summary(case, rounds):
    """Minimum-time and median figures of a case, from `rounds`: for each repetition the seconds of each part."""
    parts = list(zip(*rounds))
    return case.value([min(part) for part in parts]), case.value([statistics.median(part) for part in parts])
