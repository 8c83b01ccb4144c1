"""What is measured of a peer, with the definitions and the field names of `subtide bench stream`.

A message shows `committed` (what the peer will not change) and a `tail`. Words are compared in lower case without the punctuation
around them. The last text is laid beside the reference by edit distance; a word that is right was *shown* when a message first had it
at its place, and *committed* when the committed part had. Delays are by the clock, from the word's end in the recording.
"""

import math
from dataclasses import dataclass

# A sentence ends an utterance when so long a pause follows it (the silence that Subtide waits for, 600 ms, and 300 ms beyond).
PAUSE_MS = 900


@dataclass
class Message:
    """One state of the text; milliseconds since the first sample."""

    at_ms: float
    committed: str
    tail: str


def fold(text):
    """Words as they are compared."""
    words = []
    for piece in text.split():
        start, stop = 0, len(piece)
        while start < stop and not piece[start].isalnum():
            start += 1
        while stop > start and not piece[stop - 1].isalnum():
            stop -= 1
        if start < stop:
            words.append(piece[start:stop].lower().replace("’", "'"))
    return words


def costs(a, b):
    """Levenshtein's table, len(a) + 1 rows."""
    table = [list(range(len(b) + 1))]
    for i, word in enumerate(a, 1):
        above, row = table[-1], [i]
        for j, other in enumerate(b, 1):
            row.append(min(above[j - 1] + (word != other), above[j] + 1, row[j - 1] + 1))
        table.append(row)
    return table


def steps(a, b, table, j):
    """The alignment that ends at (len(a), j), backwards: (index in a or None, index in b or None)."""
    i = len(a)
    while i > 0 or j > 0:
        if i > 0 and j > 0 and table[i][j] == table[i - 1][j - 1] + (a[i - 1] != b[j - 1]):
            i, j = i - 1, j - 1
            yield i, j
        elif i > 0 and table[i][j] == table[i - 1][j] + 1:
            i -= 1
            yield i, None
        else:
            j -= 1
            yield None, j


def standing(shown, whole):
    """The words of `whole` that stand at their place in `shown`, an earlier state of the same text."""
    table = costs(shown, whole)
    nearest = min(range(len(whole) + 1), key=lambda j: (table[-1][j], abs(j - len(shown))))
    return {j for i, j in steps(shown, whole, table, nearest) if i is not None and j is not None and shown[i] == whole[j]}


def _common(a, b):
    count = 0
    while count < min(len(a), len(b)) and a[count] == b[count]:
        count += 1
    return count


def measure(recording, messages):
    """Sums over one recording; `total` adds them up and makes figures of them."""
    words = [(fold(w["text"]), w["end_ms"], n) for n, u in enumerate(recording["utterances"]) for w in u["words"]]
    spoken = [(folded[0], end, n) for folded, end, n in words if folded]
    last = fold(messages[-1].committed + " " + messages[-1].tail) if messages else []
    reference = [word for word, _, _ in spoken]
    table = costs(reference, last)
    pairs = list(steps(reference, last, table, len(last)))[::-1]
    sums = {"audio_ms": recording["duration_ms"], "words": len(reference), "replaced": 0, "missing": 0, "added": 0, "shown": [], "settled": [],
            "finals": [], "erased": 0, "kept": 0, "updates": 0, "reworded": 0, "same": 0}
    first_shown, first_settled = {}, {}
    before, before_committed = [], []
    for message in messages:
        text = message.committed.split() + message.tail.split()
        committed = message.committed.split()
        sums["updates"] += text != before
        sums["erased"] += len(before) - _common(before, text)
        sums["reworded"] += _common(before_committed, committed) < len(before_committed)
        before, before_committed = text, committed
        for word in standing(fold(" ".join(text)), last):
            first_shown.setdefault(word, message.at_ms)
        for word in standing(fold(message.committed), last):
            first_settled.setdefault(word, message.at_ms)
    sums["kept"] = len(before)
    last_heard = {}
    for i, j in pairs:
        if i is None or j is None:
            sums["added" if i is None else "missing"] += 1
            continue
        last_heard[spoken[i][2]] = j
        if reference[i] != last[j]:
            sums["replaced"] += 1
            continue
        sums["same"] += 1
        if j in first_shown:
            sums["shown"].append(first_shown[j] - spoken[i][1])
        if j in first_settled:
            sums["settled"].append(first_settled[j] - spoken[i][1])
    _finals(recording, last_heard, first_settled, sums)
    return sums


def _finals(recording, last_heard, first_settled, sums):
    """From the end of a sentence that a pause follows until all of it was committed."""
    utterances = recording["utterances"]
    for n, utterance in enumerate(utterances):
        paused = n + 1 == len(utterances) or utterances[n + 1]["start_ms"] >= utterance["end_ms"] + PAUSE_MS
        if paused and n in last_heard:
            moments = [at for word, at in first_settled.items() if word <= last_heard[n]]
            if last_heard[n] in first_settled:
                sums["finals"].append(max(moments) - utterance["end_ms"])


def spread(values):
    """Mean and percentiles by nearest rank; None of nothing."""
    values = sorted(values)
    if not values:
        return None
    rank = lambda share: values[min(len(values), max(1, math.ceil(share * len(values)))) - 1]
    return {"count": len(values), "mean": round(sum(values) / len(values), 1), "p50": round(rank(0.5), 1), "p95": round(rank(0.95), 1),
            "max": round(values[-1], 1)}


def total(all_sums):
    """The figures of several recordings."""
    add = lambda name: sum(sums[name] for sums in all_sums)
    join = lambda name: [value for sums in all_sums for value in sums[name]]
    errors = add("replaced") + add("missing") + add("added")
    return {"sessions": len(all_sums), "audio_ms": add("audio_ms"), "captions": {
        "wer": errors / add("words") if add("words") else None, "words": add("words"), "replaced": add("replaced"), "missing": add("missing"),
        "added": add("added"), "word_to_first_shown": {"wall_ms": spread(join("shown"))}, "word_to_committed": {"wall_ms": spread(join("settled"))},
        "end_to_final_ms": spread(join("finals")), "normalised_erasure": add("erased") / add("kept") if add("kept") else None,
        "words_erased": add("erased"), "words_final": add("kept"), "updates": add("updates"), "committed_reworded": add("reworded")}}


def check():
    """Holds the definitions to an example worked by hand."""
    words = [("The", 0, 400), ("cat", 400, 800), ("sat.", 800, 1000)]
    recording = {"duration_ms": 2000, "utterances": [
        {"end_ms": 1000, "words": [{"text": text, "start_ms": start, "end_ms": end} for text, start, end in words]}]}
    messages = [Message(900, "", "the bat"), Message(1400, "the", "cat sat"), Message(2000, "the cat", "sad"), Message(2600, "The cat sat.", "")]
    sums = measure(recording, messages)
    assert sums["shown"] == [500, 600, 400] and sums["settled"] == [1000, 1200, 1600], sums
    assert sums["finals"] == [1600] and (sums["erased"], sums["kept"]) == (1 + 1 + 3, 3), sums
    assert sums["reworded"] == 1, "a committed `the` became `The`"
    wrong = measure(recording, [Message(900, "a cat sat down", "")])
    assert (wrong["replaced"], wrong["missing"], wrong["added"], len(wrong["shown"])) == (1, 0, 1, 2), wrong
    print("figures ok")


if __name__ == "__main__":
    check()
