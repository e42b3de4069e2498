"""Names that a misspelt one may have meant, for the hints of errors.

Edit distance with swaps of neighbours; it stays quick for 100,000 names (a project's targets) by looking closely only
at names of similar length and letters. It knows nothing of what the names are.
"""

from __future__ import annotations

from collections.abc import Iterable

_MOST = 20_000  # names compared letter by letter; a hint is not worth more time


def near(word: str, names: Iterable[str], count: int = 3, *, related: bool = False) -> list[str]:
    """At most `count` distinct names that `word` may be misspelt for, the nearest first; never `word` itself.

    Names that differ in their numbers alone (`s1`, `s2`) are meant so, and not near. related: also what no slip of the
    pen joins but a hint may well show: such names, the same file in another folder, a longer or shorter name.
    """
    lower = word.lower()
    limit = max(1, min(4, (len(word) + 1) // 3))
    letters = set(lower)
    found: list[tuple[float, int, str]] = []
    compared = 0
    for place, name in enumerate(dict.fromkeys(names)):
        if name == word:
            continue
        other = name.lower()
        if other == lower:
            found.append((0, place, name))
            continue
        if abs(len(name) - len(word)) <= limit and len(letters.symmetric_difference(other)) <= 2 * limit:
            compared += 1
            if compared > _MOST:
                break
            distance = edit_distance(lower, other, limit)
            # A word of two letters has everything within one edit; at least half of the word must stay.
            if distance <= limit and 2 * distance <= max(len(word), len(name)):
                if related or not _numbered(lower, other):
                    found.append((distance, place, name))
                continue
        if related and (far := _related(lower, other)):
            found.append((limit + far, place, name))
    found.sort(key=lambda entry: entry[:2])
    return [name for _, _, name in found[:count]]


def _numbered(word: str, other: str) -> bool:
    """Whether two names differ in their digits alone."""
    digits = dict.fromkeys(map(ord, "0123456789"))
    rest = word.translate(digits)
    return rest == other.translate(digits) and len(rest) < min(len(word), len(other))


def _related(word: str, other: str) -> float:
    """How far names are that one edit does not join: the same file elsewhere, a beginning; 0 where not at all."""
    if len(word) < 3 or len(other) < 3:
        return 0
    if "/" in word or "/" in other:
        if word.rstrip("/").rpartition("/")[2] == other.rstrip("/").rpartition("/")[2]:
            return 0.5
        return 0
    if other.startswith(word) or word.startswith(other):
        return 0.75
    return 0


def edit_distance(one: str, two: str, limit: int) -> int:
    """Insertions, deletions, changes and swaps of neighbours that make `two` of `one`; more than `limit`: limit + 1."""
    start = 0
    stop = min(len(one), len(two))
    while start < stop and one[start] == two[start]:
        start += 1
    tail = 0
    while tail < stop - start and one[-1 - tail] == two[-1 - tail]:
        tail += 1
    one, two = one[start : len(one) - tail], two[start : len(two) - tail]
    if not one or not two:
        return min(len(one) + len(two), limit + 1)
    before: list[int] = []
    row = list(range(len(two) + 1))
    for i, letter in enumerate(one, 1):
        older, before, row = before, row, [i]
        for j, other in enumerate(two, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == two[j - 2] and one[i - 2] == other:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
        if min(row) > limit and min(before) > limit:
            return limit + 1
    return min(row[-1], limit + 1)


def did_you_mean(word: str, names: Iterable[str]) -> str | None:
    """The hint `did you mean x?`, or None where no name is near."""
    found = near(word, names, related=True)
    if not found:
        return None
    if len(found) == 1:
        return f"did you mean {found[0]}?"
    return f"did you mean {', '.join(found[:-1])} or {found[-1]}?"
