"""The name that a user probably meant."""

from collections.abc import Iterable


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The name closest to a word, or None when none is close. Case and the choice of `-` or `_` do not count.

    A beginning of a name is close to it; otherwise up to 2 edits are, or a third of the word's length.
    """
    plain, names = _plain(word), list(names)
    distances = {name: edit_distance(plain, _plain(name)) for name in names}
    closest = min(names, key=distances.__getitem__, default=None)
    if closest is None or distances[closest] <= max(2, len(plain) // 3):
        return closest
    begun = [name for name in names if _plain(name).startswith(plain)] if plain.strip("-") else []
    return min(begun, key=len, default=None)


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """The end of a sentence about a word that is no name: a question with the closest one, or nothing."""
    guess = nearest(word, names)
    return f"; did you mean {guess}?" if guess else ""


def edit_distance(a: str, b: str) -> int:
    """Insertions, deletions, substitutions and swaps of neighbors that turn `a` into `b` (optimal string alignment)."""
    rows = [list(range(len(b) + 1))]
    for i, x in enumerate(a, start=1):
        row = [i]
        for j, y in enumerate(b, start=1):
            cost = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, rows[-2][j - 2] + 1)
            row.append(cost)
        rows.append(row)
    return rows[-1][-1]


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")
