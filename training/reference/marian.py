"""Marian: opus-mt, the tc-big shape, and a model whose sides have vocabularies of their own."""
from transformers import MarianConfig, MarianMTModel

from . import translation, weights
from .networks import SINUSOIDS, Family, fill

# Helsinki-NLP/opus-mt-en-es's config.json.
OPUS = dict(
    activation_function="swish", d_model=512, encoder_layers=6, encoder_attention_heads=8, encoder_ffn_dim=2048,
    decoder_layers=6, decoder_attention_heads=8, decoder_ffn_dim=2048, vocab_size=65001, max_position_embeddings=512,
    scale_embedding=True, static_position_embeddings=True, normalize_before=False, normalize_embedding=False,
    add_final_layer_norm=False, bos_token_id=0, eos_token_id=0, pad_token_id=65000, decoder_start_token_id=65000,
)
# Helsinki-NLP/opus-mt-tc-big-fr-en's: twice the width, relu, an end token in the middle of the vocabulary.
TC_BIG = OPUS | dict(
    activation_function="relu", d_model=1024, encoder_attention_heads=16, encoder_ffn_dim=4096, vocab_size=53017,
    decoder_attention_heads=16, decoder_ffn_dim=4096, max_position_embeddings=1024, bos_token_id=0,
    eos_token_id=43311, pad_token_id=53016, decoder_start_token_id=53016,
)
SEPARATE = OPUS | dict(
    encoder_layers=2, decoder_layers=2, vocab_size=3001, decoder_vocab_size=2501, pad_token_id=2500,
    decoder_start_token_id=2500, share_encoder_decoder_embeddings=False,
)
CASES = {
    "opus-mt": (OPUS, 20),
    "tc-big": (TC_BIG | dict(encoder_layers=2, decoder_layers=2), 4),
    "separate": (SEPARATE, 4),
}
FULL_CASES = {"tc-big": (TC_BIG, 4)}
LOUDER_END = 2.5


def case(config, count):
    reference, numbers = dict(config=config), {}
    model = MarianMTModel(MarianConfig(**config))
    target = "model.decoder.embed_tokens.weight" if "decoder_vocab_size" in config else "model.shared.weight"
    fill(model, reference, {target: [(config["eos_token_id"], LOUDER_END)]}, SINUSOIDS)
    pad, end = config["pad_token_id"], config["eos_token_id"]
    words = (1, min(pad, 40_000))
    forced = [pad, *weights.choose("forced", 9, *words)]
    reference.update(end=end, never=[pad])
    translation.sides(model, config, words, None, forced, translation.LENGTHS, reference, numbers)
    rules = dict(end=end, pad=pad, never=[pad])
    reference["sequences"] = translation.texts(model, count, rules, words, [pad])
    return reference, numbers


def make(out, full):
    family = Family()
    for name, settings in (FULL_CASES if full else CASES).items():
        print(f"marian {name}", flush=True)
        family.add(name, *case(*settings))
    family.write(out, "marian")
