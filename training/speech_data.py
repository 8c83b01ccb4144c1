"""Turns sentences into shards of log mel power, one voice drawn at random for each sentence.

A shard is `NAME.npy` ([frames, 80] float16, clips end to end) and `NAME.json` (a list of clips:
text, voice, start and frames within the shard, word_ends in frames or null). A shard that exists
is kept, so a build can be stopped and taken up again; everything random hangs on shard number.
"""
import json
import multiprocessing
import os
import random
import subprocess

import numpy as np
from scipy.signal import fftconvolve

from . import text_open, voices
from .features import FRAMES_PER_SECOND, HOP, SAMPLE_RATE, log_power

CLIPS_PER_SHARD = 100
MARGIN_FRAMES = 4  # kept before and after the speech
LONGEST_FRAMES = 950
HUMAN_FOLDER = "/usr/share/asterisk/sounds/en_US_f_Allison"
# What a shard is spoken by, in turn: the cheap engine with most voices, then the better ones.
TURNS = ["espeak", "flite", "espeak", "flite", "festival", "espeak", "flite"]


def room(samples, rng):
    """A small random room: a direct sound, a few early reflections and an exponential tail."""
    seconds = rng.uniform(0.08, 0.35)
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(len(time)) * np.exp(-6.9 * time / seconds)
    tail[: int(0.002 * SAMPLE_RATE)] = 0
    tail *= rng.uniform(0.1, 0.6) / np.sqrt((tail ** 2).sum() + 1e-9)
    tail[0] = 1
    return fftconvolve(samples, tail)[: len(samples)].astype(np.float32)


def speech_bounds(samples, decibels=45):
    """-> (first, last + 1) frame whose level is within so many dB of the loudest frame."""
    count = len(samples) // HOP
    level = 10 * np.log10((samples[: count * HOP].reshape(count, HOP) ** 2).mean(1) + 1e-12)
    loud = np.flatnonzero(level > level.max() - decibels)
    return int(loud[0]), int(loud[-1]) + 1


def as_clip(text, voice, samples, word_ends, rng, room_share=0.5):
    """-> (log mel power f16, clip record), trimmed to the speech; None if too long or silent."""
    peak = np.abs(samples).max()
    if len(samples) < 20 * HOP or peak < 1e-3:
        return None
    samples = samples * (0.5 / peak)
    first, last = speech_bounds(samples)
    if rng.random() < room_share:
        samples = room(samples, rng)
    first, last = max(0, first - MARGIN_FRAMES), min(len(samples) // HOP, last + MARGIN_FRAMES)
    if last - first > LONGEST_FRAMES:
        return None
    mel = log_power(samples[first * HOP: last * HOP]).astype(np.float16)
    ends = None
    if word_ends is not None:
        ends = [int(min(max(round(e * FRAMES_PER_SECOND) - first, 1), len(mel))) for e in word_ends]
    return mel, {"text": text, "voice": voice, "frames": len(mel), "word_ends": ends}


def speak(texts, engine, seed, engines={}):
    """Says texts with random training voices of one engine -> clips; engines are kept per process."""
    rng, noise = random.Random(seed), np.random.default_rng(seed)
    clips = []
    if engine == "festival":
        voice, stretch = rng.choice(voices.FESTIVAL_VOICES), rng.uniform(0.85, 1.2)
        for text, said in zip(texts, voices.festival_batch(texts, voice, stretch)):
            if said:
                clips.append(finish(text, f"festival:{voice}", *said, rng.choice([0.88, 0.94, 1, 1, 1.06, 1.12]), noise))
        return [clip for clip in clips if clip]
    if engine not in engines:
        engines[engine] = voices.Espeak() if engine == "espeak" else voices.Flite()
    for text in texts:
        if engine == "espeak":
            choice = voices.random_espeak_voice(rng)
            samples, ends = engines[engine].say(text, **choice)
            said, name, speed = (samples, engines[engine].rate, ends), f"espeak:{choice['voice']}", rng.choice([1, 1, 0.94, 1.06])
        else:
            voice = rng.choice(voices.FLITE_VOICES)
            said = engines[engine].say(text, voice, rng.uniform(0.85, 1.25), rng.choice([1, 1, 0.9, 1.1, 1.2]))
            name, speed = f"flite:{voice}", rng.choice([0.88, 0.94, 1, 1, 1.06, 1.12])
        clips.append(finish(text, name, *said, speed, noise))
    return [clip for clip in clips if clip]


def finish(text, voice, samples, rate, word_ends, speed, noise):
    samples = voices.change_rate(samples, rate, speed)
    return as_clip(text, voice, samples, word_ends and [e / speed for e in word_ends], noise)


def write_shard(path, clips):
    start = 0
    for mel, record in clips:
        record["start"] = start
        start += len(mel)
    np.save(path + ".npy", np.concatenate([mel for mel, _ in clips]))
    with open(path + ".json.part", "w") as file:
        json.dump([record for _, record in clips], file)
    os.replace(path + ".json.part", path + ".json")


def _make_shard(job):
    path, texts, engine, seed = job
    if not os.path.exists(path + ".json"):
        clips = speak(texts, engine, seed)
        if clips:
            write_shard(path, clips)
    return path


def build(sentences, folder, seed=1, processes=2, turns=TURNS):
    """Synthesises all sentences into shards under `folder`."""
    os.makedirs(folder, exist_ok=True)
    order = list(sentences)
    random.Random(seed).shuffle(order)
    jobs = []
    for number, at in enumerate(range(0, len(order), CLIPS_PER_SHARD)):
        engine = turns[number % len(turns)]
        jobs.append((os.path.join(folder, f"{number:05d}-{engine}"), order[at: at + CLIPS_PER_SHARD], engine, seed * 100_003 + number))
    with multiprocessing.Pool(processes) as pool:
        for done, path in enumerate(pool.imap_unordered(_make_shard, jobs), 1):
            if done % 20 == 0 or done == len(jobs):
                print(f"speech {done}/{len(jobs)} shards, last {os.path.basename(path)}", flush=True)


def decode_audio(path):
    """Any file ffmpeg can read -> samples at 16 kHz."""
    raw = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-f", "s16le", "-ar", str(SAMPLE_RATE), "-ac", "1", "-"],
                         capture_output=True, check=True).stdout
    return np.frombuffer(raw, dtype=np.int16).astype(np.float32) / 32768


def human_prompts(wanted):
    """-> [(name, text, samples)] of the recorded Asterisk prompts whose name `wanted` accepts."""
    found = []
    for name, text in sorted(text_open.prompt_texts().items()):
        path = os.path.join(HUMAN_FOLDER, name + ".g722")
        text = text_open.prompt_sentence(text)
        if wanted(name) and text and os.path.exists(path):
            found.append((name, text, decode_audio(path)))
    return found


def build_human(folder):
    """The human prompts that may be trained on, as one shard (each clip once, without added room)."""
    barred = {text_open.letters(text_open.prompt_sentence(t)) for n, t in text_open.prompt_texts().items()
              if text_open.is_check(n) or n in text_open.DEMO_PROMPTS}
    os.makedirs(folder, exist_ok=True)
    clips, rng = [], np.random.default_rng(7)
    for name, text, samples in human_prompts(lambda n: not text_open.is_check(n) and n not in text_open.DEMO_PROMPTS):
        if text_open.letters(text) not in barred:
            clip = as_clip(text, f"human:{name}", samples, None, rng, room_share=0)
            if clip:
                clips.append(clip)
    write_shard(os.path.join(folder, "00000-human"), clips)
    print(f"human prompts: {len(clips)} clips, {sum(len(m) for m, _ in clips) / FRAMES_PER_SECOND / 60:.1f} minutes")
