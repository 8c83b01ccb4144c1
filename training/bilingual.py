"""The demo's domain: English templates with a hand-written Spanish side, filled from slot tables.

`bilingual/slots_*.txt` holds tables (`# name`, then `english | spanish | gender`; adjectives give
`masculine/feminine`), `templates.txt` holds `english | spanish` with fields, `phrases.txt` whole
sentences. Fields of the English side: `{slot}`, `{a slot}` (a or an), `{Slot}` (capital),
`{slot:one,two}` (only these entries), `{slot2}` (a second, different entry). Of the Spanish side:
`{slot}`, `{el slot}` and the other words of ARTICLES (agreeing in gender), `{adjective~slot}`
(adjective agreeing with slot), `{me do}` (reflexive infinitives), and the AGREEING participles.
"""
import itertools
import os
import random
import re

from .text_open import held_out, letters

FOLDER = os.path.join(os.path.dirname(__file__), "bilingual")
# word -> (masculine, feminine, before a stressed a-)
ARTICLES = {"el": ("el", "la", "el"), "un": ("un", "una", "un"), "del": ("del", "de la", "del"), "al": ("al", "a la", "al"),
            "este": ("este", "esta", "esta"), "los": ("los", "las", "las"), "estos": ("estos", "estas", "estas"),
            "el+próximo": ("el próximo", "la próxima", "la próxima")}
# agrees with the sentence's first gendered slot, in gender and (for the last) number
AGREEING = {"cerrado": ("cerrado", "cerrada"), "cercano": ("cercano", "cercana"), "roto": ("roto", "rota"), "mio": ("mío", "mía"),
            "bueno": ("bueno", "buena"), "frio": ("frío", "fría"), "raro": ("raro", "rara"), "caros": ("caros", "caras"),
            "lleno": ("lleno", "llena"), "Esto": ("Este", "Esta"), "rapido": ("rápido", "rápida"), "izquierdo": ("izquierdo", "izquierda")}
AN = re.compile(r"(?!uni|use|euro|one)[aeiou]|hour", re.I)
FIELD = re.compile(r"\{([^}]*)\}")


class Entry:
    def __init__(self, english, spanish, gender=""):
        self.english, self.spanish, self.gender = english, spanish, gender

    @property
    def column(self):
        """Column of ARTICLES."""
        return {"m": 0, "f": 1, "fa": 2}[self.gender]


def _lines(name):
    for line in open(os.path.join(FOLDER, name), encoding="utf-8"):
        line = line.strip()
        if line:
            yield line


def load_slots():
    slots, current = {}, None
    for name in sorted(n for n in os.listdir(FOLDER) if n.startswith("slots_")):
        for line in _lines(name):
            if line.startswith("# "):
                current = slots.setdefault(re.match(r"# (\w+)", line).group(1), [])
            else:
                current.append(Entry(*(part.strip() for part in line.split("|"))))
    return slots


def load_pairs(name):
    return [tuple(part.strip() for part in line.split("|")) for line in _lines(name) if not line.startswith("# ")]


class Template:
    """One template: `slots` lists (field name, entries to choose from) in order of appearance."""

    def __init__(self, english, spanish, tables):
        self.english, self.spanish, self.slots = english, spanish, []
        for field in FIELD.findall(english):
            name, _, only = field.split(" ")[-1].partition(":") if not field.startswith("a ") else field[2:].partition(":")
            if ":" in field:  # entries may hold blanks
                name, _, only = (field[2:] if field.startswith("a ") else field).partition(":")
            table = tables[re.sub(r"\d", "", name.lower())]
            wanted = only.split(",") if only else None
            entries = [e for e in table if wanted is None or e.english in wanted]
            assert entries and (wanted is None or len(entries) == len(wanted)), (english, field)
            self.slots.append((name.lower(), entries))

    def count(self):
        total = 1
        for _, entries in self.slots:
            total *= len(entries)
        return total

    def fill(self, rng):
        """-> (english, spanish) with random, mutually different entries."""
        chosen, used = {}, set()
        for name, entries in self.slots:
            free = [e for e in entries if id(e) not in used]
            chosen[name] = rng.choice(free)
            used.add(id(chosen[name]))
        english = FIELD.sub(lambda m: self._english(m.group(1), chosen), self.english)
        spanish = FIELD.sub(lambda m: self._spanish(m.group(1), chosen), self.spanish)
        return capital(english), tidy_spanish(spanish)

    @staticmethod
    def _english(field, chosen):
        article = field.startswith("a ")
        name = re.sub(r":.*", "", field[2:] if article else field).lower()
        text = chosen[name].english
        if article:
            text = ("an " if AN.match(text) else "a ") + text
        return text

    def _spanish(self, field, chosen):
        if "~" in field:
            adjective, noun = field.split("~")
            forms = chosen[re.sub(r"[:=].*", "", adjective)].spanish.split("/")
            return forms[0 if chosen[noun].gender == "m" else 1]
        if field in AGREEING:
            # a person's name has a gender too, but things are what participles speak of
            first = next(chosen[name] for name, _ in self.slots if chosen[name].gender and name != "name")
            return AGREEING[field][0 if first.gender == "m" else 1]
        word, _, name = field.rpartition(" ")
        if name.endswith("+s"):
            text = chosen[name[:-2]].spanish
            return text + "s" if text[-1] != "s" else text
        entry = chosen[name.lower()]
        if not word:
            return entry.spanish
        if word.lower() in ARTICLES:
            return f"{ARTICLES[word.lower()][entry.column]} {entry.spanish}"
        return reflexive(entry.spanish, word)


def reflexive(infinitive, pronoun):
    """quedarse en casa, me -> quedarme en casa"""
    return re.sub(r"^(\w+[aei]r)se\b", lambda m: m.group(1) + pronoun, infinitive)


def capital(text):
    return re.sub(r"^([¿¡]?)(\w)", lambda m: m.group(1) + m.group(2).upper(), text)


def tidy_spanish(text):
    text = re.sub(r"\by (?=h?i(?![ae]))", "e ", text)
    text = re.sub(r"\bo (?=h?o)", "u ", text)
    return capital(text)


def templates():
    tables = load_slots()
    return [Template(english, spanish, tables) for english, spanish in load_pairs("templates.txt")]


def pairs(per_template, seed=1, held=None):
    """Distinct (english, spanish) pairs: up to `per_template` from each template, more where it has
    more to offer. `held` True keeps only the held-out sentences, False only the others."""
    rng, found = random.Random(seed), {}
    for template in templates():
        goal = int(min(per_template * 4, max(per_template / 4, per_template * (template.count() / 3000) ** 0.5), template.count()))
        for _ in range(goal):
            english, spanish = template.fill(rng)
            found[letters(english)] = (english, spanish)
    for english, spanish in load_pairs("phrases.txt"):
        found[letters(english)] = (english, spanish)
    phrases = {letters(english) for english, _ in load_pairs("phrases.txt")}
    kept = [pair for key, pair in found.items() if held is None or (held_out(pair[0]) and key not in phrases) == held]
    rng.shuffle(kept)
    return kept
