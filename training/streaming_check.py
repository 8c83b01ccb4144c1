"""Checks a streaming corpus by numbers: loudness, whether the words lie where the sound is, and what the model hears offline.

    python -m training check-corpus [--corpus DIR]

Prints one line per recording and, for the group `clean`, the word error rate of each voice: every utterance decoded on its
own, greedily, by Hugging Face's Whisper. Fails where times contradict the sound.
"""
import collections
import json
import os

import numpy as np
import soundfile

from .evaluate import Transcriber
from .features import SAMPLE_RATE
from .scoring import word_errors
from .stream_speech import resample

MARGIN_MS = 300  # as a pipeline leaves it around an utterance
STEP = 10  # ms
QUIET_DB = 20  # outside of words it must be quieter than inside by so much
WITHOUT_NOISE = ("clean", "pauses", "monologue", "two-languages")


def level(samples):
    return 10 * np.log10((samples ** 2).mean() + 1e-12) if len(samples) else -120.0


def mono(folder, recording):
    """-> samples at the recording's own rate, channels averaged."""
    samples, rate = soundfile.read(os.path.join(folder, recording["file"]), dtype="float32", always_2d=True)
    assert rate == recording["sample_rate"] and samples.shape[1] == recording["channels"], recording["name"]
    assert abs(len(samples) * 1000 / rate - recording["duration_ms"]) <= 1, recording["name"]
    return samples.mean(1), rate


def times(recording):
    """Asserts that words are in order, within their utterance, and spell its text."""
    last = 0
    for utterance in recording["utterances"]:
        words = utterance["words"]
        assert " ".join(w["text"] for w in words) == utterance["text"]
        assert words[0]["start_ms"] == utterance["start_ms"] and words[-1]["end_ms"] == utterance["end_ms"]
        for word in words:
            assert last <= word["start_ms"] < word["end_ms"] <= recording["duration_ms"], (recording["name"], word)
            last = word["end_ms"]


def inside(recording, samples, rate):
    """-> (level within words, level outside, longest silence in ms within an utterance's words, longest gap between words in ms)."""
    count = len(samples) * 1000 // rate // STEP
    spoken = np.zeros(count, bool)
    for word in (w for u in recording["utterances"] for w in u["words"]):
        spoken[word["start_ms"] // STEP: word["end_ms"] // STEP] = True
    frame = rate * STEP // 1000
    power = (samples[: count * frame].reshape(count, frame) ** 2).mean(1)
    db = lambda values: 10 * np.log10(values.mean() + 1e-12)
    words = [w for u in recording["utterances"] for w in u["words"]]
    gaps = [b["start_ms"] - a["end_ms"] for a, b in zip(words, words[1:])]
    quiet = power < power[spoken].mean() / 10 ** 4.0
    run = longest = 0
    for silent in quiet & spoken:
        run = run + 1 if silent else 0
        longest = max(longest, run)
    return db(power[spoken]), db(power[~spoken]), longest * STEP, max(gaps)


def cuts(recording, samples, rate):
    """-> [(utterance, its samples at 16 kHz with a margin that keeps off its neighbours)]."""
    found, utterances = [], recording["utterances"]
    for number, utterance in enumerate(utterances):
        before = utterances[number - 1]["end_ms"] if number else 0
        after = utterances[number + 1]["start_ms"] if number + 1 < len(utterances) else recording["duration_ms"]
        start = max(utterance["start_ms"] - MARGIN_MS, (utterance["start_ms"] + before) // 2)
        stop = min(utterance["end_ms"] + MARGIN_MS, (utterance["end_ms"] + after) // 2)
        found.append((utterance, resample(samples[start * rate // 1000: stop * rate // 1000], rate, SAMPLE_RATE)))
    return found


def heard(recording, samples, rate, transcriber, by_voice):
    """-> WER in percent over the English utterances that fit the model's window; adds to `by_voice` for clean ones."""
    clips = [(u, c) for u, c in cuts(recording, samples, rate) if u["language"] == "en" and len(c) < 10 * SAMPLE_RATE]
    texts, _ = transcriber.texts([clip for _, clip in clips])
    total = np.zeros(2, int)
    for (utterance, _), text in zip(clips, texts):
        errors = word_errors(utterance["text"], text)
        total += errors
        if recording["group"] == "clean":
            by_voice[utterance["voice"]] += errors
    return 100 * total[0] / max(1, total[1])


def run(folder, model):
    with open(os.path.join(folder, "corpus.json"), encoding="utf-8") as file:
        recordings = json.load(file)["recordings"]
    transcriber, by_voice = Transcriber(model), collections.defaultdict(lambda: np.zeros(2, int))
    for recording in recordings:
        samples, rate = mono(folder, recording)
        line = f"{recording['name']}: {len(samples) / rate:.1f} s, peak {20 * np.log10(np.abs(samples).max() + 1e-12):.1f} dB, level {level(samples):.1f} dB"
        if recording["speech"]:
            times(recording)
            within, outside, silence, gap = inside(recording, samples, rate)
            line += f"; words {within:.1f} dB, outside {outside:.1f} dB, longest silence within words {silence} ms, longest gap between words {gap} ms"
            line += f"; offline WER {heard(recording, samples, rate, transcriber, by_voice):.1f} %"
            assert recording["group"] not in WITHOUT_NOISE or within - outside > QUIET_DB, line
        else:
            assert not recording["utterances"]
        print(line, flush=True)
    for voice, (errors, words) in by_voice.items():
        print(f"clean, {voice}: offline WER {100 * errors / words:.1f} % of {words} words")
    everything = sum(by_voice.values())
    print(f"clean, all voices: offline WER {100 * everything[0] / everything[1]:.1f} % of {everything[1]} words")
