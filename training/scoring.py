"""Word error rate on lower-case letters, and nothing else."""
from .text_open import letters


def word_errors(reference, hypothesis):
    """-> (substitutions + insertions + deletions, reference words)."""
    wanted, heard = letters(reference).split(), letters(hypothesis).split()
    row = list(range(len(heard) + 1))
    for i, word in enumerate(wanted, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1], len(wanted)
