"""M2M100 with the widths of NLLB-200-distilled-600M."""
from transformers import M2M100Config, M2M100ForConditionalGeneration

from . import translation, weights
from .networks import SINUSOIDS, Family, fill

# facebook/nllb-200-distilled-600M's config.json.
NLLB = dict(
    activation_function="relu", d_model=1024, encoder_layers=12, encoder_attention_heads=16, encoder_ffn_dim=4096,
    decoder_layers=12, decoder_attention_heads=16, decoder_ffn_dim=4096, vocab_size=256206,
    max_position_embeddings=1024, scale_embedding=True, bos_token_id=0, eos_token_id=2, pad_token_id=1,
    decoder_start_token_id=2,
)
LANGUAGES = 202  # the last tokens but three: language codes
CASES = {"nllb-600m": (NLLB | dict(encoder_layers=2, decoder_layers=2, vocab_size=8206), 20)}
FULL_CASES = {"nllb-600m": (NLLB, 4)}
LOUDER_END = 2.0


def case(config, count):
    reference, numbers = dict(config=config), {}
    model = M2M100ForConditionalGeneration(M2M100Config(**config))
    fill(model, reference, {"model.shared.weight": [(config["eos_token_id"], LOUDER_END)]}, SINUSOIDS)
    languages = config["vocab_size"] - LANGUAGES - 3
    words = (4, languages)
    forced = [config["decoder_start_token_id"], languages + 11, *weights.choose("forced", 9, *words)]
    rules = dict(end=config["eos_token_id"], pad=config["pad_token_id"], never=[0, 1, 3])
    reference.update(end=rules["end"], never=rules["never"])
    translation.sides(model, config, words, languages + 5, forced, translation.LENGTHS, reference, numbers)
    both = lambda i: (languages + 3 * i % LANGUAGES, languages + 7 * i % LANGUAGES)
    start = [config["decoder_start_token_id"]]
    reference["sequences"] = translation.texts(model, count, rules, words, start, both)
    return reference, numbers


def make(out, full):
    family = Family()
    for name, settings in (FULL_CASES if full else CASES).items():
        print(f"m2m100 {name}", flush=True)
        family.add(name, *case(*settings))
    family.write(out, "m2m100")
