"""transformers on torch (f32, scaled-dot-product attention), and openai-whisper where it differs.

Greedy decoding of Whisper with transformers is a plain loop over the model with its own caches: the library's `generate`
adds work of its own per token, so the loop is the faster and fairer figure. Translation uses `generate`.
"""

import json

from cases import (DECODE_LONG, DECODE_SHORT, FRAMES_PER_SECOND, SPEECH_CASES, TARGET_TOKENS, TRANSLATION_CASES,
                   WHOLE_TOKENS, audio, prompt)

VARIANTS = {"transformers-f32": None, "openai-whisper-f32": None}


def _prepare(threads):
    import torch

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    return torch


class Speech:
    """Whisper with transformers; "padded" is what its feature extractor gives a 5 s clip, the other a model cut to 5 s."""

    def __init__(self, variant, checkpoint, threads):
        self.torch = _prepare(threads)
        from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

        load = WhisperForConditionalGeneration.from_pretrained
        self.model = load(checkpoint, dtype=self.torch.float32, attn_implementation="sdpa").eval()
        self.extract = WhisperFeatureExtractor.from_pretrained(checkpoint)
        self.prompt = self.torch.tensor([prompt(self.model.config.vocab_size)])
        self.positions = self.model.model.encoder.embed_positions.weight.data.clone()

    def offers(self):
        """(case, how) for everything this side measures."""
        for case in SPEECH_CASES:
            yield case, ""
            if case.seconds == 5:
                yield case, "padded"

    def set_length(self, frames):
        """Makes the encoder expect this many mel frames: it refuses any other length."""
        encoder = self.model.model.encoder
        encoder.config.max_source_positions = encoder.embed_positions.num_embeddings = frames // 2
        encoder.max_source_positions = frames // 2
        encoder.embed_positions.weight.data = self.positions[: frames // 2]

    def mel(self, sound, frames):
        """Features of the first `frames` frames, (1, mels, frames)."""
        found = self.extract(sound, sampling_rate=16_000, return_tensors="pt", padding="max_length",
                             max_length=frames * 160)
        return found.input_features

    def encode(self, features):
        """The encoder's output, as the decoder takes it."""
        return self.model.model.encoder(features)

    def generate(self, encoded, batch, tokens):
        """Greedy token ids of the first row."""
        model, torch = self.model, self.torch
        step, cache, out = self.prompt.expand(batch, -1), None, []
        for _ in range(tokens):
            result = model(encoder_outputs=encoded, decoder_input_ids=step, past_key_values=cache, use_cache=True)
            cache = result.past_key_values
            step = result.logits[:, -1].argmax(-1, keepdim=True)
            out.append(step[0])
        return torch.cat(out).tolist()

    def calls(self, case, how):
        """The functions whose times make the case's figure."""
        sound = audio(case.seconds)
        frames = 3000 if how == "padded" else case.seconds * FRAMES_PER_SECOND
        if case.kind == "mel":
            return [lambda: self.mel(sound, frames)]
        self.set_length(frames)
        if case.kind == "whole":
            return [lambda: self.generate(self.encode(self.mel(sound, frames)), 1, WHOLE_TOKENS[case.seconds])]
        features = self.mel(sound, frames).expand(case.batch, -1, -1)
        if case.kind == "encode":
            return [lambda: self.encode(features)]
        encoded = self.encode(features)
        return [lambda: self.generate(encoded, case.batch, DECODE_LONG),
                lambda: self.generate(encoded, case.batch, DECODE_SHORT)]

    def tokens(self):
        """The greedy tokens of the 30 s case."""
        self.set_length(3000)
        return self.generate(self.encode(self.mel(audio(30), 3000)), 1, WHOLE_TOKENS[30])


class OpenaiSpeech:
    """Whisper with openai-whisper, which always encodes 30 s."""

    def __init__(self, variant, checkpoint, threads):
        self.torch = _prepare(threads)
        import whisper
        from safetensors.torch import load_file

        config = json.loads((checkpoint / "config.json").read_text())
        heads, layers = config["encoder_attention_heads"], config["encoder_layers"]
        size = whisper.model.ModelDimensions(
            config["num_mel_bins"], 1500, config["d_model"], heads, layers,
            config["vocab_size"], 448, config["d_model"], heads, config["decoder_layers"])
        self.whisper, self.model = whisper, whisper.model.Whisper(size).eval()
        tensors = load_file(checkpoint / "model.safetensors")
        self.model.load_state_dict({openai_name(name): value for name, value in tensors.items()})
        self.mels = config["num_mel_bins"]

    def offers(self):
        """(case, how) for everything this side measures."""
        for case in SPEECH_CASES:
            if case.kind in ("encode", "whole", "mel"):
                yield case, "padded" if case.seconds == 5 else ""

    def mel(self, sound):
        """Features of 30 s, (1, mels, 3000)."""
        padded = self.whisper.pad_or_trim(sound)
        return self.whisper.log_mel_spectrogram(padded, self.mels)[None]

    def decode(self, features, tokens):
        """Greedy token ids."""
        options = self.whisper.DecodingOptions(language="en", without_timestamps=True, sample_len=tokens, fp16=False,
                                               suppress_tokens="", suppress_blank=False)
        return self.whisper.decode(self.model, features, options)[0].tokens

    def calls(self, case, how):
        """The functions whose times make the case's figure."""
        sound = audio(case.seconds)
        if case.kind == "mel":
            return [lambda: self.whisper.log_mel_spectrogram(sound, self.mels)]
        if case.kind == "whole":
            return [lambda: self.decode(self.mel(sound), WHOLE_TOKENS[case.seconds])]
        features = self.mel(sound)
        return [lambda: self.model.encoder(features)]

    def tokens(self):
        """The greedy tokens of the 30 s case."""
        return self.decode(self.mel(audio(30)), WHOLE_TOKENS[30])


NAMES = (
    ("model.", ""), ("layers.", "blocks."), ("embed_positions.weight", "positional_embedding"),
    ("decoder.embed_tokens", "decoder.token_embedding"),
    ("self_attn_layer_norm", "attn_ln"), ("encoder_attn_layer_norm", "cross_attn_ln"), ("final_layer_norm", "mlp_ln"),
    ("self_attn", "attn"), ("encoder_attn", "cross_attn"),
    ("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("out_proj", "out"), ("fc1", "mlp.0"), ("fc2", "mlp.2"),
    ("encoder.layer_norm", "encoder.ln_post"), ("decoder.layer_norm", "decoder.ln"),
)


def openai_name(name):
    """OpenAI's (and whisper.cpp's) name of a tensor that transformers names so."""
    for theirs, ours in NAMES:
        name = name.replace(theirs, ours, 1)
    return name


class Translation:
    """Marian and NLLB with transformers."""

    def __init__(self, variant, checkpoint, threads):
        self.torch = _prepare(threads)
        from transformers import AutoModelForSeq2SeqLM

        load = AutoModelForSeq2SeqLM.from_pretrained
        self.model = load(checkpoint, dtype=self.torch.float32, attn_implementation="sdpa").eval()
        end = self.model.config.eos_token_id
        rows = json.loads((checkpoint / "rows.json").read_text())
        self.rows = self.torch.tensor([[*row, end] for row in rows])

    def offers(self):
        """(case, how) for everything this side measures."""
        for case in TRANSLATION_CASES:
            yield case, ""

    def translate(self, rows, beams):
        """Target token ids, (rows, TARGET_TOKENS)."""
        found = self.model.generate(rows, num_beams=beams, do_sample=False, min_new_tokens=TARGET_TOKENS,
                                    max_new_tokens=TARGET_TOKENS)
        return found[:, -TARGET_TOKENS:]

    def calls(self, case, how):
        """The functions whose times make the case's figure."""
        beams = 4 if case.name.endswith("beam4") else 1
        rows = self.rows[: case.batch]
        return [lambda: self.translate(rows, beams)]

    def tokens(self):
        """The greedy tokens of all rows, one after the other."""
        return self.translate(self.rows, 1).flatten().tolist()
