"""Open-vocabulary English: WordNet's example sentences, fortunes, and the prompts of Asterisk.

All come from Debian packages (wordnet-base, fortunes, asterisk-core-sounds-*); a package that
is not installed gives no sentences.
"""
import glob
import gzip
import hashlib
import os
import re

WORDNET = "/usr/share/wordnet/data.*"
FORTUNES = "/usr/share/games/fortunes"
PROMPTS = "/usr/share/doc/asterisk-core-sounds-{0}/core-sounds-{0}.txt.gz"
# The independent check on human speech: neither their text nor their audio is ever trained on.
CHECK_GROUPS = ("vm-", "queue-")
# Kept for the shipped demo: not trained on either.
DEMO_PROMPTS = {"auth-incorrect", "conf-onlyone", "cannot-complete-as-dialed", "pls-try-call-later", "conf-lockednow",
                "check-number-dial-again", "pbx-transfer", "agent-newlocation", "call-fwd-no-ans"}
ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


def letters(text):
    """The form in which two texts count as the same: lower case letters, apostrophes, single blanks."""
    return " ".join(re.sub(r"[^a-z' ]", " ", text.lower().replace("-", " ")).split())


def share(text):
    """A number in 0..99 that depends on the text's letters alone; used to hold sentences out."""
    return int(hashlib.sha1(letters(text).encode()).hexdigest(), 16) % 100


def held_out(text):
    return share(text) < 2


def number_words(number):
    """0..999 in words."""
    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10 - 2] + ("-" + ONES[number % 10] if number % 10 else "")
    rest = f" {number_words(number % 100)}" if number % 100 else ""
    return f"{ONES[number // 100]} hundred{rest}"


def sentence(text):
    """Capital at the start, a full stop at the end, one blank between words."""
    text = " ".join(text.split()).strip(" ,:")
    if not text:
        return ""
    text = text[0].upper() + text[1:]
    return text if text[-1] in ".?!" else text + "."


def speakable(text, fewest, most):
    """Plain words of a fair length and nothing that a synthesiser would read otherwise than written."""
    words = text.split()
    if not fewest <= len(words) <= most or not re.fullmatch(r"[A-Za-z',.?! -]+", text) or "--" in text or ".." in text or "''" in text:
        return False
    if any(w.isupper() and len(w) > 1 for w in words) or any(len(w) > 16 for w in words):
        return False
    inner = text[:-1]
    return not re.search(r"[.?!]|\b(Mr|Mrs|Dr|St|vs|etc)\b|(^| )'|'( |$)", inner)


def wordnet_sentences(fewest=3, most=14):
    found = []
    for path in sorted(glob.glob(WORDNET)):
        if path.rsplit(".", 1)[1] not in ("noun", "verb", "adj", "adv"):
            continue
        for line in open(path, encoding="latin-1"):
            for quote in re.findall(r'"([^"]+)"', line.split("|", 1)[-1]):
                text = sentence(quote.replace("`", "'").split(";")[0])
                if speakable(text, fewest, most):
                    found.append(text)
    return list(dict.fromkeys(found))


def fortune_sentences(fewest=3, most=14):
    found = []
    for path in sorted(glob.glob(os.path.join(FORTUNES, "*.u8"))):
        body = open(path, encoding="utf-8", errors="replace").read()
        for piece in re.split(r"\n%\n", body):
            piece = " ".join(line for line in piece.split("\n") if not line.strip().startswith("--"))
            for part in re.findall(r"[A-Z][^.?!]*[.?!]", piece.replace('"', "")):
                text = " ".join(part.split())
                if speakable(text, fewest, most):
                    found.append(text)
    return list(dict.fromkeys(found))


def prompt_texts(language="en"):
    """Asterisk prompt name -> text, as its catalogue has it, without sound effects."""
    path, texts = PROMPTS.format(language), {}
    if not os.path.exists(path):
        return texts
    for line in gzip.open(path, "rt", encoding="utf-8", errors="replace"):
        name, _, text = line.strip().partition(": ")
        if text and not name.startswith(";") and not re.search(r"[\[\]()<>*/]", text):
            texts[name] = " ".join(text.replace("’", "'").split())
    return texts


def prompt_sentence(text):
    """A prompt's text with digits as words, capital and full stop."""
    text = re.sub(r"\d+", lambda m: number_words(int(m.group())) if int(m.group()) < 1000 else m.group(), text)
    return sentence(text.replace("...", ".").replace("!", ".").replace(";", ","))


def prompt_sentences():
    """The sentences of the prompts that may be trained on, for the synthesisers to say too."""
    texts = prompt_texts()
    barred = {letters(prompt_sentence(t)) for n, t in texts.items() if is_check(n) or n in DEMO_PROMPTS}
    found = {}
    for name, text in texts.items():
        if not is_check(name) and name not in DEMO_PROMPTS:
            for part in re.findall(r"[^.?!]+[.?!]", prompt_sentence(text)):
                part = sentence(part)
                if speakable(part, 2, 16) and letters(part) not in barred:
                    found.setdefault(letters(part), part)
    return list(found.values())


def is_check(name):
    return name.split("/")[-1].startswith(CHECK_GROUPS)


def open_sentences():
    """All open-vocabulary sentences, each once (by its letters), without those of the check groups."""
    barred = {letters(t) for n, t in prompt_texts().items() if is_check(n) or n in DEMO_PROMPTS}
    seen, kept = set(barred), []
    for text in wordnet_sentences() + fortune_sentences():
        if letters(text) not in seen:
            seen.add(letters(text))
            kept.append(text)
    return kept
