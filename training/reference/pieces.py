"""The SentencePiece models of the fixtures, trained on a few lines, and the ids the reference library gives."""
import json
import pathlib
import tempfile

import sentencepiece

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


def make(reference, out):
    """Trains both models into `out`; the cases go into `reference`."""
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
            (out / f"{side}.spm").write_bytes((folder / f"{side}.model").read_bytes())
    readers = {side: sentencepiece.SentencePieceProcessor(model_file=str(out / f"{side}.spm")) for side in ("source", "target")}
    # Marian's own numbering: end and unknown first, then the pieces of both sides, padding last.
    pieces = sorted({reader.id_to_piece(i) for reader in readers.values() for i in range(2, reader.get_piece_size())})
    vocabulary = {piece: i for i, piece in enumerate(["</s>", "<unk>", *pieces, "<pad>"])}
    (out / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False, separators=(",", ":")) + "\n")
    number = lambda side, text: [vocabulary.get(piece, 1) for piece in readers[side].encode(text, out_type=str)]
    reference["cases"] = [dict(text=text, ids=readers["source"].encode(text), tokens=number("source", text)) for text in CASES]
    reference["targets"] = [dict(text=text, tokens=number("target", text)) for text in SPANISH.splitlines()]
