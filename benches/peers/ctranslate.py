"""CTranslate2, alone and as faster-whisper uses it: f32 and int8, on the converted checkpoint.

faster-whisper pads every clip to 30 s; CTranslate2 itself accepts shorter features. Both are measured where they differ:
"padded" is what a user of faster-whisper gets, the unmarked one is the best that CTranslate2 can do.
"""

import json

from cases import (DECODE_LONG, DECODE_SHORT, FRAMES_PER_SECOND, SPEECH_CASES, TARGET_TOKENS, TRANSLATION_CASES,
                   WHOLE_TOKENS, Unsupported, audio, prompt)

VARIANTS = {"ctranslate2-f32": "float32", "ctranslate2-int8": "int8"}
COPIED = ("tokenizer.json", "preprocessor_config.json")


def convert(checkpoint):
    """The checkpoint in CTranslate2's format (f32; the compute type is chosen when loading), beside the original."""
    from ctranslate2.converters import TransformersConverter

    folder = checkpoint.parent / (checkpoint.name + ".ct2")
    if not (folder / "model.bin").exists():
        speech = not (checkpoint / "rows.json").exists()
        converter = TransformersConverter(str(checkpoint), copy_files=list(COPIED) if speech else None)
        converter.convert(str(folder), force=True)
    return folder


class Speech:
    """Whisper."""

    def __init__(self, variant, checkpoint, threads):
        import ctranslate2
        from faster_whisper import WhisperModel

        self.threads = threads
        self.whole = WhisperModel(str(convert(checkpoint)), device="cpu", compute_type=VARIANTS[variant], cpu_threads=threads)
        self.model, self.extract = self.whole.model, self.whole.feature_extractor
        self.view = ctranslate2.StorageView.from_array
        self.prompt = prompt(json.loads((checkpoint / "config.json").read_text())["vocab_size"])

    def offers(self):
        """(case, how) for everything this side measures."""
        for case in SPEECH_CASES:
            if case.kind != "mel":
                yield case, ""
            if case.seconds == 5:
                yield case, "padded"
            if case.kind in ("whole", "mel"):
                yield case, "faster-whisper"

    def features(self, seconds, padded, batch=1):
        """Log-mel features, (batch, mels, frames), as contiguous f32."""
        import numpy

        frames = 3000 if padded else seconds * FRAMES_PER_SECOND
        mel = self.extract(audio(seconds), padding=0)[:, :frames]
        mel = numpy.pad(mel, ((0, 0), (0, frames - mel.shape[1])))
        return numpy.ascontiguousarray(numpy.broadcast_to(mel, (batch, *mel.shape)).astype(numpy.float32))

    def generate(self, encoded, batch, tokens):
        """Greedy token ids per row, exactly `tokens` of them: the weights rule the end token out."""
        # max_length counts twice what may be generated: the library keeps half of the context for the prompt.
        found = self.model.generate(encoded, [self.prompt] * batch, beam_size=1, max_length=2 * tokens,
                                    suppress_blank=False, suppress_tokens=[])
        rows = [each.sequences_ids[0] for each in found]
        if any(len(row) != tokens for row in rows):
            raise Unsupported(f"generated {[len(row) for row in rows]} tokens instead of {tokens}")
        return rows

    def calls(self, case, how):
        """The functions whose times make the case's figure."""
        padded, seconds = how == "padded", case.seconds
        if case.kind == "mel":
            sound = audio(seconds)
            return [lambda: self.extract(sound, padding=0)]
        if how == "faster-whisper":
            sound = audio(seconds)
            return [lambda: self.transcribe(sound, WHOLE_TOKENS[seconds])]
        if case.kind == "whole":
            import numpy

            sound, frames = audio(seconds), 3000 if padded else seconds * FRAMES_PER_SECOND

            def whole():
                mel = self.extract(sound, padding=0)[:, :frames]
                mel = numpy.pad(mel, ((0, 0), (0, frames - mel.shape[1])))
                encoded = self.model.encode(self.view(numpy.ascontiguousarray(mel[None])))
                self.generate(encoded, 1, WHOLE_TOKENS[seconds])

            return [whole]
        features = self.features(seconds, padded, case.batch)
        if case.kind == "encode":
            return [lambda: self.model.encode(self.view(features))]
        encoded = self.model.encode(self.view(features))
        return [lambda: self.generate(encoded, case.batch, DECODE_LONG),
                lambda: self.generate(encoded, case.batch, DECODE_SHORT)]

    def transcribe(self, sound, tokens):
        """faster-whisper's own entry point, with the settings that make it do the same work; the number of tokens."""
        # It adds the prompt's length to max_new_tokens; CTranslate2 then generates half of that.
        limit = 2 * tokens - len(self.prompt)
        segments, _ = self.whole.transcribe(
            sound, language="en", beam_size=1, temperature=0.0, without_timestamps=True, max_new_tokens=limit,
            suppress_blank=False, suppress_tokens=[], condition_on_previous_text=False,
            compression_ratio_threshold=None, log_prob_threshold=None, no_speech_threshold=None)
        found = sum(len(segment.tokens) for segment in segments)
        if found != tokens:
            raise Unsupported(f"generated {found} tokens instead of {tokens}")
        return found

    def tokens(self):
        """The greedy tokens of the 30 s case."""
        encoded = self.model.encode(self.view(self.features(30, False)))
        return self.generate(encoded, 1, WHOLE_TOKENS[30])[0]


class Translation:
    """Marian and NLLB."""

    def __init__(self, variant, checkpoint, threads):
        import ctranslate2

        folder = convert(checkpoint)
        self.model = ctranslate2.Translator(str(folder), device="cpu", compute_type=VARIANTS[variant],
                                            inter_threads=1, intra_threads=threads)
        self.names = json.loads((folder / "shared_vocabulary.json").read_text())
        self.ids = {name: i for i, name in enumerate(self.names)}
        end = json.loads((checkpoint / "config.json").read_text())["eos_token_id"]
        rows = json.loads((checkpoint / "rows.json").read_text())
        self.rows = [[self.names[token] for token in (*row, end)] for row in rows]

    def offers(self):
        """(case, how) for everything this side measures."""
        for case in TRANSLATION_CASES:
            yield case, ""

    def translate(self, rows, beams):
        """Target token names per row, exactly TARGET_TOKENS of them."""
        found = self.model.translate_batch(rows, beam_size=beams, max_batch_size=len(rows),
                                           min_decoding_length=TARGET_TOKENS, max_decoding_length=TARGET_TOKENS)
        rows = [each.hypotheses[0] for each in found]
        if any(len(row) != TARGET_TOKENS for row in rows):
            raise Unsupported(f"generated {[len(row) for row in rows]} tokens instead of {TARGET_TOKENS}")
        return rows

    def calls(self, case, how):
        """The functions whose times make the case's figure."""
        beams = 4 if case.name.endswith("beam4") else 1
        rows = self.rows[: case.batch]
        return [lambda: self.translate(rows, beams)]

    def tokens(self):
        """The greedy tokens of all rows, one after the other."""
        return [self.ids[name] for row in self.translate(self.rows, 1) for name in row]
