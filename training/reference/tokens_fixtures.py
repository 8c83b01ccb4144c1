"""Makes tests/fixtures/tokens: what the reference libraries do with texts, for the Rust tokenizers to be held against.

    python -m training.reference.tokens_fixtures                                          (from the repository root)

sentencepiece 0.2.3, protobuf 7.36.2, openai-whisper 20250625 (its vocabularies are part of the package), tiktoken
0.14.0, tokenizers 0.23.3, transformers 5.23.0 (language lists, M2M100), torch 2.15.0 (pickled weights).

sentences.txt there is written by hand. All else is made from it by a generator of numbers with a fixed seed: lines,
small SentencePiece models trained on them, and for each tokenizer the ids of every line, their text, and the text of
ids drawn at random. Files are gzip so that the repository stays small.
"""
import base64
import gzip
import io
import json
import os
import pathlib
import random
import tempfile

import sentencepiece
import tiktoken
import tokenizers
import torch
import whisper.tokenizer
from sentencepiece import sentencepiece_model_pb2
from transformers.models.m2m_100 import tokenization_m2m_100 as m2m100
from transformers.models.nllb import tokenization_nllb as nllb

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "tests/fixtures/tokens"
LINES = 1060
DRAWN = 100  # sequences of random ids to decode

RANGES = [  # scripts to draw words from: first and last letter
    (0x61, 0x7A), (0xC0, 0x17F), (0x1E00, 0x1EFF), (0x370, 0x3FF), (0x400, 0x4FF), (0x531, 0x586), (0x5D0, 0x5EA),
    (0x621, 0x6D3), (0x904, 0x94D), (0x985, 0x9CD), (0xE01, 0xE4D), (0x10D0, 0x10FA), (0x1200, 0x1357),
    (0x3041, 0x30FA), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3), (0xFF01, 0xFF9D), (0x1F300, 0x1F64F), (0x20000, 0x2A6D6),
]
SPACES = [" ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u2003", "\u3000", "\u200b", "\u2028", "\ufeff", "\u2581", "\u180e", "\u1680"]
MARKS = ["\u0301", "\u0308", "\u0323", "\u093c", "\u0e49", "\u05b8", "\u064b", "\u20e3", "\ufe0f", "\u200d", "\u200c"]
ODD = [
    "", " ", "   ", "\t", "\n\n", "\u3000", "\u00a0\u00a0", "\u2581", "\u2581\u2581a", "a\u2581b", "\0", "a\0b", "\x01\x02\x1f", "\x7f\x80\x9f",
    "\ufffd", "\ufffe\uffff", "\U0010ffff", "\ue000\uf8ff", "\u200b", "a\u200bb", "\u202eabc\u202c", "\u00ad", "\ufeffabc",
    "<s>", "</s>", "<unk>", "<pad>", "<0x41>", "<0xE3><0x81>", "<2es>", "<2es> hello", "hello<2es>world", "<ctl>a",
    "<x>", "<x>y", "<x>yz <x>", " <x> ", "<|endoftext|>", "<|en|><|0.00|>", "<|startoftranscript|> text", "[MASK]",
    "a" * 700, "\u00e9" * 300, "\u6f22" * 300, "ab" * 400, "1" * 200, "x " * 200, "\U0001f600" * 100, "e" + "\u0301" * 60,
    "'s't're've'm'll'd", "I'LL WE'RE it's 'Tis don''t", "'  's", "a 's b", "\u2019s", " \n \t x", "x  \n", "\r", "a\r\nb",
    "0123456789", "3.14159 1,000,000", "\u0661\u0662\u0663", "\u00b2\u00b3\u00b9", "\u2167\u217b", "\u00bd", "\U0001d7d8",
    "\ufb01\ufb02", "\uff21\uff42\uff11", "\uff76\uff9e", "\u1e9b\u0323", "\u212b\u2126", "\u0130i\u0131I", "\u03a3\u03c2", "\u00df\u1e9e", "\ufdfa", "\u3392",
    "A\u030a \u00c5", "\u1100\u1161\u11a8 \uac01", "\u0915\u093c \u0958", "\u0e33 \u0e4d\u0e32", "\u0344", "\u2126 \u03a9",
    ">>es<< text", "http://a.b/c?d=e&f#g", "C:\\x\\y", "\"\"\"", "......", "!?!?!?", "---", "___", "\u2014\u2026\u00ab\u00bb", "\u3002\u3001\u300c\u300d",
]


def noise(rng):
    """A line of one of several kinds, from random letters of one or more scripts."""
    def word(span, length):
        return "".join(chr(rng.randint(*span)) for _ in range(length))

    kind = rng.randrange(5)
    span = rng.choice(RANGES)
    if kind == 0:  # words of one script
        return " ".join(word(span, rng.randint(1, 9)) for _ in range(rng.randint(1, 8)))
    if kind == 1:  # scripts and odd spaces mixed
        return "".join(word(rng.choice(RANGES), rng.randint(1, 4)) + rng.choice(SPACES) for _ in range(rng.randint(1, 7)))
    if kind == 2:  # combining marks
        return " ".join(word(span, rng.randint(1, 3)) + "".join(rng.choices(MARKS, k=rng.randint(1, 3))) for _ in range(4))
    if kind == 3:  # any assigned or unassigned character at all, control characters too
        points = (rng.choice([rng.randrange(0x20), rng.randrange(0x3000), rng.randrange(0x20000)]) for _ in range(12))
        return "".join(chr(point) for point in points if not 0xD800 <= point < 0xE000)
    return "".join(rng.choices("aeiou'.,-!?0123456789 \n", k=rng.randint(1, 50)))


def spoil(rng, sentence):
    """A sentence changed a little: cut, turned, glued, in capitals, with spaces of other kinds."""
    at = rng.randrange(len(sentence))
    return rng.choice([
        sentence[at:], sentence[:at], sentence.upper(), sentence.lower(), sentence.replace(" ", ""),
        sentence.replace(" ", rng.choice(SPACES)), sentence[:at] + rng.choice(MARKS) + sentence[at:], sentence[::-1],
        " " + sentence + "  ", sentence[:at] + rng.choice(ODD[:40]) + sentence[at:],
    ])


def make_lines():
    rng = random.Random(20261121)
    sentences = (OUT / "sentences.txt").read_text().splitlines()
    lines = sentences + ODD
    while len(lines) < LINES:
        line = noise(rng) if rng.random() < 0.4 else spoil(rng, rng.choice(sentences))
        lines += [line] if line not in lines else []
    return sentences, lines


def train(sentences, **options):
    """The bytes of a model trained on the sentences and a word list of our own."""
    words = (ROOT / "training/bilingual/phrases.txt").read_text().replace("|", "\n").splitlines()
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences * 3 + words), model_writer=model, num_threads=1, minloglevel=2,
        character_coverage=0.98, hard_vocab_limit=False, max_sentencepiece_length=24, **options,
    )
    return model.getvalue()


def edited(model, edit):
    proto = sentencepiece_model_pb2.ModelProto.FromString(model)
    edit(proto)
    return proto.SerializeToString()


def retire(proto):
    """Takes pieces out of use: every third of those with several letters."""
    several = [piece for piece in proto.pieces if piece.type == piece.NORMAL and len(piece.piece) > 1]
    for piece in several[::3]:
        piece.type = piece.UNUSED


def turn_around(proto):
    proto.trainer_spec.treat_whitespace_as_suffix = True
    proto.normalizer_spec.escape_whitespaces = False


def sentencepiece_models(sentences):
    user = dict(user_defined_symbols=["<2es>", "<x>", "<x>y", "train", "\u6f22\u5b57", "e\u0301"], control_symbols=["<ctl>"])
    plain = dict(normalization_rule_name="identity", byte_fallback=True)
    raw = dict(remove_extra_whitespaces=False, add_dummy_prefix=False)
    models = {
        "unigram_nmt": train(sentences, model_type="unigram", vocab_size=2200, normalization_rule_name="nmt_nfkc"),
        "unigram_bytes": train(sentences, model_type="unigram", vocab_size=2400, **plain, **user),
        "unigram_raw": train(sentences, model_type="unigram", vocab_size=1800, normalization_rule_name="identity", **raw),
        "unigram_suffix": train(
            sentences, model_type="unigram", vocab_size=1800, normalization_rule_name="identity",
            treat_whitespace_as_suffix=True, **user),
        "bpe_nmt": train(sentences, model_type="bpe", vocab_size=2600, normalization_rule_name="nmt_nfkc"),
        "bpe_bytes": train(
            sentences, model_type="bpe", vocab_size=2800, split_digits=True, remove_extra_whitespaces=False, **plain, **user),
    }
    models["unigram_unused"] = edited(models["unigram_raw"], retire)
    models["bpe_unused"] = edited(models["bpe_bytes"], retire)
    models["bpe_turned"] = edited(models["bpe_bytes"], turn_around)
    return models


def reference(lines, encode, decode, vocabulary, rng):
    """Ids of all lines; their text, null where it is the line itself; random ids and their text."""
    ids = [encode(line) for line in lines]
    texts = [decode(row) for row in ids]
    drawn = [[rng.randrange(vocabulary) for _ in range(rng.randint(1, 12))] for _ in range(DRAWN)]
    return {
        "ids": ids, "texts": [None if text == line else text for text, line in zip(texts, lines)],
        "drawn": drawn, "drawn_texts": [decode(row) for row in drawn],
    }


def write(name, data):
    if not isinstance(data, bytes):
        data = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    path = OUT / f"{name}.gz"
    path.write_bytes(gzip.compress(data, 9, mtime=0))
    print(f"{path.name}: {path.stat().st_size} bytes")


def byte_letters():
    """The letter byte-level BPE writes each byte in: printable Latin-1 bytes stand for themselves, the others follow
    from U+0100 on (the GPT-2 vocabulary)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def halves(ranks, token):
    """The two pieces a token is merged from: what merging stops at when the token itself is not allowed."""
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        ranked = [(ranks.get(a + b, len(ranks)), i) for i, (a, b) in enumerate(zip(parts, parts[1:])) if a + b != token]
        rank, i = min(ranked)
        assert rank < ranks[token], token
        parts[i:i + 2] = [parts[i] + parts[i + 1]]
    return parts


def to_hugging_face(encoding):
    """A tiktoken encoding in the layout of Hugging Face's tokenizer.json, special tokens and timestamps included."""
    letters = byte_letters()
    spell = lambda token: "".join(letters[byte] for byte in token)
    ranks = encoding._mergeable_ranks
    in_order = sorted(ranks, key=ranks.get)
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    special = lambda id, content: {
        "id": id, "content": content, "special": not content[2].isdigit(),
        "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
    }
    added = sorted((id, content) for content, id in encoding._special_tokens.items())
    merges = [" ".join(spell(half) for half in halves(ranks, token)) for token in in_order if len(token) > 1]
    return {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None,
        "added_tokens": [special(*pair) for pair in added], "pre_tokenizer": byte_level, "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": False, "vocab": {spell(token): ranks[token] for token in in_order},
            "merges": merges,
        },
    }


def whisper_fixtures(lines, rng):
    for name, languages in [("multilingual", 99), ("multilingual", 100), ("gpt2", 99)]:
        encoding = whisper.tokenizer.get_encoding(name, languages)
        layout = to_hugging_face(encoding)
        # Timestamps are not special there, yet a text that spells one out must stay text.
        closed = layout | {"added_tokens": [token | {"special": True} for token in layout["added_tokens"]]}
        converted = tokenizers.Tokenizer.from_str(json.dumps(closed))
        converted.encode_special_tokens = True
        encode = lambda line: encoding.encode(line, disallowed_special=())
        for line in lines:
            ids = converted.encode(line, add_special_tokens=False).ids
            assert ids == encode(line), (name, line)
        if languages == 100:
            write("whisper_specials.json", sorted(encoding._special_tokens, key=encoding._special_tokens.get))
        else:
            end = encoding._special_tokens["<|endoftext|>"]
            write(f"whisper_{name}_ids.json", reference(lines, encode, encoding.decode, end, rng))
        if (name, languages) == ("multilingual", 99):
            write("whisper_multilingual_tokenizer.json", layout)
    assets = pathlib.Path(os.path.dirname(whisper.tokenizer.__file__)) / "assets"
    write("gpt2.tiktoken", (assets / "gpt2.tiktoken").read_bytes())


def m2m100_fixture(lines, model):
    """M2M100 numbers pieces by its own vocab.json and puts the language first."""
    names = [piece.piece for piece in sentencepiece_model_pb2.ModelProto.FromString(model).pieces][3:]
    vocabulary = {name: id for id, name in enumerate(["<s>", "<pad>", "</s>", "<unk>", *sorted(names)])}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "vocab.json").write_text(json.dumps(vocabulary))
        (folder / "sentencepiece.bpe.model").write_bytes(model)
        tokenizer = m2m100.M2M100Tokenizer(
            str(folder / "vocab.json"), str(folder / "sentencepiece.bpe.model"), src_lang="en", tgt_lang="zu")
        chosen = [line for line in lines[:183:4]]
        ids = [tokenizer(line).input_ids for line in chosen]
        target = tokenizer.get_lang_id("zu")
        texts = [tokenizer.decode(row[1:], skip_special_tokens=True) for row in ids]
    write("m2m100.json", {"vocabulary": vocabulary, "lines": chosen, "ids": ids, "texts": texts, "zu": target})


def weights():
    """Weights as torch.save writes them, in today's container and in the one before torch 1.6."""
    shared = torch.arange(12, dtype=torch.float32)
    state = {
        "a.weight": shared.view(3, 4), "a.bias": shared[4:8], "turned": shared.view(3, 4).t(),
        "half": torch.tensor([1.5, -2.25]).half(), "brain": torch.tensor([0.5, 3.0]).bfloat16(),
        "double": torch.tensor([0.1], dtype=torch.float64), "count": torch.tensor([7]),
        "grown": torch.nn.Parameter(torch.tensor([[9.0]])), "one": torch.tensor(4.0),
    }
    module = torch.nn.Linear(2, 1)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, 2.0]]))
        module.bias.copy_(torch.tensor([3.0]))
    for name, data, zipped in [
        ("zip", state, True), ("legacy", state, False), ("ordered", module.state_dict(), True),
        ("nested", {"epoch": 3, "state_dict": state, "args": ["x", 0.5, None, True]}, True),
    ]:
        torch.save(data, OUT / f"pickle_{name}.bin", _use_new_zipfile_serialization=zipped)


def main():
    sentences, lines = make_lines()
    rng = random.Random(3)
    write("lines.json", lines)
    models = sentencepiece_models(sentences)
    for name, model in models.items():
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        write(f"{name}.spm", model)
        write(f"{name}_ids.json", reference(lines, processor.encode, processor.decode, processor.vocab_size(), rng))
    whisper_fixtures(lines, rng)
    m2m100_fixture(lines, models["bpe_nmt"])
    write("languages.json", {
        "whisper": whisper.tokenizer.LANGUAGES, "nllb": nllb.FAIRSEQ_LANGUAGE_CODES,
        "m2m100": m2m100.FAIRSEQ_LANGUAGE_CODES["m2m100"],
    })
    weights()


if __name__ == "__main__":
    main()
