"""T5 with the widths of MADLAD-400-3B (gated, untied) and t5-small (ungated, tied)."""
import torch
from transformers import T5Config, T5ForConditionalGeneration

from . import translation, weights
from .networks import Family, fill

# google/madlad400-3b-mt's config.json.
MADLAD = dict(
    d_model=1024, d_kv=128, d_ff=8192, num_layers=32, num_decoder_layers=32, num_heads=16, vocab_size=256000,
    feed_forward_proj="gated-gelu", relative_attention_num_buckets=32, relative_attention_max_distance=128,
    layer_norm_epsilon=1e-6, tie_word_embeddings=False, eos_token_id=2, pad_token_id=1, decoder_start_token_id=0,
)
# google-t5/t5-small's.
SMALL = dict(
    d_model=512, d_kv=64, d_ff=2048, num_layers=6, num_decoder_layers=6, num_heads=8, vocab_size=32128,
    feed_forward_proj="relu", relative_attention_num_buckets=32, relative_attention_max_distance=128,
    layer_norm_epsilon=1e-6, tie_word_embeddings=True, eos_token_id=1, pad_token_id=0, decoder_start_token_id=0,
)
# Source lengths and tokens of the target: the long ones go beyond the distance from which all are alike.
SHORT, LONG = (translation.LENGTHS, 24), ([3, 20, 60, 170], 150)
# Name: configuration, lengths, clear-cut texts wanted.
CASES = {
    "madlad-3b": (MADLAD | dict(num_layers=2, num_decoder_layers=1, vocab_size=4000), SHORT, 8),
    "t5-small": (SMALL | dict(vocab_size=8128), LONG, 20),
}
FULL_CASES = {
    "madlad-3b": (MADLAD | dict(num_layers=4, num_decoder_layers=4), LONG, 4),
    "t5-small": (SMALL, LONG, 4),
}
LOUDER_END = 2.0


def network(config):
    model = T5ForConditionalGeneration(T5Config(**config))
    if not config["tie_word_embeddings"]:
        model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
    return model


def case(config, lengths, count):
    reference, numbers = dict(config=config), {}
    output = "shared.weight" if config["tie_word_embeddings"] else "lm_head.weight"
    model = fill(network(config), reference, {output: [(config["eos_token_id"], LOUDER_END)]})
    assert output in reference["tensors"] and ("lm_head.weight" in reference["tensors"]) != config["tie_word_embeddings"]
    words, start = (3, config["vocab_size"]), config["decoder_start_token_id"]
    forced = [start, *weights.choose("forced", lengths[1] - 1, *words)]
    rules = dict(end=config["eos_token_id"], pad=config["pad_token_id"], never=[config["pad_token_id"]])
    reference.update(end=rules["end"], never=rules["never"])
    translation.sides(model, config, words, None, forced, lengths[0], reference, numbers)
    reference["sequences"] = translation.texts(model, count, rules, words, [start])
    return reference, numbers


def make(out, full):
    family = Family()
    for name, settings in (FULL_CASES if full else CASES).items():
        print(f"t5 {name}", flush=True)
        family.add(name, *case(*settings))
    family.write(out, "t5")
