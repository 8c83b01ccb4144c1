"""Whisper: encoder, logits, texts and cross-attention, of the sizes from tiny to large-v3."""
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from . import sequences, weights
from .networks import SINUSOIDS, Family, fill, places

SAMPLES = 51_200  # 3.2 s
WHOLE, TRIMMED = 1500, 250  # encoder positions of 30 s and of 5 s
KEPT = {WHOLE: [0, 1, 2, 57, 100, 159, 160, 161, 500, 1499], TRIMMED: [0, 1, 2, 57, 100, 159, 160, 161, 248, 249]}
FORCED = [440, 1647, 3719]
LOUDER_END = 2.0

# The keys of openai/whisper-*'s config.json that matter here; tiny's suppress_tokens stand in for every size's.
COMMON = dict(
    activation_function="gelu", max_source_positions=WHOLE, max_target_positions=448, scale_embedding=False,
    num_mel_bins=80, vocab_size=51865, bos_token_id=50257, eos_token_id=50257, pad_token_id=50257,
    decoder_start_token_id=50258, begin_suppress_tokens=[220, 50257],
    suppress_tokens=[
        1, 2, 7, 8, 9, 10, 14, 25, 26, 27, 28, 29, 31, 58, 59, 60, 61, 62, 63, 90, 91, 92, 93, 359, 503, 522, 542,
        873, 893, 902, 918, 922, 931, 1350, 1853, 1982, 2460, 2627, 3246, 3253, 3268, 3536, 3846, 3961, 4183, 4667,
        6585, 6647, 7273, 9061, 9383, 10428, 10929, 11938, 12033, 12331, 12562, 13793, 14157, 14635, 15265, 15618,
        16553, 16604, 18362, 18956, 20075, 21675, 22520, 26130, 26161, 26435, 28279, 29464, 31650, 32302, 32470,
        36865, 42863, 47425, 49870, 50254,
    ],
)
MULTILINGUAL = dict(languages=99, transcribe=50359, no_speech=50362, no_timestamps=50363)
LARGE_V3 = dict(vocab_size=51866, num_mel_bins=128)
LARGE_V3_TOKENS = dict(languages=100, transcribe=50360, no_speech=50363, no_timestamps=50364)
ENGLISH_ONLY = dict(
    vocab_size=51864, bos_token_id=50256, eos_token_id=50256, pad_token_id=50256, decoder_start_token_id=50257,
    begin_suppress_tokens=[220, 50256],
)
ENGLISH_ONLY_TOKENS = dict(languages=0, no_speech=50361, no_timestamps=50362)


def size(width, heads, encoder, decoder):
    return dict(
        d_model=width, encoder_layers=encoder, encoder_attention_heads=heads, encoder_ffn_dim=4 * width,
        decoder_layers=decoder, decoder_attention_heads=heads, decoder_ffn_dim=4 * width,
    )


# Name: configuration, special tokens, clear-cut texts wanted.
CASES = {
    "tiny": (COMMON | size(384, 6, 4, 4), MULTILINGUAL, 20),
    "tiny.en": (COMMON | size(384, 6, 4, 4) | ENGLISH_ONLY, ENGLISH_ONLY_TOKENS, 4),
    "base": (COMMON | size(512, 8, 6, 6), MULTILINGUAL, 6),
    "large-v3": (COMMON | size(1280, 20, 2, 2) | LARGE_V3, LARGE_V3_TOKENS, 2),
    "large-v3-turbo": (COMMON | size(1280, 20, 1, 2) | LARGE_V3, LARGE_V3_TOKENS, 2),
}
# A whole size, and deeper cuts of the large ones. distil-large-v3 has two decoder layers.
# No texts: so deep, random weights leave nearly every beam search a tie somewhere.
FULL_CASES = {
    "small": (COMMON | size(768, 12, 12, 12), MULTILINGUAL, 0),
    "medium": (COMMON | size(1024, 16, 4, 4), MULTILINGUAL, 0),
    "large-v3": (COMMON | size(1280, 20, 6, 6) | LARGE_V3, LARGE_V3_TOKENS, 0),
    "large-v3-turbo": (COMMON | size(1280, 20, 6, 4) | LARGE_V3, LARGE_V3_TOKENS, 0),
    "distil-large-v3": (COMMON | size(1280, 20, 6, 2) | LARGE_V3, LARGE_V3_TOKENS, 0),
}


def prompt(config, tokens, language):
    """Start of transcript, a language, transcribe, no timestamps; an English-only model has no choice to make."""
    start = config["decoder_start_token_id"]
    if not tokens["languages"]:
        return [start, tokens["no_timestamps"]]
    return [start, start + 1 + language % tokens["languages"], tokens["transcribe"], tokens["no_timestamps"]]


def window(model, positions):
    """The same network with a window of `positions`: what the engine does when it trims a window to the speech."""
    encoder = model.model.encoder
    if not hasattr(model, "whole_table"):
        model.whole_table = encoder.embed_positions.weight.detach().clone()
    encoder.config.max_source_positions = positions
    encoder.embed_positions.weight.data = model.whole_table[:positions]
    encoder.embed_positions.num_embeddings = positions


def encode(model, config, positions, variant):
    window(model, positions)
    extractor = WhisperFeatureExtractor(feature_size=config["num_mel_bins"], chunk_length=positions // 50)
    wave = weights.sound(variant, SAMPLES)
    features = extractor(wave, sampling_rate=16000, return_tensors="pt").input_features
    return BaseModelOutput(last_hidden_state=model.model.encoder(features).last_hidden_state)


def attention(model, encoded, tokens, layers):
    """Teacher-forced cross-attention of two heads, (heads, tokens, encoder positions): what word timestamps need."""
    model.set_attn_implementation("eager")
    seen = model(encoder_outputs=encoded, decoder_input_ids=torch.tensor([tokens]), output_attentions=True)
    model.set_attn_implementation("sdpa")
    heads = [(layers // 2, 1), (layers - 1, 4)]
    return heads, torch.stack([seen.cross_attentions[layer][0, head] for layer, head in heads]).numpy()


def sides(model, config, tokens, reference, numbers):
    """Encoder and logits at chosen places, in the whole window and in the trimmed one."""
    dims, ids = places(config["d_model"], 64), places(config["vocab_size"], 512)
    text = prompt(config, tokens, 0) + FORCED
    reference.update(dims=dims, ids=ids, text=text, windows={})
    for name, positions in [("full", WHOLE), ("trimmed", TRIMMED)]:
        encoded = encode(model, config, positions, 0)
        logits = model(encoder_outputs=encoded, decoder_input_ids=torch.tensor([text])).logits[0]
        numbers[f"encoder_{name}"] = encoded[0][0][KEPT[positions]][:, dims].numpy()
        numbers[f"logits_{name}"] = logits[:, ids].numpy()
        no_speech = float(torch.softmax(logits[0], -1)[tokens["no_speech"]])
        reference["windows"][name] = dict(positions=positions, kept=KEPT[positions], no_speech=no_speech)
        print(f"  {name}: encoder std {float(encoded[0].std()):.3f}, logits std {float(logits.std()):.3f}", flush=True)
        if name == "trimmed":
            heads, numbers["attention"] = attention(model, encoded, text, config["decoder_layers"])
            reference["attention_heads"] = heads


def case(config, tokens, count):
    reference, numbers = dict(config=config), {}
    end = config["eos_token_id"]
    louder = {"model.decoder.embed_tokens.weight": [(end, LOUDER_END)]}
    model = fill(WhisperForConditionalGeneration(WhisperConfig(**config)), reference, louder, SINUSOIDS[:1])
    specials = range(config["decoder_start_token_id"], config["vocab_size"])
    never = sorted({*config["suppress_tokens"], *specials})
    rules = dict(end=end, pad=config["pad_token_id"], never=never, not_first=config["begin_suppress_tokens"])
    reference.update(end=end, never=never, no_speech=tokens["no_speech"])
    sides(model, config, tokens, reference, numbers)

    def attempt(i):
        texts = sequences.both(model, encode(model, config, TRIMMED, i), prompt(config, tokens, 7 * i), rules)
        return texts and dict(sound=i, prompt=prompt(config, tokens, 7 * i), **texts)

    reference["sequences"] = sequences.collect(count, attempt)
    return reference, numbers


def make(out, full):
    family = Family()
    for name, settings in (FULL_CASES if full else CASES).items():
        print(f"whisper {name}", flush=True)
        family.add(name, *case(*settings))
    family.write(out, "whisper")
