"""whisper.cpp through the PyPI package pywhispercpp, built here from its source so that it uses this processor fully.

The prebuilt package is compiled for AVX2 at most; run.py therefore builds it and falls back to the prebuilt one, and every
result says which vector units the library was built with. whisper.cpp has no batches over several clips. Its figure per
token is that of `whisper_decode` alone, without the choice of the token, which the binding keeps to itself. "padded" is whisper.cpp's
default (30 s whatever the clip); the unmarked figure for 5 s sets its `audio_ctx` to the clip's length.
"""

import ggml
from cases import DECODE_LONG, DECODE_SHORT, SPEECH_CASES, WHOLE_TOKENS, Unsupported, audio

VARIANTS = {"whisper.cpp-f16": "f16", "whisper.cpp-q8_0": "q8_0", "whisper.cpp-q5_0": "q5_0"}
POSITIONS_PER_SECOND = 50
ANY_TOKEN = 1000


class Speech:
    """Whisper."""

    def __init__(self, variant, checkpoint, threads):
        import _pywhispercpp as library

        kind = VARIANTS[variant]
        path = checkpoint.parent / f"{checkpoint.name}.{kind}.ggml"
        if not path.exists():
            ggml.write(checkpoint, kind, path)
        self.library, self.threads, self.path = library, threads, path
        self.context = self.open(flash_attention=True)

    def open(self, flash_attention):
        """The model, loaded. Flash attention is whisper.cpp's default and its faster way."""
        settings = self.library.whisper_context_default_params()
        settings.use_gpu, settings.flash_attn = False, flash_attention
        return self.library.whisper_init_from_file_with_params(str(self.path), settings)

    def built_for(self):
        """The vector units that the library uses, as it reports them."""
        report = self.library.whisper_print_system_info()
        words = (item.split("=")[0].split(":")[-1].strip() for item in report.split("|") if item.strip().endswith("= 1"))
        return " ".join(words)

    def offers(self):
        """(case, how) for everything this side measures."""
        for case in SPEECH_CASES:
            if case.batch == 1:
                yield case, ""
            if case.seconds == 5:
                yield case, "padded"

    def run(self, sound, tokens, positions):
        """The token ids of a whole run over `sound`, exactly `tokens` of them, over `positions` encoder positions."""
        library = self.library
        settings = library.whisper_full_default_params(library.whisper_sampling_strategy.WHISPER_SAMPLING_GREEDY)
        settings.n_threads, settings.audio_ctx, settings.max_tokens = self.threads, positions, tokens - 1
        settings.language, settings.no_timestamps, settings.single_segment = "en", True, True
        settings.print_progress, settings.suppress_blank, settings.no_context = False, False, True
        settings.temperature_inc, settings.greedy = 0.0, {"best_of": 1}
        settings.entropy_thold, settings.logprob_thold, settings.no_speech_thold = -1e9, -1e9, 1e9
        if library.whisper_full(self.context, settings, sound, len(sound)) != 0:
            raise Unsupported("whisper_full failed")
        segments = range(library.whisper_full_n_segments(self.context))
        found = [library.whisper_full_get_token_id(self.context, i, j)
                 for i in segments for j in range(library.whisper_full_n_tokens(self.context, i))]
        if len(found) != tokens:
            raise Unsupported(f"generated {len(found)} tokens instead of {tokens}")
        return found

    def calls(self, case, how):
        """The functions whose times make the case's figure."""
        sound = audio(case.seconds)
        positions = 0 if how == "padded" or case.seconds == 30 else case.seconds * POSITIONS_PER_SECOND
        if case.kind == "mel":
            return [lambda: self.library.whisper_pcm_to_mel(self.context, sound, len(sound), self.threads)]
        if case.kind == "whole":
            return [lambda: self.run(sound, WHOLE_TOKENS[case.seconds], positions)]
        self.run(sound, 2, positions)  # Leaves the features, their encoding and the number of positions in the context.
        if case.kind == "encode":
            return [lambda: self.library.whisper_encode(self.context, 0, self.threads)]
        return [lambda: self.decode(DECODE_LONG), lambda: self.decode(DECODE_SHORT)]

    def decode(self, tokens):
        """As many steps as `tokens`, one token each, from the start of the text."""
        for past in range(tokens):
            if self.library.whisper_decode(self.context, ANY_TOKEN, 1, past, self.threads) != 0:
                raise Unsupported("whisper_decode failed")

    def tokens(self):
        """The greedy tokens of the 30 s case, without flash attention: its f16 sums part from f32 after a token or two."""
        self.context = self.open(flash_attention=False)
        try:
            return self.run(audio(30), WHOLE_TOKENS[30], 0)
        finally:
            self.context = self.open(flash_attention=True)
