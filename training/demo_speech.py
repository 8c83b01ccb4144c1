"""Makes the speech that the demo plays: held-out sentences in several voices, with their true times.

    python -m training demo-speech

One wav (16 kHz mono s16) and manifest.json: start_ms and end_ms bound the audible speech.
"""
import json
import os

import numpy as np
import soundfile

from . import bilingual, speech_data, text_open, voices
from .features import HOP, SAMPLE_RATE
from .speech_data import speech_bounds

# voice, sentence; each sentence is checked to be held out of training
SCRIPT = [
    ("flite:slt", "The session will be in London."),
    ("flite:rms", "The train from Dublin arrives at eleven."),
    ("festival:cmu_us_slt_arctic_hts", "It will be cloudy in Dublin next month."),
    ("flite:rms", "The meeting is on Saturday at two."),
    ("flite:slt", "My brother passed the exam this morning."),
    ("flite:awb", "The engineer speaks German and Italian."),
    ("flite:slt", "The conference was cancelled last week."),
    ("flite:rms", "I have an appointment with the photographer in an hour."),
    ("festival:cmu_us_slt_arctic_hts", "I am interested in trade and philosophy."),
    ("flite:rms", "Please bring the laptop to the supermarket."),
    ("flite:slt", "My sister and my daughter live in Spain."),
    ("flite:rms", "The temperature in Buenos Aires is ten degrees."),
    ("flite:slt", "After the meeting, I want to go home."),
]
LEAD_S, LONG_GAP_S, SHORT_GAP_S = 0.6, 1.1, 0.9
PEAK = 0.5


def spanish_of(wanted, seeds=range(1, 40)):
    """The hand-written Spanish of template sentences: {english: spanish}."""
    missing, found = {text_open.letters(t) for t in wanted}, {}
    for seed in seeds:
        for english, spanish in bilingual.pairs(700, seed):
            if text_open.letters(english) in missing:
                found[english] = spanish
        if len(found) == len(missing):
            break
    return found


def say(voice, text, flite):
    engine, _, name = voice.partition(":")
    if engine == "flite":
        samples, rate, _ = flite.say(text, name, stretch=1.05)
    elif engine == "festival":
        samples, rate, _ = voices.festival_batch([text], name)[0]
    else:  # a human prompt by name
        return speech_data.human_prompts(lambda n: n == name)[0][2]
    return voices.change_rate(samples, rate)


def make(folder, script=None, human=()):
    """`human`: (prompt name, text, spanish) of recorded prompts never trained on."""
    os.makedirs(folder, exist_ok=True)
    script = list(script or SCRIPT)
    for _, text in script:
        assert text_open.held_out(text), f"trained on: {text}"
    spanish, flite = spanish_of([text for _, text in script]), voices.Flite()
    items = [(voice, text, spanish[text]) for voice, text in script] + [(f"human:{name}", text, es) for name, text, es in human]
    rng, parts, utterances, at = np.random.default_rng(3), [], [], int(LEAD_S * SAMPLE_RATE)
    parts.append(np.zeros(at, np.float32))
    for number, (voice, text, translation) in enumerate(items):
        samples = say(voice, text, flite)
        samples = samples * (PEAK / np.abs(samples).max())
        first, last = speech_bounds(samples, 35)
        samples = samples[max(0, first - 2) * HOP: (last + 2) * HOP]
        first, last = speech_bounds(samples, 35)
        ms = lambda frame: round((at + frame * HOP) * 1000 / SAMPLE_RATE)
        utterances.append({"text": text, "spanish": translation, "start_ms": ms(first), "end_ms": ms(last), "voice": voice})
        gap = int((LONG_GAP_S if number % 2 else SHORT_GAP_S) * SAMPLE_RATE)
        parts += [samples, np.zeros(gap, np.float32)]
        at += len(samples) + gap
    wave = np.concatenate(parts)
    wave += rng.standard_normal(len(wave)).astype(np.float32) * 10 ** (-66 / 20)  # a room is never digitally silent
    soundfile.write(os.path.join(folder, "demo.wav"), np.clip(wave, -1, 1), SAMPLE_RATE, subtype="PCM_16")
    with open(os.path.join(folder, "manifest.json"), "w", encoding="utf-8") as file:
        json.dump({"file": "demo.wav", "sample_rate": SAMPLE_RATE, "duration_ms": round(len(wave) * 1000 / SAMPLE_RATE), "utterances": utterances},
                  file, indent=2, ensure_ascii=False)
        file.write("\n")
    for name in ("demo.wav", "manifest.json"):
        os.chmod(os.path.join(folder, name), 0o644)
    print(f"{len(utterances)} utterances, {len(wave) / SAMPLE_RATE:.1f} s -> {folder}")
