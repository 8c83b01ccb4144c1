"""Starts WhisperLiveKit's server on our checkpoint: `serve.py CHECKPOINT WINDOW_S [its own options]`.

What it takes for granted of any Whisper is set to what the checkpoint has:
- the text tokens: it reads them from a file of its own package; here from the checkpoint's tokens.tiktoken
- the window: it and faster-whisper fill every clip up to 30 s; here up to WINDOW_S (30 leaves them as they are)
- the longest text: faster-whisper counts on 448 positions; here the checkpoint's 128, beyond which it would fail
- previous text: the checkpoint was never trained with any before `<|startoftranscript|>`, so it is given none
"""

import functools
import importlib
import json
import sys
from pathlib import Path

FRAMES_PER_SECOND, SAMPLES_PER_SECOND = 100, 16_000
USES_WINDOW = ("whisper.audio", "whisper.transcribe", "simul_whisper.simul_whisper")


def set_window(seconds):
    """Clips are filled up to `seconds`."""
    import faster_whisper.audio
    import faster_whisper.transcribe

    frames, samples = round(seconds * FRAMES_PER_SECOND), round(seconds * SAMPLES_PER_SECOND)
    shorter = functools.partial(faster_whisper.audio.pad_or_trim, length=frames)
    faster_whisper.audio.pad_or_trim = faster_whisper.transcribe.pad_or_trim = shorter
    for name in USES_WINDOW:
        module = importlib.import_module(f"whisperlivekit.{name}")
        module.N_FRAMES, module.N_SAMPLES = frames, samples


def set_limits(checkpoint):
    """No more text than the decoder has positions, and none before the prompt."""
    from faster_whisper import WhisperModel

    positions = json.loads((checkpoint / "config.json").read_text())["max_target_positions"]
    begin, transcribe = WhisperModel.__init__, WhisperModel.transcribe

    def shorter(self, *arguments, **named):
        begin(self, *arguments, **named)
        self.max_length = positions

    def without_previous(self, *arguments, **named):
        return transcribe(self, *arguments, **{**named, "initial_prompt": None, "condition_on_previous_text": False})

    WhisperModel.__init__, WhisperModel.transcribe = shorter, without_previous


def set_tokens(checkpoint):
    """Text tokens come from the checkpoint."""
    from whisperlivekit.whisper import tokenizer

    usual, path = tokenizer.get_encoding, str((checkpoint / "tokens").resolve())

    @functools.cache
    def ours(name="gpt2", num_languages=99):
        return usual(path, num_languages)  # An absolute path stays as it is; ".tiktoken" is put behind it.

    tokenizer.get_encoding = ours


def main():
    checkpoint, seconds = Path(sys.argv[1]), float(sys.argv[2])
    sys.argv = ["whisperlivekit-server", *sys.argv[3:]]
    set_tokens(checkpoint)
    set_limits(checkpoint)
    if seconds != 30:
        set_window(seconds)
    from whisperlivekit.basic_server import main as serve

    serve()


if __name__ == "__main__":
    main()
