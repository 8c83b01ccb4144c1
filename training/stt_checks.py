"""Small sets for watching a speech run: {name: [(log mel power [frames, 80], text)]}, none trained on."""
import random

from . import evaluate, speech_data, text_open, voices
from .features import SAMPLE_RATE, log_power
from .speech_data import speak

CLIPS = 40


def make():
    rng = random.Random(5)
    open_text = [t for t in text_open.open_sentences() if text_open.held_out(t) and len(t.split()) <= 12]
    rng.shuffle(open_text)
    domain = evaluate.domain_sentences(CLIPS * 2)
    samples_of = lambda said: log_power(voices.change_rate(said[0], said[1]))
    seen = lambda texts: [(mel.astype("float32"), record["text"]) for i, engine in enumerate(("espeak", "flite"))
                          for mel, record in speak(texts[i::2], engine, 99)]
    sets = {"domain": seen(domain[:CLIPS]), "open": seen(open_text[:CLIPS])}
    said = voices.festival_batch(domain[CLIPS:], voices.HELD_OUT_FESTIVAL)
    sets["speaker"] = [(samples_of(s), text) for s, text in zip(said, domain[CLIPS:]) if s]
    human = [(log_power(samples), text) for _, text, samples in speech_data.human_prompts(text_open.is_check) if len(samples) < 9.7 * SAMPLE_RATE]
    rng.shuffle(human)
    sets["human"] = human[:CLIPS]
    return sets
