"""The recipe's front door: `python -m training COMMAND`; see README.md."""
import argparse
import json
import os
import pickle
import random

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = os.path.join(os.path.dirname(HERE), "models")

PROMPT_RENDITIONS = 5


def arguments():
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("--work", default="training-work", help="folder for audio features, tokenizers and checkpoints (about 2.5 GB)")
    commands = parser.add_subparsers(dest="command", required=True)
    text = commands.add_parser("speech-data", help="synthesise the training speech")
    text.add_argument("--processes", type=int, default=2)
    text.add_argument("--open", type=int, default=40_200, help="open-vocabulary sentences")
    stt = commands.add_parser("train-stt", help="train the speech model, or go on with it")
    stt.add_argument("--plan", default=os.path.join(HERE, "plans", "stt.json"), help="stages: steps, shares, learning rate")
    mt = commands.add_parser("train-mt", help="train the translator, or go on with it")
    mt.add_argument("--steps", type=int, default=2500)
    mt.add_argument("--catalogues", action="append", default=[], help="another root under which message catalogues are installed")
    commands.add_parser("align-human", help="word ends and long prompts for the recordings, by a half-trained speech model")
    commands.add_parser("export", help="write both checkpoints into models/").add_argument("--only", choices=["stt", "mt"])
    heads = commands.add_parser("alignment-heads", help="find the attention that follows the voice, write it to generation_config.json")
    heads.add_argument("--model", default=os.path.join(MODELS, "demo-stt-en"))
    check = commands.add_parser("evaluate", help="measure the exported checkpoints")
    check.add_argument("--only", choices=["stt", "mt"])
    check.add_argument("--models", default=MODELS)
    check.add_argument("--count", type=int, default=120, help="clips in each speech set")
    check.add_argument("--catalogues", action="append", default=[])
    commands.add_parser("demo-speech", help="make models/demo-speech")
    stream = commands.add_parser("streaming-corpus", help="make what `subtide bench stream` plays, with the words' true times")
    stream.add_argument("--out", default=None, help="folder (default target/corpus; with --small models/demo-speech/stream)")
    stream.add_argument("--small", action="store_true", help="the subset that ships")
    stream.add_argument("--only", nargs="+", default=[], metavar="GROUP", help="only these groups")
    checked = commands.add_parser("check-corpus", help="check a streaming corpus by numbers")
    checked.add_argument("--corpus", default=os.path.join(MODELS, "demo-speech", "stream"))
    smoke = commands.add_parser("smoke", help="the whole recipe, tiny, in under two minutes")
    smoke.add_argument("--out", default=None, help="folder for the two tiny checkpoints (default: under --work)")
    return parser.parse_args()


def catalogue_roots(extra):
    from .text_pairs import CATALOGUES
    return CATALOGUES + [root.rstrip("/") + pattern for root in extra for pattern in CATALOGUES]


def speech_data(args):
    from . import bilingual, speech_data as data, text_open, tokens
    folder = os.path.join(args.work, "data")
    sentences = [t for t in text_open.open_sentences() if not text_open.held_out(t)]
    prompts = [text_open.prompt_sentence(t) for n, t in text_open.prompt_texts().items()
               if not text_open.is_check(n)]
    tokens.train_speech_tokenizer(sentences + prompts, os.path.join(args.work, "speech-tokens", "tokenizer.json"))
    random.Random(3).shuffle(sentences)
    short = [t for t in sentences if len(t.split()) <= 8][:14_000]
    rest = sorted(set(sentences) - set(short))
    random.Random(4).shuffle(rest)
    data.build_human(os.path.join(folder, "human"))
    data.build([en for en, _ in bilingual.pairs(130, 21, held=False) if len(en.split()) <= 16], os.path.join(folder, "domain"), 31, args.processes)
    data.build(text_open.prompt_sentences() * PROMPT_RENDITIONS, os.path.join(folder, "prompts"), 41, args.processes)
    data.build(short, os.path.join(folder, "open-short"), 11, args.processes)
    data.build(rest[: max(0, args.open - len(short))], os.path.join(folder, "open-long"), 12, args.processes)


def train_stt(args):
    from . import stt_checks, stt_train
    checks_path = os.path.join(args.work, "checks.pkl")
    if not os.path.exists(checks_path):
        with open(checks_path, "wb") as file:
            pickle.dump(stt_checks.make(), file)
    for stage in json.load(open(args.plan)):
        if "human-aligned" in stage["plan"] and not os.path.exists(os.path.join(args.work, "data", "human-aligned")):
            align_human(args)
        plan = {os.path.join(args.work, "data", name): weight for name, weight in stage.pop("plan").items()}
        stt_train.train(run=os.path.join(args.work, "stt"), plan=plan, checks=pickle.load(open(checks_path, "rb")),
                        tokenizer_path=os.path.join(args.work, "speech-tokens", "tokenizer.json"), **stage)


def align_human(args):
    from . import align, export as writer
    model = writer.load_speech_run(os.path.join(args.work, "stt"), os.path.join(args.work, "speech-tokens", "tokenizer.json"))
    align.build_human_aligned(model, os.path.join(args.work, "data", "human-aligned"))


def train_mt(args):
    from . import mt_train, text_pairs, tokens
    domain, other = text_pairs.training_pairs(roots=catalogue_roots(args.catalogues))
    path = os.path.join(args.work, "text-tokens", "tokenizer.json")
    if not os.path.exists(path):
        some = random.Random(1).sample(domain, min(40_000, len(domain)))
        tokens.train_marian_tokenizer([text for pair in some + other for text in pair], path)
    mt_train.train(os.path.join(args.work, "mt"), path, domain, other, args.steps)


def export(args):
    from . import export as writer
    if args.only != "mt":
        writer.export_speech_run(os.path.join(args.work, "stt"), os.path.join(args.work, "speech-tokens", "tokenizer.json"),
                                 os.path.join(MODELS, "demo-stt-en"))
    if args.only != "stt":
        writer.export_translator_run(os.path.join(args.work, "mt"), os.path.join(args.work, "text-tokens", "tokenizer.json"),
                                     os.path.join(MODELS, "demo-mt-en-es"))


def evaluate(args):
    from . import cards, evaluate as measure
    jobs = {"stt": ("demo-stt-en", lambda folder: measure.evaluate_speech(folder, args.count)),
            "mt": ("demo-mt-en-es", lambda folder: measure.evaluate_translation(folder, roots=catalogue_roots(args.catalogues)))}
    for name, (model, job) in jobs.items():
        if args.only in (None, name):
            folder = os.path.join(args.models, model)
            figures = job(folder)
            with open(os.path.join(folder, "evaluation.json"), "w", encoding="utf-8") as file:
                json.dump(figures, file, indent=2, ensure_ascii=False)
                file.write("\n")
            cards.update(folder, figures)


def alignment_heads(args):
    from . import alignment_heads as finder
    finder.update(args.model)


def demo_speech(args):
    from . import demo_speech as maker
    maker.make(os.path.join(MODELS, "demo-speech"))


def streaming_corpus(args):
    from . import streaming_corpus as maker
    usual = os.path.join(MODELS, "demo-speech", "stream") if args.small else os.path.join(os.path.dirname(HERE), "target", "corpus")
    maker.make(args.out or usual, MODELS, args.small, args.only)


def check_corpus(args):
    from . import streaming_check
    streaming_check.run(args.corpus, os.path.join(MODELS, "demo-stt-en"))


def smoke(args):
    from . import smoke as tiny
    tiny.run(args.out or os.path.join(args.work, "smoke"))


if __name__ == "__main__":
    chosen = arguments()
    {"speech-data": speech_data, "train-stt": train_stt, "align-human": align_human, "train-mt": train_mt, "export": export, "evaluate": evaluate,
     "demo-speech": demo_speech, "streaming-corpus": streaming_corpus,
     "check-corpus": check_corpus, "alignment-heads": alignment_heads, "smoke": smoke}[chosen.command](chosen)
