"""Makes tests/fixtures/parity: what Hugging Face transformers computes, for the Rust models to be held against.

    python -m training.reference.make_fixtures        (from the repository root; transformers 5.23, sentencepiece 0.2.3)

The networks have the real configurations of whisper-tiny and opus-mt-en-es and the random weights of weights.py. Only
numbers are stored: features, encoder outputs and logits at chosen places, and greedy tokens.
"""
import itertools
import json
import pathlib
import tempfile

import numpy as np
import sentencepiece
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from transformers import MarianConfig, MarianMTModel, WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

from . import weights

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/fixtures/parity"
SAMPLES = 51_200  # 3.2 s
MIN_GAP = 3e-3  # a greedy token must win by more than the tolerance of the comparison, twice over

# openai/whisper-tiny's config.json and generation_config.json, the keys that matter to a decode.
WHISPER = dict(
    activation_function="gelu", d_model=384, encoder_layers=4, encoder_attention_heads=6, encoder_ffn_dim=1536,
    decoder_layers=4, decoder_attention_heads=6, decoder_ffn_dim=1536, vocab_size=51865, num_mel_bins=80,
    max_source_positions=1500, max_target_positions=448, scale_embedding=False, bos_token_id=50257,
    eos_token_id=50257, pad_token_id=50257, decoder_start_token_id=50258, begin_suppress_tokens=[220, 50257],
    suppress_tokens=[
        1, 2, 7, 8, 9, 10, 14, 25, 26, 27, 28, 29, 31, 58, 59, 60, 61, 62, 63, 90, 91, 92, 93, 359, 503, 522, 542,
        873, 893, 902, 918, 922, 931, 1350, 1853, 1982, 2460, 2627, 3246, 3253, 3268, 3536, 3846, 3961, 4183, 4667,
        6585, 6647, 7273, 9061, 9383, 10428, 10929, 11938, 12033, 12331, 12562, 13793, 14157, 14635, 15265, 15618,
        16553, 16604, 18362, 18956, 20075, 21675, 22520, 26130, 26161, 26435, 28279, 29464, 31650, 32302, 32470,
        36865, 42863, 47425, 49870, 50254, 50258, 50358, 50359, 50360, 50361, 50362,
    ],
)
WHISPER_PROMPT = [50258, 50259, 50359, 50363]  # start of transcript, English, transcribe, no timestamps
WHISPER_FORCED = [440, 1647, 3719]

# Helsinki-NLP/opus-mt-en-es's config.json.
MARIAN = dict(
    activation_function="swish", d_model=512, encoder_layers=6, encoder_attention_heads=8, encoder_ffn_dim=2048,
    decoder_layers=6, decoder_attention_heads=8, decoder_ffn_dim=2048, vocab_size=65001, max_position_embeddings=512,
    scale_embedding=True, static_position_embeddings=True, normalize_before=False, normalize_embedding=False,
    add_final_layer_norm=False, bos_token_id=0, eos_token_id=0, pad_token_id=65000, decoder_start_token_id=65000,
)
MARIAN_LENGTHS = [3, 9, 17, 26]  # source tokens of each row, end token included


def fill(model, reference):
    """Gives the model the weights of weights.py; returns name -> shape of what it saves."""
    computed = {"model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight"}
    if not isinstance(model, MarianMTModel):
        computed.remove("model.decoder.embed_positions.weight")
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        with safe_open(f"{folder}/model.safetensors", "np") as file:
            shapes = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}
    shapes = {name: shape for name, shape in sorted(shapes.items()) if name not in computed}
    made = {name: torch.from_numpy(weights.tensor(name, shape)) for name, shape in shapes.items()}
    left = model.load_state_dict(made, strict=False)
    assert not left.unexpected_keys, left
    model.tie_weights()
    for name, parameter in made.items():
        assert torch.equal(model.state_dict()[name], parameter), name
    reference["tensors"] = shapes
    return model.eval()


def circles(tokens):
    """Whether the Rust decoder's loop guard would stop here."""
    return any(tokens[-n:] * 4 == tokens[-4 * n :] for n in range(1, 9) if len(tokens) >= 4 * n)


def greedy(step, prompt, end, never, not_first, count):
    """Greedy decode by running everything again for each token: the slow way that cannot go wrong.

    None when a token wins by too little, or the text goes round in circles."""
    tokens, logprobs = [], []
    for _ in range(count):
        logits = step(prompt + tokens)
        logits[never] = -torch.inf
        if not tokens:
            logits[not_first] = -torch.inf
        top = torch.topk(logits, 2)
        if float(top.values[0] - top.values[1]) < MIN_GAP:
            return None
        logprobs.append(float(torch.log_softmax(logits, -1)[top.indices[0]]))
        if int(top.indices[0]) == end:
            break
        tokens.append(int(top.indices[0]))
        if circles(tokens):
            return None
    return tokens, float(np.mean(logprobs))


def mel(reference, numbers):
    wave = weights.signal(SAMPLES)
    # Name: bands, seconds of the window, frames kept. In the last one the sound fills the window to its edge.
    cases = {
        "mel_80": (80, 30, [0, 1, 2, 5, 40, 118, 119, 120, 121, 140, 158, 159, 160, 161, 200, 317, 318, 319, 320, 321, 400, 2999]),
        "mel_128": (128, 30, [0, 1, 40, 120, 160, 319, 320, 321, 2999]),
        "mel_edge": (80, 3, [0, 150, 296, 297, 298, 299]),
    }
    for name, (bands, seconds, frames) in cases.items():
        extractor = WhisperFeatureExtractor(feature_size=bands, chunk_length=seconds)
        features = extractor(wave, sampling_rate=16000, return_tensors="np").input_features[0]
        numbers[name] = features[:, frames].astype(np.float32)
        reference[name] = dict(bands=bands, window_frames=seconds * 100, frames=frames)


def whisper(reference, numbers):
    wave = weights.signal(SAMPLES)
    config = WhisperConfig(**WHISPER)
    model = fill(WhisperForConditionalGeneration(config), reference)
    specials = list(range(50258, config.vocab_size))
    never = sorted({*config.suppress_tokens, *specials} - {50257})
    dims = list(range(0, config.d_model, 6))
    ids = list(range(0, config.vocab_size, 101))
    reference.update(config=WHISPER, prompt=WHISPER_PROMPT, forced=WHISPER_FORCED, dims=dims, ids=ids, never=never, end=50257)
    # The whole window, and one trimmed to 5 s: the same weights under a configuration of 250 positions.
    for name, positions, kept in [("full", 1500, [0, 1, 2, 57, 100, 159, 160, 161, 500, 1499]), ("trimmed", 250, [0, 1, 2, 57, 100, 159, 160, 161, 248, 249])]:
        network = model
        if positions != 1500:
            network = WhisperForConditionalGeneration(WhisperConfig(**{**WHISPER, "max_source_positions": positions}))
            shared = {k: v for k, v in model.state_dict().items() if k != "model.encoder.embed_positions.weight"}
            network.load_state_dict(shared, strict=False)
            network.eval()
            table = model.model.encoder.embed_positions.weight[:positions]
            network.model.encoder.embed_positions.weight.data.copy_(table)
        extractor = WhisperFeatureExtractor(feature_size=80, chunk_length=positions // 50)
        features = extractor(wave, sampling_rate=16000, return_tensors="pt").input_features
        encoded = network.model.encoder(features)
        prompt = torch.tensor([WHISPER_PROMPT + WHISPER_FORCED])
        logits = network(encoder_outputs=encoded, decoder_input_ids=prompt).logits[0]
        step = lambda tokens: network(encoder_outputs=encoded, decoder_input_ids=torch.tensor([tokens])).logits[0, -1].clone()
        print(f"whisper {name}: encoder std {float(encoded[0].std()):.3f}, logits std {float(logits.std()):.3f}")
        tokens, logprob = greedy(step, WHISPER_PROMPT, 50257, never, config.begin_suppress_tokens, 12)
        numbers[f"encoder_{name}"] = encoded[0][0][kept][:, dims].numpy()
        numbers[f"logits_{name}"] = logits[:, ids].numpy()
        no_speech = float(torch.softmax(logits[0], -1)[50362])
        reference[name] = dict(positions=positions, kept=kept, tokens=tokens, avg_logprob=logprob, no_speech=no_speech)


def marian_row(model, name, length):
    """The first source of this length with a clear-cut greedy decode, and that decode, on its own."""
    pad, end = model.config.pad_token_id, model.config.eos_token_id
    for attempt in itertools.count():
        source = ((weights.uniform(f"{name} {attempt}", length - 1) + 1) / 2 * pad).astype(int).tolist() + [end]
        encoded = model.model.encoder(input_ids=torch.tensor([source]))
        step = lambda tokens: model(encoder_outputs=encoded, decoder_input_ids=torch.tensor([tokens])).logits[0, -1].clone()
        decoded = greedy(step, [pad], end, [pad], [], 12)
        if decoded and len(set(decoded[0])) > 3:
            return source, dict(tokens=decoded[0], avg_logprob=decoded[1])


def marian(reference, numbers):
    config = MarianConfig(**MARIAN)
    model = fill(MarianMTModel(config), reference)
    pad = config.pad_token_id
    rows, decoded = [], []
    for i, length in enumerate(MARIAN_LENGTHS):
        row, answer = marian_row(model, f"row {i}", length)
        rows.append(row)
        decoded.append(answer)
    longest = max(MARIAN_LENGTHS)
    source = torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
    mask = (source != pad).long()
    forced = ((weights.uniform("forced", 4) + 1) / 2 * 65000).astype(int).tolist()
    prompt = torch.tensor([[pad, *forced]] * len(rows))
    encoded = model.model.encoder(input_ids=source, attention_mask=mask)
    logits = model(encoder_outputs=encoded, attention_mask=mask, decoder_input_ids=prompt).logits
    print(f"marian: encoder std {float(encoded[0].std()):.3f}, logits std {float(logits.std()):.3f}")
    dims, ids = list(range(0, config.d_model, 8)), list(range(0, config.vocab_size, 257))
    numbers["encoder"] = np.stack([encoded[0][i, [0, n - 1]][:, dims].numpy() for i, n in enumerate(MARIAN_LENGTHS)])
    numbers["logits"] = logits[:, :, ids].numpy()
    reference.update(config=MARIAN, sources=rows, forced=forced, dims=dims, ids=ids, rows=decoded)


def write(name, make):
    reference, numbers = {}, {}
    with torch.no_grad():
        make(reference, numbers)
    if numbers:
        save_file({key: np.ascontiguousarray(value, dtype=np.float32) for key, value in numbers.items()}, OUT / f"{name}.safetensors")
    (OUT / f"{name}.json").write_text(json.dumps(reference, ensure_ascii=False, separators=(",", ":")) + "\n")


# --- SentencePiece ---

ENGLISH = """The meeting starts at nine and ends before noon.
We are walking to the station because the bus is late.
Please call her friend when the train arrives in Boston.
They were reading a long letter about the old garden.
Nobody knows where the green suitcase came from.
The weather is better today than it was on Monday.
She asked whether the answer had already been given."""
SPANISH = """La reunión empieza a las nueve y termina antes del mediodía.
Caminamos a la estación porque el autobús llega tarde.
Por favor, llama a su amiga cuando el tren llegue a Boston.
Leían una carta larga sobre el viejo jardín.
Nadie sabe de dónde salió la maleta verde.
Hoy hace mejor tiempo que el lunes.
Ella preguntó si ya habían dado la respuesta."""
# A handful of rules instead of all of NFKC keeps the file small: ligature fi, wide letters A-C, no-break space, tab.
RULES = "FB01\t66 69\nFF21\t41\nFF22\t42\nFF23\t43\nA0\t20\n9\t20\n"
CASES = [
    "The meeting starts at nine.", "  two   spaces ", "", "a", "the of\ufb01ce \uff21\uff22\uff23", "no\u00a0break\ttab",
    "unseen: Żółć 漢字 🙂", "</s> <unk> <s>", "The\nline", "answer" * 30, "▁already marked", "don't re-read it, please!",
]


def sentence_pieces(reference, _numbers):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "rules.tsv").write_text(RULES)
        for side, text in [("source", ENGLISH), ("target", SPANISH)]:
            (folder / "text").write_text(text)
            sentencepiece.SentencePieceTrainer.train(
                input=str(folder / "text"), model_prefix=str(folder / side), vocab_size=120, hard_vocab_limit=False,
                model_type="unigram", normalization_rule_tsv=str(folder / "rules.tsv"), bos_id=-1, eos_id=0, unk_id=1,
                num_threads=1, minloglevel=2,
            )
            (OUT / f"{side}.spm").write_bytes((folder / f"{side}.model").read_bytes())
    readers = {side: sentencepiece.SentencePieceProcessor(model_file=str(OUT / f"{side}.spm")) for side in ("source", "target")}
    # Marian's own numbering: end and unknown first, then the pieces of both sides, padding last.
    pieces = sorted({reader.id_to_piece(i) for reader in readers.values() for i in range(2, reader.get_piece_size())})
    vocabulary = {piece: i for i, piece in enumerate(["</s>", "<unk>", *pieces, "<pad>"])}
    (OUT / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False, separators=(",", ":")) + "\n")
    number = lambda side, text: [vocabulary.get(piece, 1) for piece in readers[side].encode(text, out_type=str)]
    reference["cases"] = [dict(text=text, ids=readers["source"].encode(text), tokens=number("source", text)) for text in CASES]
    reference["targets"] = [dict(text=text, tokens=number("target", text)) for text in SPANISH.splitlines()]


if __name__ == "__main__":
    torch.manual_seed(0)
    OUT.mkdir(parents=True, exist_ok=True)
    write("spm", sentence_pieces)
    write("mel", mel)
    write("whisper", whisper)
    write("marian", marian)
