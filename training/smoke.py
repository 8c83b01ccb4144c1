"""The whole recipe in miniature: speech, features, both trainings, export, loading. Learns nothing useful.

Needs the Python requirements and espeak-ng or flite; prints `smoke ok ...` as its last line.
"""
import os
import random
import shutil
import time

import torch

from . import bilingual, export, mt_train, speech_data, stt_train, tokens
from .features import WINDOW_FRAMES, features

SENTENCES, SPEECH_STEPS, TEXT_STEPS = 40, 12, 12
SPEECH_SIZE = dict(d_model=64, encoder_layers=1, decoder_layers=1, heads=2, ffn=128)
TEXT_SIZE = dict(d_model=64, layers=1, heads=2, ffn=128)


def engines():
    """The synthesisers that are installed."""
    found = []
    for engine in ("espeak", "flite"):
        try:
            if speech_data.speak(["Hello there."], engine, 1):
                found.append(engine)
        except (OSError, RuntimeError):
            pass
    if not found:
        raise SystemExit("smoke: neither espeak-ng nor flite is installed")
    return found


def run(out):
    begun = time.time()
    torch.manual_seed(1)
    work, pairs = os.path.join(out, "work"), bilingual.pairs(4, 1, held=False)
    shutil.rmtree(work, ignore_errors=True)
    sentences, installed = [en for en, _ in pairs][:SENTENCES], engines()
    for i, engine in enumerate(installed):
        clips = speech_data.speak(sentences[i:: len(installed)], engine, i)
        os.makedirs(os.path.join(work, "data"), exist_ok=True)
        speech_data.write_shard(os.path.join(work, "data", f"{i:05d}-{engine}"), clips)
    speech_tokens = os.path.join(work, "speech-tokens", "tokenizer.json")
    tokens.train_speech_tokenizer([text for pair in pairs for text in pair], speech_tokens)
    model = stt_train.train(run=os.path.join(work, "stt"), plan={os.path.join(work, "data"): 1.0}, tokenizer_path=speech_tokens, steps=SPEECH_STEPS,
                            decay_from=SPEECH_STEPS // 2, warmup=4, size=SPEECH_SIZE, check_every=SPEECH_STEPS, processes=1, frames_per_batch=3000)
    speech_folder, text_folder = os.path.join(out, "demo-stt-en"), os.path.join(out, "demo-mt-en-es")
    export.export_speech(model, speech_tokens, speech_folder)
    text_tokens = os.path.join(work, "text-tokens", "tokenizer.json")
    tokens.train_marian_tokenizer([text for pair in pairs for text in pair], text_tokens, size=600)
    translator = mt_train.train(os.path.join(work, "mt"), text_tokens, pairs, [], TEXT_STEPS, size=TEXT_SIZE, warmup=4)
    export.export_translator(translator, text_tokens, text_folder)
    check(speech_folder, text_folder)
    print(f"smoke ok: {len(sentences)} sentences by {'+'.join(installed)}, {SPEECH_STEPS} speech and {TEXT_STEPS} text steps, "
          f"{time.time() - begun:.0f} s, checkpoints {speech_folder} {text_folder}", flush=True)


def check(speech_folder, text_folder):
    """Loads both checkpoints with Hugging Face's classes and compares the speech one with ours."""
    from tokenizers import Tokenizer
    from transformers import MarianMTModel

    from .evaluate import Transcriber
    rng = random.Random(1)
    samples = torch.tensor([rng.gauss(0, 0.05) for _ in range(16_000)]).numpy()
    transcriber = Transcriber(speech_folder)
    texts, silent = transcriber.texts([samples], most=4)
    assert len(texts) == 1 and 0 <= silent[0] <= 1
    mel = torch.from_numpy(features(samples, WINDOW_FRAMES).T[None].copy())
    ours = stt_train.Speech(transcriber.tokens.size, **SPEECH_SIZE).eval()
    state = {k: v for k, v in transcriber.model.state_dict().items() if k != "proj_out.weight"}
    ours.load_state_dict(state, strict=False)
    with torch.no_grad():
        ids = torch.tensor([transcriber.tokens.prompt])
        difference = (ours(mel, ids)[0] - transcriber.model(input_features=mel, decoder_input_ids=ids).logits).abs().max()
    assert difference < 1e-3, f"our Whisper and Hugging Face's differ by {difference}"
    translator = MarianMTModel.from_pretrained(text_folder, torch_dtype=torch.float32)
    assert len(mt_train.translate(translator, Tokenizer.from_file(os.path.join(text_folder, "tokenizer.json")), ["Hello."], most=4)) == 1
