"""Writes checkpoints in Hugging Face's layout: f16 safetensors, configs, tokenizer; files mode 0644."""
import json
import os
import shutil

import torch
from safetensors.torch import save_file

from . import alignment_heads, stt_model
from .features import FFT, HOP, MELS, SAMPLE_RATE, WINDOW_FRAMES
from .tokens import SpeechTokens


def _write(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.write("\n")


def _finish(folder):
    for name in os.listdir(folder):
        os.chmod(os.path.join(folder, name), 0o644)


def export_speech(model, tokenizer_path, folder):
    """The Whisper part of a `Speech` model (the CTC head stays behind)."""
    os.makedirs(folder, exist_ok=True)
    tokens = SpeechTokens(tokenizer_path)
    encoder, decoder = model.model["encoder"], model.model["decoder"]
    d = encoder.conv1.out_channels
    ids = {"bos_token_id": tokens.end, "eos_token_id": tokens.end, "pad_token_id": tokens.end, "decoder_start_token_id": tokens.start,
           "begin_suppress_tokens": []}
    # Everything above <|endoftext|>: in plain text decoding no special and no timestamp may be chosen.
    suppressed = list(range(tokens.end + 1, tokens.size))
    _write(folder, "config.json", {
        "architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper", "torch_dtype": "float16", "is_encoder_decoder": True,
        "vocab_size": tokens.size, "num_mel_bins": MELS, "d_model": d, "num_hidden_layers": len(encoder.layers),
        "encoder_layers": len(encoder.layers), "decoder_layers": len(decoder.layers),
        "encoder_attention_heads": encoder.layers[0].self_attn.heads, "decoder_attention_heads": decoder.layers[0].self_attn.heads,
        "encoder_ffn_dim": encoder.layers[0].fc1.out_features, "decoder_ffn_dim": decoder.layers[0].fc1.out_features,
        "max_source_positions": stt_model.SOURCE_POSITIONS, "max_target_positions": stt_model.TARGET_POSITIONS, "max_length": stt_model.TARGET_POSITIONS,
        "activation_function": "gelu", "scale_embedding": False, "tie_word_embeddings": True, "use_cache": True, "init_std": 0.02,
        "dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0, "encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0,
        "suppress_tokens": suppressed, "forced_decoder_ids": None, **ids})
    _write(folder, "generation_config.json", {
        **ids, "suppress_tokens": suppressed, "is_multilingual": True, "lang_to_id": {"<|en|>": tokens.english},
        "task_to_id": {"transcribe": tokens.transcribe, "translate": tokens.tokenizer.token_to_id("<|translate|>")},
        "no_timestamps_token_id": tokens.no_timestamps, "prev_sot_token_id": tokens.tokenizer.token_to_id("<|startofprev|>"),
        "max_initial_timestamp_index": 50, "max_length": stt_model.TARGET_POSITIONS, "return_timestamps": False,
        "forced_decoder_ids": [[i, t] for i, t in enumerate(tokens.prompt[1:], 1)]})
    _write(folder, "preprocessor_config.json", {
        "feature_extractor_type": "WhisperFeatureExtractor", "processor_class": "WhisperProcessor", "feature_size": MELS, "n_fft": FFT,
        "hop_length": HOP, "chunk_length": WINDOW_FRAMES * HOP // SAMPLE_RATE, "n_samples": WINDOW_FRAMES * HOP, "nb_max_frames": WINDOW_FRAMES,
        "sampling_rate": SAMPLE_RATE, "padding_side": "right", "padding_value": 0.0, "return_attention_mask": False})
    shutil.copyfile(tokenizer_path, os.path.join(folder, "tokenizer.json"))
    weights = {name: w.detach().to(torch.float16).contiguous() for name, w in model.state_dict().items() if name.startswith("model.")}
    save_file(weights, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    _finish(folder)


def export_translator(model, tokenizer_path, folder):
    """A trained MarianMTModel."""
    os.makedirs(folder, exist_ok=True)
    model.to(torch.float16).save_pretrained(folder)
    config = json.load(open(os.path.join(folder, "config.json")))
    for key in ("decoder_vocab_size", "share_encoder_decoder_embeddings", "use_cache", "forced_eos_token_id", "decoder_start_token_id"):
        config.setdefault(key, getattr(model.config, key, None))
    config.update(torch_dtype="float16", decoder_start_token_id=2, eos_token_id=0, pad_token_id=2, forced_eos_token_id=0, use_cache=True,
                  decoder_vocab_size=config["vocab_size"], share_encoder_decoder_embeddings=True)
    _write(folder, "config.json", config)
    _write(folder, "generation_config.json", {"bos_token_id": 0, "decoder_start_token_id": 2, "eos_token_id": 0, "forced_eos_token_id": 0,
                                              "pad_token_id": 2, "bad_words_ids": [[2]], "max_length": 128, "num_beams": 1})
    shutil.copyfile(tokenizer_path, os.path.join(folder, "tokenizer.json"))
    _finish(folder)
    model.to(torch.float32)


def load_speech_run(run, tokenizer_path):
    """The averaged weights of a training run's last state."""
    state = torch.load(os.path.join(run, "state.pt"))
    model = stt_model.Speech(SpeechTokens(tokenizer_path).size, **state["size"])
    model.load_state_dict(state["model"])
    with torch.no_grad():
        for weight, average in zip([p for p in model.parameters() if p.requires_grad], state["average"]):
            weight.copy_(average)
    print(f"speech model at step {state['step']}")
    return model.eval()


def export_speech_run(run, tokenizer_path, folder):
    export_speech(load_speech_run(run, tokenizer_path), tokenizer_path, folder)
    alignment_heads.update(folder)


def export_translator_run(run, tokenizer_path, folder):
    from tokenizers import Tokenizer
    from transformers import MarianMTModel

    from . import mt_train
    state = torch.load(os.path.join(run, "state.pt"))
    model = MarianMTModel(mt_train.config(Tokenizer.from_file(tokenizer_path).get_vocab_size(), **state.get("size", mt_train.SIZE)))
    model.load_state_dict(state["model"])
    export_translator(model, tokenizer_path, folder)
    print(f"translator at step {state['step']} -> {folder}")
