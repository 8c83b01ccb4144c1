"""Makes tests/fixtures/decode: what transformers and openai-whisper decide between the steps of a decoder.

    python -m training.reference.decode_fixtures      (from the repository root)

Needs torch, transformers 5.23, openai-whisper 20250625 and its tiktoken; numba only where openai-whisper imports it.
No model is involved. Scores and attention come from an integer hash that tests/decode.rs computes bit for bit too, so
only the answers are stored.
"""
import json
import pathlib
import types

import numpy as np
import torch
from transformers import GenerationConfig, PretrainedConfig, PreTrainedModel
from transformers.generation import GenerationMixin
from transformers.generation.logits_process import (
    NoRepeatNGramLogitsProcessor, RepetitionPenaltyLogitsProcessor, WhisperTimeStampLogitsProcessor,
)
from transformers.modeling_outputs import CausalLMOutput, ModelOutput
from transformers.models.whisper.generation_whisper import WhisperGenerationMixin, _median_filter
from whisper import timing
from whisper.tokenizer import get_tokenizer
from whisper.utils import compression_ratio

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/fixtures/decode"
FACTORS = np.array([2654435761, 2246822519, 3266489917, 668265263, 374761393], np.uint32)


def noise(*keys):
    """Numbers in [0, 1) with 24 bits, so exact in single precision, from up to five integers or arrays of them."""
    with np.errstate(over="ignore"):
        h = np.uint32(0)
        for key, factor in zip(keys, FACTORS):
            h = h ^ (np.asarray(key, np.uint32) + np.uint32(1)) * factor
        h = (h ^ (h >> np.uint32(15))) * FACTORS[1]
        h = (h ^ (h >> np.uint32(13))) * FACTORS[2]
        h = h ^ (h >> np.uint32(16))
    return ((h >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)).astype(np.float32)


# Beam search: a language model of two tokens' memory.

END, PROMPT = 0, [1, 2]


class ToyConfig(PretrainedConfig):
    model_type = "toy"


class Toy(PreTrainedModel, GenerationMixin):
    config_class = ToyConfig

    def __init__(self, config, seed, vocabulary, bonus):
        super().__init__(config)
        self.seed, self.vocabulary, self.bonus = seed, vocabulary, bonus
        self.anchor = torch.nn.Parameter(torch.zeros(1))

    def prepare_inputs_for_generation(self, input_ids, **_):
        return {"input_ids": input_ids}

    def forward(self, input_ids, **_):
        rows = [self.scores(row) for row in input_ids.tolist()]
        return CausalLMOutput(logits=torch.from_numpy(np.stack(rows))[:, None])

    def scores(self, tokens):
        """8 * noise for each token, the end token's raised by the bonus for each token decoded."""
        scores = noise(np.arange(self.vocabulary), tokens[-1], tokens[-2], len(tokens), self.seed) * np.float32(8)
        scores[END] += np.float32(self.bonus * (len(tokens) - len(PROMPT)))
        return scores


def beams():
    stopping = [("heuristic", False), ("full", True), ("never", "never")]
    shapes = [
        (width, penalty, stop)
        for width in (1, 2, 3, 4, 5, 6, 8) for penalty in (0.6, 1.0, 2.0) for stop in stopping
        if width > 1 or stop[1] != "never"  # one beam that never stops is no greedy search, and transformers has none
    ] + [(4, 0.0, stop) for stop in stopping] + [(5, -0.5, stop) for stop in stopping]
    cases = []
    for index, (width, penalty, (name, stop)) in enumerate(shapes):
        case = dict(
            width=width, length_penalty=penalty, early_stopping=name, seed=index, vocabulary=[24, 60, 300][index % 3],
            bonus=[0.25, 0.5, 1.0, 0.0][index % 4], limit=[12, 20, 7, 1, 30][index % 5],
            no_repeat=[0, 0, 2][index % 3], repetition=[1.0, 1.0, 1.0, 1.5][index % 4],
        )
        config = GenerationConfig(
            num_beams=width, num_return_sequences=width, do_sample=False, length_penalty=penalty, early_stopping=stop,
            max_new_tokens=case["limit"], eos_token_id=END, pad_token_id=case["vocabulary"], use_cache=False,
            no_repeat_ngram_size=case["no_repeat"], repetition_penalty=case["repetition"],
            return_dict_in_generate=True, output_scores=True,
        )
        toy = Toy(ToyConfig(), case["seed"], case["vocabulary"], case["bonus"])
        found = toy.generate(torch.tensor([PROMPT]), generation_config=config)
        texts = []
        for row in found.sequences.tolist():
            row = [token for token in row[len(PROMPT):] if token != case["vocabulary"]]
            ended = END in row
            texts.append(dict(tokens=row[: row.index(END)] if ended else row, truncated=not ended))
        scores = [None] if width == 1 else [round(score, 6) for score in found.sequences_scores.tolist()]
        cases.append(case | dict(texts=[text | dict(score=score) for text, score in zip(texts, scores, strict=True)]))
    return cases


# Rules on scores.

TEXT_END, NO_TIMESTAMPS, FIRST, VOCABULARY = 20, 24, 25, 64


def histories(random):
    """Token lists as the rules make them, and as they never would."""
    yield []
    for index in range(200):
        length = int(random.integers(1, 12))
        if index % 3 == 0:
            yield random.integers(0, VOCABULARY, length).tolist()
            continue
        tokens, time = [], FIRST
        while len(tokens) < length:
            time = min(time + int(random.integers(0, 4)), VOCABULARY - 1)
            tokens += [time, *random.integers(0, TEXT_END, int(random.integers(1, 4))).tolist(), min(time + 3, VOCABULARY - 1)]
            time += 3
        yield tokens[:length]


def timestamps():
    random = np.random.default_rng(3)
    cases = []
    for index, history in enumerate(histories(random)):
        limit = [None, 1, 10][index % 3]
        config = types.SimpleNamespace(no_timestamps_token_id=NO_TIMESTAMPS, eos_token_id=TEXT_END, bos_token_id=TEXT_END)
        if limit is not None:
            config.max_initial_timestamp_index = limit
        rules = WhisperTimeStampLogitsProcessor(config, begin_index=len(PROMPT))
        scores = noise(np.arange(VOCABULARY), index) * np.float32([4, 8, 16][index % 3])
        out = rules(torch.tensor([PROMPT + history]), torch.from_numpy(scores)[None])[0]
        allowed = [token for token, score in enumerate(out.tolist()) if score > -np.inf]
        cases.append(dict(history=history, max_initial=limit, allowed=allowed))
    return cases


def repetition():
    random = np.random.default_rng(4)
    cases = []
    for index in range(60):
        history = random.integers(0, 6, int(random.integers(1, 30))).tolist()
        size, penalty = index % 4 + 1, [1.3, 0.7, 1.0][index % 3]
        scores = (noise(np.arange(8), index) - np.float32(0.5)) * np.float32(4)
        ids, scores = torch.tensor([history]), torch.from_numpy(scores)[None]
        banned = NoRepeatNGramLogitsProcessor(size)(ids, scores.clone())[0].isinf().nonzero().flatten().tolist()
        dearer = RepetitionPenaltyLogitsProcessor(penalty)(ids, scores.clone())[0].tolist()
        cases.append(dict(history=history, size=size, penalty=penalty, banned=banned, scores=dearer))
    return cases


def segments():
    """Segments at pairs of timestamps, in steps of 20 ms, and the step the next window begins at."""
    random = np.random.default_rng(5)
    cases = []
    for history in histories(random):
        stamps = [token >= FIRST for token in history]
        if not history or not stamps[0] or not any(a and b for a, b in zip(stamps, stamps[1:])):
            continue  # what both do with other texts differs on purpose, and is tested in the module
        times = [token for token in history if token >= FIRST]
        if times != sorted(times) or any(all(stamps[i:i + 3]) for i in range(len(stamps) - 2)) or stamps[1]:
            continue  # no text by the rules
        found, seek = WhisperGenerationMixin._retrieve_segment(
            seek_sequence=torch.tensor(history), seek_outputs=[{}], time_offset=torch.zeros(1, dtype=torch.float64),
            timestamp_begin=FIRST, seek_num_frames=torch.tensor([3000]), time_precision=1, time_precision_features=0.5,
            input_stride=2, prev_idx=0, idx=0, return_token_timestamps=False, decoder_input_ids=torch.zeros(1, 0),
        )
        spans = [[int(s["start"]), int(s["end"])] for s in found]
        cases.append(dict(tokens=history, spans=spans, resume=int(seek) // 2))
    return cases


def compression():
    texts = [
        "a", "Thank you.", "Thank you. " * 12, "No, no, no, no, no, no, no, no, no, no, no, no, no, no, no, no.",
        "Ein Satz mit Umlauten: Übermäßig schöne Größen, fürwahr.", "これは日本語の文です。これは日本語の文です。",
        "The quick brown fox jumps over the lazy dog while the band plays on and nobody listens to the end of it.",
        "Спасибо, что смотрели. Спасибо, что смотрели.", "la " * 200, "".join(chr(97 + int(26 * x)) for x in noise(np.arange(2000), 9)),
        "🎵🎵🎵🎵🎵🎵🎵🎵", " ", "é" * 300,
    ]
    return [dict(text=text, ratio=compression_ratio(text)) for text in texts]


# Alignment: attention along a crooked diagonal, in noise.


def attention(seed, heads, rows, positions):
    """(heads, rows, positions): a hill of height 1 and half width 6 around each row's place, and noise up to 0.5."""
    head, row, position = np.ogrid[:heads, :rows, :positions]
    place = (row * row + row * (rows % 7)) * positions // (rows * rows + rows * (rows % 7) + 1)
    hill = np.maximum(6 - np.abs(position - place), 0).astype(np.float32) * np.float32(1 / 8)
    keys = np.broadcast_arrays(head, row, position)
    return hill + noise(*keys, seed) * np.float32(0.5)


def alignments():
    cases = []
    prompt = 2
    for seed, (heads, rows, positions) in enumerate([(1, 4, 20), (3, 9, 60), (6, 30, 300), (2, 5, 3), (4, 12, 8), (2, 40, 30), (6, 200, 1500)]):
        weights = attention(seed, heads, rows, positions)
        # All heads in one layer; the rows of the prompt, which are cut off, then the others one step each.
        before = np.zeros((heads, prompt, positions), np.float32)
        stacked = torch.from_numpy(np.concatenate([before, weights], 1))[None]
        steps = [stacked[:, :, :prompt], *[stacked[:, :, i:i + 1] for i in range(prompt, prompt + rows)]]
        outputs = ModelOutput(sequences=torch.zeros(1, 1), cross_attentions=[(step,) for step in steps])
        model = types.SimpleNamespace(config=types.SimpleNamespace(decoder_layers=1, median_filter_width=7))
        times = WhisperGenerationMixin._extract_token_timestamps(
            model, outputs, [[0, head] for head in range(heads)], time_precision=1, num_input_ids=prompt,
        )
        times = [int(t) for t in times[0, prompt:prompt + rows]]
        scores = torch.from_numpy(weights)[None]
        std, mean = torch.std_mean(scores, dim=-2, keepdim=True, unbiased=False)
        matrix = _median_filter((scores - mean) / std, 7).mean(1)[0]
        cases.append(dict(
            seed=seed, heads=heads, rows=rows, positions=positions, times=times, most=matrix.argmax(-1).tolist(),
        ))
    return cases


TEXTS = [
    ("en", " The quick brown fox, \"jumped\" over (the) lazy dog. And then... it's over! Well?"),
    ("en", "Hello world - $5.50 isn't #1 @ home; 100% of it [sic]."),
    ("en", " Naïve café 🎵 tune 👩‍🚀 up."),
    ("de", " Größenwahn: »Ja«, sagte er, „übermäßig“ viel."),
    ("es", " ¿Qué hora es? ¡Ya es tarde!"),
    ("fr", " L'été, c'est « bien » n'est-ce pas ?"),
    ("ru", " Привет, мир. Как дела?"),
    ("ar", " مرحبا بالعالم، كيف حالك؟"),
    ("ja", "こんにちは、世界。今日は「良い」天気ですね！魑魅魍魎"),
    ("zh", "你好，世界！今天天气很好。龘靐"),
    ("th", "สวัสดีชาวโลก วันนี้อากาศดี"),
    ("my", "မင်္ဂလာပါ ကမ္ဘာ"),
    ("ko", " 안녕하세요, 세계! 뷁"),
    ("en", " ."),
    ("en", "..."),
]


def words():
    cases = []
    for index, (language, text) in enumerate(TEXTS):
        tokenizer = get_tokenizer(True, language=language, num_languages=100)
        tokens = tokenizer.encode(text)
        broken = index == 2
        if broken:  # a character cut off in the middle, as at a decoder's limit
            tokens = tokens[:-4] + tokenizer.encode(" 👩")[:-1]
        pieces = [tokenizer.encoding.decode_single_token_bytes(token) for token in tokens]
        # Steps of 20 ms, now and then a long pause; probabilities exact in binary.
        steps = noise(np.arange(len(tokens) + 1), index, 77)
        times = np.cumsum([int(12 * step) + (120 if step > 0.93 else 0) for step in steps]).tolist()
        shares = noise(np.arange(len(tokens)), index, 78)

        def find_alignment(_model, tokenizer, text_tokens, *_args, **_kwargs):
            # openai-whisper's, after its DTW.
            found, owned = tokenizer.split_to_word_tokens(text_tokens + [tokenizer.eot])
            bounds = np.pad(np.cumsum([len(t) for t in owned[:-1]]), (1, 0))
            at = np.array(times) / 50
            return [
                timing.WordTiming(word, own, float(at[i]), float(at[j]), float(np.mean(shares[i:j])))
                for word, own, i, j in zip(found, owned, bounds[:-1], bounds[1:])
            ]

        timing.find_alignment = find_alignment
        alone = find_alignment(None, tokenizer, tokens)
        # The segment's own times and the last speech are set so that no rule about segments applies.
        segment = dict(tokens=tokens, seek=0, start=alone[0].start, end=alone[-1].end)
        timing.add_word_timestamps(
            segments=[segment], model=None, tokenizer=tokenizer, mel=None, num_frames=3000, last_speech_timestamp=1e9,
        )
        found = [[w["word"], round(w["start"] * 1000), round(w["end"] * 1000), float(w["probability"])] for w in segment["words"]]
        cases.append(dict(language=language, pieces=[piece.hex() for piece in pieces], times=times, index=index, words=found))
    return cases


def main():
    torch.manual_seed(0)
    OUT.mkdir(parents=True, exist_ok=True)
    for make in (beams, timestamps, repetition, segments, compression, alignments, words):
        cases = make()
        lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
        (OUT / f"{make.__name__}.json").write_text(f"[\n{lines}\n]\n")
        print(f"{make.__name__}: {len(cases)}")


if __name__ == "__main__":
    main()
