"""Finds when each word of a recording ends, by CTC alignment with a half-trained model.

The synthesisers tell word ends themselves; recorded prompts do not. With them, recordings too can be broken
off mid-sentence, and prompts longer than the model's window can be cut at their sentences' ends.
"""
import os
import re

import numpy as np
import torch

from . import speech_data, text_open
from .features import FRAMES_PER_SECOND, WINDOW_FRAMES, log_power
from .augment import padded
from .stt_model import CTC_LETTERS

EDGE = 100  # frames at a window's edge that the neighbouring window decides
LONGEST_CLIP = 9 * FRAMES_PER_SECOND


@torch.no_grad()
def letter_log_probs(model, log_mel):
    """log10 mel power of any length [frames, 80] -> CTC log probabilities [frames / 2, letters + 1]."""
    pieces, start = [], 0
    while True:
        window = log_mel[start: start + WINDOW_FRAMES]
        length = len(window) + len(window) % 2
        mel = torch.from_numpy(padded(window, length).T[None].copy())
        found = model.ctc(model.model["encoder"](mel))[0].log_softmax(-1).numpy()
        first = EDGE // 2 if start else 0
        if start + WINDOW_FRAMES >= len(log_mel):
            pieces.append(found[first:])
            return np.concatenate(pieces)
        pieces.append(found[first: (WINDOW_FRAMES - EDGE) // 2])
        start += WINDOW_FRAMES - 2 * EDGE


def best_path(log_probs, labels):
    """Viterbi over blank-separated labels -> (last position of each label, mean log probability of the path)."""
    states = np.zeros(2 * len(labels) + 1, dtype=int)
    states[1::2] = labels
    count, n = len(states), len(log_probs)
    skip = np.zeros(count, dtype=bool)
    skip[3::2] = states[3::2] != states[1:-2:2]
    score = np.full(count, -np.inf)
    score[:2] = log_probs[0, states[:2]]
    back = np.zeros((n, count), dtype=np.int8)
    for t in range(1, n):
        one = np.concatenate([[-np.inf], score[:-1]])
        two = np.where(skip, np.concatenate([[-np.inf, -np.inf], score[:-2]]), -np.inf)
        choice = np.argmax([score, one, two], axis=0)
        back[t] = choice
        score = np.choose(choice, [score, one, two]) + log_probs[t, states]
    state = count - 1 if score[-1] >= score[-2] else count - 2
    total, ends = score[state] / n, np.zeros(len(labels), dtype=int)
    for t in range(n - 1, -1, -1):
        if state % 2 and ends[state // 2] == 0:
            ends[state // 2] = t
        state -= int(back[t, state])
    return ends, total


def word_ends(model, log_mel, text):
    """-> (frame at which each word of `text` ends, score), or None where the text does not fit the sound."""
    words = text.split()
    spelled = [text_open.letters(w).replace(" ", "") for w in words]
    if not all(spelled):
        return None
    labels = [CTC_LETTERS.index(c) + 1 for c in " ".join(spelled)]
    log_probs = letter_log_probs(model, log_mel)
    if len(log_probs) < 2 * len(labels) * 0.6:
        return None
    ends, score = best_path(log_probs, labels)
    at, found = -1, []
    for word in spelled:
        at += len(word)
        found.append(int(ends[at]) * 2 + 6)  # CTC peaks before the sound has died away
        at += 1
    return found, score


def sentences_of(text, ends, total):
    """Cuts a long text at its sentence ends -> [(text, first frame, last frame, word ends within)]."""
    words, parts, begun = text.split(), [], 0
    for i, word in enumerate(words):
        if re.search(r"[.?!]$", word) or i == len(words) - 1:
            first = max(0, ends[begun - 1] + 4) if begun else 0
            last = total if i == len(words) - 1 else min(total, ends[i] + 15)
            parts.append((" ".join(words[begun: i + 1]), first, last, [e - first for e in ends[begun: i + 1]]))
            begun = i + 1
    return parts


def build_human_aligned(model, folder, worst=-0.9):
    """Like speech_data.build_human, with word ends, and with the sentences of the long prompts."""
    barred = {text_open.letters(text_open.prompt_sentence(t)) for n, t in text_open.prompt_texts().items()
              if text_open.is_check(n) or n in text_open.DEMO_PROMPTS}
    os.makedirs(folder, exist_ok=True)
    clips, left_out = [], []
    for name, text, samples in speech_data.human_prompts(lambda n: not text_open.is_check(n) and n not in text_open.DEMO_PROMPTS):
        if text_open.letters(text) in barred or len(samples) < 3200 or np.abs(samples).max() < 1e-3:
            continue
        first, last = speech_data.speech_bounds(samples)
        samples = samples * (0.5 / np.abs(samples).max())
        mel = log_power(samples)[max(0, first - 4): last + 4]
        found = word_ends(model, mel, text)
        if found is None or found[1] < worst:
            left_out.append((name, found and round(found[1], 2)))
            if len(mel) <= LONGEST_CLIP:
                clips.append((mel.astype(np.float16), {"text": text, "voice": f"human:{name}", "frames": len(mel), "word_ends": None}))
            continue
        parts = [(text, 0, len(mel), found[0])] if len(mel) <= LONGEST_CLIP else sentences_of(text, found[0], len(mel))
        for part, start, stop, ends in parts:
            if 40 <= stop - start <= LONGEST_CLIP and text_open.letters(part) not in barred:
                clips.append((mel[start:stop].astype(np.float16),
                              {"text": part[0].upper() + part[1:], "voice": f"human:{name}", "frames": stop - start, "word_ends": ends}))
    speech_data.write_shard(os.path.join(folder, "00000-human"), clips)
    minutes = sum(len(m) for m, _ in clips) / FRAMES_PER_SECOND / 60
    print(f"human prompts: {len(clips)} clips, {minutes:.1f} minutes; not aligned: {left_out}")
