"""What Marian, M2M100 and T5 are asked: a padded batch of unequal lengths, and texts of one source each."""
import numpy as np
import torch
from transformers.modeling_outputs import BaseModelOutput

from . import sequences, weights
from .networks import places

LENGTHS = [3, 9, 17, 26]  # source tokens of each row, end token included


def source(name, length, words, first, end):
    """Random words between the token that a source begins with, where it has one, and the end token."""
    first = [] if first is None else [first]
    return first + weights.choose(name, length - 1 - len(first), *words) + [end]


def sides(model, config, words, first, forced, lengths, reference, numbers):
    """Encoder at both ends of each row, logits at the steps chosen; `forced` holds the prompt of all rows."""
    pad, end = config["pad_token_id"], config["eos_token_id"]
    rows = [source(f"row {i}", length, words, first, end) for i, length in enumerate(lengths)]
    tokens = torch.tensor([row + [pad] * (max(lengths) - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (max(lengths) - len(row)) for row in rows])
    encoded = model.get_encoder()(input_ids=tokens, attention_mask=mask).last_hidden_state
    output = model(
        encoder_outputs=BaseModelOutput(last_hidden_state=encoded), attention_mask=mask,
        decoder_input_ids=torch.tensor([forced] * len(rows)),
    )
    steps = sorted({0, 1, 2, len(forced) // 2, len(forced) - 2, len(forced) - 1})
    dims, ids = places(config["d_model"], 64), places(output.logits.shape[-1], 256)
    numbers["encoder"] = np.stack([encoded[i, [0, n - 1]][:, dims].numpy() for i, n in enumerate(lengths)])
    numbers["logits"] = output.logits[:, steps][:, :, ids].numpy()
    reference.update(sources=rows, text=forced, steps=steps, dims=dims, ids=ids)
    print(f"  encoder std {float(encoded.std()):.3f}, logits std {float(output.logits.std()):.3f}", flush=True)


def texts(model, count, rules, words, prompt, languages=None):
    """`languages(i)`: the language token of source i and of its translation, which then follows the prompt.

    `generate` would put it there itself if told to by `forced_bos_token_id`, but then counts it in the length that
    beams' scores are divided by, unlike any other prefix it is given."""

    def attempt(i):
        first, target = languages(i) if languages else (None, None)
        start = prompt if target is None else prompt + [target]
        row = source(f"source {i}", 4 + i * 5 % 23, words, first, rules["end"])
        encoded = BaseModelOutput(last_hidden_state=model.get_encoder()(input_ids=torch.tensor([row])).last_hidden_state)
        answer = sequences.both(model, encoded, start, rules)
        return answer and dict(source=row, prompt=start, **answer)

    return sequences.collect(count, attempt)
