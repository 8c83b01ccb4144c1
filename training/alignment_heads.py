"""Finds the heads of an exported speech model's cross-attention that follow the voice.

    python -m training alignment-heads

Word ends are read from attention as openai-whisper does it (`timing.py`): each position's attention is compared over the tokens
(mean off, divided by the deviation), smoothed by a median over 7 positions, averaged over some heads, and a cheapest monotone path says
where each token begins. The synthesisers know the true word ends. Every set of heads is tried; the one with the smallest mean absolute error
on one half of the clips is written to generation_config.json as `alignment_heads` ([[layer, head], ...]); its error on the other half goes into the card.
"""
import itertools
import json
import os
import random

import numpy as np
import torch
from scipy.signal import medfilt

from . import bilingual
from .cards import between
from .features import HOP, SAMPLE_RATE, WINDOW_FRAMES, features
from .stream_speech import Speakers, espeak_voices
from .tokens import SpeechTokens

SEED = 515
SENTENCES_PER_VOICE = 18
VOICES = ["flite:slt", "flite:rms", "flite:awb", "festival:cmu_us_slt_arctic_hts", "festival:kal_diphone"]
ESPEAK_COUNT = 5
MARGIN_S = 0.3
WIDTH = 7
POSITION_MS = 20
BEGIN, END = "<!-- alignment heads -->", "<!-- end of alignment heads -->"


def clips():
    """-> [(samples, text, true word ends in ms, voice)] of sentences and voices as in training, in an order by seed."""
    sentences = [pair for pair in bilingual.pairs(130, SEED, held=False) if 4 <= len(pair[0].split()) <= 16]
    speakers, found = Speakers(), []
    for number, voice in enumerate(VOICES + espeak_voices(ESPEAK_COUNT, SEED)):
        own = sentences[number * SENTENCES_PER_VOICE: (number + 1) * SENTENCES_PER_VOICE]
        for take in speakers.takes(voice, own, SAMPLE_RATE):
            margin = np.zeros(round(MARGIN_S * SAMPLE_RATE), np.float32)
            samples = np.concatenate([margin, take.samples, margin])
            samples += np.random.default_rng(len(samples)).standard_normal(len(samples)).astype(np.float32) * 10 ** (-66 / 20)
            found.append((samples, take.text, [(MARGIN_S + end) * 1000 for _, _, end in take.words], voice))
    random.Random(SEED).shuffle(found)
    return found


class Watcher:
    """An exported checkpoint under Hugging Face's class, with its cross-attention."""

    def __init__(self, folder):
        from transformers import WhisperForConditionalGeneration
        self.model = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        self.tokens = SpeechTokens(f"{folder}/tokenizer.json")
        self.positions = self.model.model.encoder.embed_positions.weight.detach()

    @torch.no_grad()
    def attention(self, samples, text, padded):
        """-> (attention [layers, heads, rows, positions of the clip], tokens of each word). The rows are those that choose the text's
        tokens and the end. `padded`: over the model's whole window, as openai-whisper; else over the clip alone, as a live pipeline."""
        encoder = self.model.model.encoder
        frames = len(samples) // HOP // 2 * 2
        window = WINDOW_FRAMES if padded else frames
        encoder.embed_positions = torch.nn.Embedding.from_pretrained(self.positions[: window // 2])
        encoder.config.max_source_positions = window // 2
        words = [self.tokens.encode(word) for word in text.split()]
        ids = torch.tensor([self.tokens.prompt + [i for word in words for i in word]])
        mel = torch.from_numpy(features(samples[: frames * HOP], window).T[None].copy())
        found = self.model(input_features=mel, decoder_input_ids=ids, output_attentions=True, use_cache=False).cross_attentions
        first = len(self.tokens.prompt) - 1
        return torch.stack(found)[:, 0, :, first:, : frames // 2].numpy(), [len(word) for word in words]


def compared(attention):
    """z-scores over the tokens, then a median over 7 positions: the same shape."""
    mean, deviation = attention.mean(-2, keepdims=True), attention.std(-2, keepdims=True)
    scores = np.pad((attention - mean) / np.maximum(deviation, 1e-12), [(0, 0)] * 3 + [(WIDTH // 2, WIDTH // 2)], mode="reflect")
    return medfilt(scores, (1, 1, 1, WIDTH))[..., WIDTH // 2: -(WIDTH // 2)]


def starts(scores):
    """[rows, positions] -> the position at which each row begins on the monotone path of the greatest sum (dynamic time warping)."""
    rows, positions = scores.shape
    total = np.full((rows + 1, positions + 1), np.inf)
    total[0, 0] = 0
    steps = np.full((rows + 1, positions + 1), 2, dtype=np.int8)
    values, sums = (-scores).tolist(), total.tolist()
    for j in range(1, positions + 1):
        for i in range(1, rows + 1):
            both, row, position = sums[i - 1][j - 1], sums[i - 1][j], sums[i][j - 1]
            if both < row and both < position:
                best, steps[i, j] = both, 0
            elif row < both and row < position:
                best, steps[i, j] = row, 1
            else:
                best = position
            sums[i][j] = values[i - 1][j - 1] + best
    found, i, j = [0] * rows, rows, positions
    while i > 0 and j > 0:
        found[i - 1] = j - 1
        step = steps[i, j]
        i, j = (i - 1 if step < 2 else i), (j - 1 if step != 1 else j)
    return found


def word_errors_ms(scores, lengths, truth):
    """Signed: estimated word end minus the true one, in ms."""
    begun = starts(scores)
    return [begun[last] * POSITION_MS - end for last, end in zip(np.cumsum(lengths), truth)]


def measure(folder, padded=False):
    """-> (best set, {set: signed errors in ms on the clips that did not choose}, {voice: those of the best set})."""
    watcher, data = Watcher(folder), []
    for samples, text, truth, voice in clips():
        if len(samples) < WINDOW_FRAMES * HOP:
            attention, lengths = watcher.attention(samples, text, padded)
            data.append((compared(attention), lengths, truth, voice))
    layers, heads = data[0][0].shape[:2]
    each = [(layer, head) for layer in range(layers) for head in range(heads)]
    sets = [chosen for size in range(1, len(each) + 1) for chosen in itertools.combinations(each, size)]
    choose, report = data[::2], data[1::2]

    def errors(chosen, some):
        rows = lambda scores: np.mean([scores[layer, head] for layer, head in chosen], axis=0)
        return np.array([e for scores, lengths, truth, _ in some for e in word_errors_ms(rows(scores), lengths, truth)])

    best = min(sets, key=lambda chosen: np.abs(errors(chosen, choose)).mean())
    shown = [(head,) for head in each] + [tuple(each), tuple(h for h in each if h[0] >= layers // 2), best]
    by_voice = {voice: errors(best, [clip for clip in report if clip[3] == voice]) for voice in sorted({clip[3] for clip in report})}
    return best, {chosen: errors(chosen, report) for chosen in dict.fromkeys(shown)}, by_voice


def line(errors):
    absolute = np.abs(errors)
    return (f"mean {absolute.mean():.0f} ms, p50 {np.percentile(absolute, 50):.0f} ms, p90 {np.percentile(absolute, 90):.0f} ms "
            f"(signed median {np.median(errors):+.0f} ms, {len(errors)} words)")


def update(folder):
    """Measures, writes generation_config.json and, where it has the markers, the card."""
    for padded in (True, False):
        best, found, by_voice = measure(folder, padded)
        print("clips padded to the window:" if padded else "clips at their length:")
        for chosen, errors in found.items():
            print(f"  {'best set ' if chosen == best else ''}{[list(head) for head in chosen]}: {line(errors)}", flush=True)
    for voice, errors in by_voice.items():
        print(f"  best set, {voice}: {line(errors)}")
    path = os.path.join(folder, "generation_config.json")
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    config["alignment_heads"] = [list(head) for head in best]
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2, ensure_ascii=False)
        file.write("\n")
    between(os.path.join(folder, "README.md"), BEGIN, END,
            [f"Cross-attention that follows the voice (`alignment_heads`): {[list(head) for head in best]}. Word ends read from it miss the true ones by "
             f"{line(found[best])}, on synthetic speech that did not choose them."])
