"""English-Spanish sentence pairs: the demo's templates, message catalogues and Asterisk's prompts."""
import collections
import glob
import gettext
import os
import random
import re
import unicodedata

from . import bilingual
from .text_open import DEMO_PROMPTS, held_out, is_check, letters, prompt_sentence, prompt_texts

CATALOGUES = ["/usr/share/locale/es/LC_MESSAGES/*.mo", "/usr/share/games/wesnoth/*/locale/es/LC_MESSAGES/*.mo"]


def plain(text, fewest, most):
    words = text.split()
    return fewest <= len(words) <= most and not re.search(r"[%{}<>_\\=/|@#\[\]()*&~^+\"“”«»:;0-9\t]|--|\.\.|…", text)


def catalogue_pairs(roots=CATALOGUES, fewest=3, most=18):
    """Human-translated pairs of plain words from every compiled catalogue that `roots` match."""
    found = {}
    for root in roots:
        for path in sorted(glob.glob(root, recursive=True)):
            try:
                catalogue = gettext.GNUTranslations(open(path, "rb"))._catalog
            except (OSError, UnicodeDecodeError, ValueError):
                continue
            for english, spanish in catalogue.items():
                if not isinstance(english, str) or not english or not isinstance(spanish, str):
                    continue
                english = english.split("\x04")[-1]
                for en, es in sentences(english, spanish):
                    if plain(en, fewest, most) and plain(es, 2, most + 6) and 0.5 < len(es) / len(en) < 2 and letters(en) != letters(es):
                        found.setdefault(letters(en), (en, es))
    return list(found.values())


def sentences(english, spanish):
    """Splits a message into sentences where both languages have the same number of them."""
    split = lambda text: [s.strip() for s in re.split(r"(?<=[.!?])\s+|\n\n", " ".join(text.replace("\u2019", "'").split())) if s.strip()]
    en, es = split(english), split(spanish)
    return list(zip(en, es)) if len(en) == len(es) else []


def restore_accents(text, words):
    """Puts back accents that a catalogue left out, where `words` (bare -> accented) knows them."""
    return re.sub(r"\w+", lambda m: words.get(m.group(), m.group()), text)


def accented_words(spanish_texts):
    """bare word -> its accented form, for words that hardly ever occur without their accent."""
    counts = collections.Counter(word for text in spanish_texts for word in re.findall(r"\w+", text.lower()))
    found = {}
    for word, count in counts.items():
        bare = "".join(c for c in unicodedata.normalize("NFD", word) if unicodedata.category(c) != "Mn")
        if bare != word and count > 10 * counts[bare]:
            found[bare] = word
    return found


def prompt_pairs(words=None):
    """Asterisk's prompts that exist in both languages, without those kept for checking."""
    english, spanish = prompt_texts("en"), prompt_texts("es")
    barred = {letters(prompt_sentence(t)) for n, t in english.items() if is_check(n) or n in DEMO_PROMPTS}
    found = {}
    for name, text in english.items():
        if name not in spanish or is_check(name) or letters(prompt_sentence(text)) in barred or len(text.split()) < 3:
            continue
        if not re.search(r"\d", spanish[name]):
            found[letters(text)] = (prompt_sentence(text), bilingual.capital(restore_accents(spanish[name].rstrip(" ."), words or {}) + "."))
    return list(found.values())


def training_pairs(per_template=700, seed=1, roots=CATALOGUES):
    """-> (domain pairs, other pairs), none of them held out."""
    domain = bilingual.pairs(per_template, seed, held=False)
    seen = {letters(en) for en, _ in domain}
    catalogues = catalogue_pairs(roots)
    words = accented_words(es for _, es in catalogues)
    other = [(en, es) for en, es in catalogues + prompt_pairs(words) if not held_out(en) and letters(en) not in seen]
    return domain, other


def vary(pair, rng: random.Random):
    """What the pipeline may send: without the final stop, or without any capital."""
    english, spanish = pair
    chance = rng.random()
    if chance < 0.12 and english[-1] in ".?!":
        english = english[:-1]
    elif chance < 0.16:
        english = english.rstrip(".?!").lower()
    return english, spanish


def multi(pairs, rng: random.Random):
    """Two or three sentences as one input."""
    some = [rng.choice(pairs) for _ in range(rng.choice([2, 2, 3]))]
    return " ".join(en for en, _ in some), " ".join(es for _, es in some)
