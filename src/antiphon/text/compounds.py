"""Words that are written together in one text and apart in the other: "white paper" and "whitepaper"."""

from __future__ import annotations

from collections.abc import Sequence


def as_in(reference: Sequence[str], hypothesis: Sequence[str]) -> list[str]:
    """The hypothesis, joined and parted as the reference where the letters are the same.

    The alignment is minimal with such matches at no cost, of any number of words with one (as in kaldialign), so that
    the edits that are left are those of its `merge_compounds`, in words of the reference.
    """
    together = _matches(reference, hypothesis)
    if not together:
        return list(hypothesis)
    cost = {(0, 0): 0}
    step: dict[tuple[int, int], tuple[int, int]] = {}
    for i in range(len(reference) + 1):
        for j in range(len(hypothesis) + 1):
            ways = [(cost[i - m, j - n], (m, n)) for m, n in together.get((i, j), ())]
            if i and j:
                ways.append((cost[i - 1, j - 1] + (reference[i - 1] != hypothesis[j - 1]), (1, 1)))
            ways += [(cost[i - 1, j] + 1, (1, 0))] if i else []
            ways += [(cost[i, j - 1] + 1, (0, 1))] if j else []
            if ways:
                cost[i, j], step[i, j] = min(ways, key=lambda way: way[0])
    words: list[str] = []
    i, j = len(reference), len(hypothesis)
    while i or j:
        m, n = step[i, j]
        words += reversed(reference[i - m : i] if (m, n) in together.get((i, j), ()) else hypothesis[j - n : j])
        i, j = i - m, j - n
    return words[::-1]


def _matches(reference: Sequence[str], hypothesis: Sequence[str]) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """By the ends of what matches: how many words of either are the same word of the other."""
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for few, many, swapped in ((reference, hypothesis, False), (hypothesis, reference, True)):
        for start, first in enumerate(many):
            for place, word in enumerate(few):
                if len(first) >= len(word) or not word.startswith(first):
                    continue
                end, text = start + 1, first
                while end < len(many) and len(text) < len(word):
                    text, end = text + many[end], end + 1
                if text == word:
                    n = end - start
                    ends, sizes = ((end, place + 1), (n, 1)) if swapped else ((place + 1, end), (1, n))
                    found.setdefault(ends, []).append(sizes)
    return found
