"""Alignment of reference and hypothesis, and error counts from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import regex
from rapidfuzz.distance import Levenshtein

from antiphon.text.normalize import normalizer

# Scripts without spaces between words, and Hangul, whose spacing varies; both kana share the sound mark.
_BY_CHARACTER = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}ー]"
_UNIT = regex.compile(rf"{_BY_CHARACTER}\p{{M}}*|(?:(?!{_BY_CHARACTER})\S)+")
_NEVER = 1 << 60
_IDLE_SPACE = regex.compile(rf"(?<={_BY_CHARACTER}\p{{M}}*)\s+|\s+(?={_BY_CHARACTER})")


@dataclass(frozen=True, slots=True)
class Op:
    """One step of an alignment. `ref` and `hyp` are indices of units; None for an insertion or deletion."""

    kind: Literal["hit", "substitution", "deletion", "insertion"]
    ref: int | None
    hyp: int | None


@dataclass(frozen=True, slots=True)
class Errors:
    """Error counts of a minimal edit alignment, in words or characters. Sum them for a corpus."""

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    hits: int = 0

    @property
    def edits(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def ref_len(self) -> int:
        return self.hits + self.substitutions + self.deletions

    @property
    def hyp_len(self) -> int:
        return self.hits + self.substitutions + self.insertions

    @property
    def rate(self) -> float:
        """Edits per reference unit, as a fraction, which may exceed 1.

        An empty reference counts as one unit: each inserted word costs 1, an empty hypothesis 0.
        """
        return self.edits / max(self.ref_len, 1)

    def __add__(self, other: Errors) -> Errors:
        return Errors(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.hits + other.hits,
        )


def units(text: str) -> list[str]:
    """The units of WER: words split at whitespace, but single characters with their combining marks in scripts
    without spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) and in Korean, whose spacing is
    inconsistent.

    The script decides, not a language tag, so reference and hypothesis are always split alike.
    """
    return _UNIT.findall(text)


def characters(text: str) -> list[str]:
    """The units of CER: code points, including the spaces between words, as in jiwer.

    Spaces beside a script that is counted by character are not counted.
    """
    return list(_IDLE_SPACE.sub("", " ".join(text.split())))


def align(ref_units: Sequence[str], hyp_units: Sequence[str]) -> list[Op]:
    """A minimal edit alignment (Levenshtein, unit costs), in order; each unit is in one `Op`.

    Of several minimal ones, that of NIST's sclite: an insertion or deletion costs 3 there and a substitution 4, so the
    fewest substitutions win; among equals, read from the end, a hit or substitution goes before an insertion, and that
    before a deletion. sclite by itself may take three deletions and three insertions for five substitutions; here the
    number of edits is always the least.
    """
    shorter = min(len(ref_units), len(hyp_units))
    tail = next((n for n in range(shorter) if ref_units[-1 - n] != hyp_units[-1 - n]), shorter)
    ref_end, hyp_end = len(ref_units) - tail, len(hyp_units) - tail
    ops = [Op("hit", ref_end + place, hyp_end + place) for place in range(tail)]
    return _traced(ref_units[:ref_end], hyp_units[:hyp_end]) + ops


def count_errors(ref_units: Sequence[str], hyp_units: Sequence[str]) -> Errors:
    """Count substitutions, deletions, insertions and hits of the alignment from `align`, without making it."""
    edits = edit_count(ref_units, hyp_units)
    longer = len(hyp_units) - len(ref_units)
    if edits == abs(longer):
        substitutions = 0
    else:
        cost = _cost(ref_units, hyp_units)
        substitutions = Levenshtein.distance(ref_units, hyp_units, weights=(cost, cost, cost + 1)) - cost * edits
    moved = (edits - substitutions - abs(longer)) // 2
    deletions, insertions = moved + max(-longer, 0), moved + max(longer, 0)
    return Errors(substitutions, deletions, insertions, hits=len(ref_units) - substitutions - deletions)


def edit_count(ref_units: Sequence[str], hyp_units: Sequence[str]) -> int:
    """The number of edits alone, which is faster."""
    return Levenshtein.distance(ref_units, hyp_units)


def _cost(ref_units: Sequence[str], hyp_units: Sequence[str]) -> int:
    """What an insertion or deletion costs, where a substitution costs 1 more: so much that the cheapest alignment has
    the fewest edits, and of those the fewest substitutions."""
    return min(len(ref_units), len(hyp_units)) + 1


def _traced(ref_units: Sequence[str], hyp_units: Sequence[str]) -> list[Op]:
    """The alignment by dynamic programming, within the band that minimal alignments do not leave."""
    if not (ref_units and hyp_units):
        return [Op("deletion", place, None) for place in range(len(ref_units))] + [
            Op("insertion", None, place) for place in range(len(hyp_units))
        ]
    costs, deletions = _costs(ref_units, hyp_units)
    cost = _cost(ref_units, hyp_units)
    ops: list[Op] = []
    ref, hyp = len(ref_units), len(hyp_units)
    while ref or hyp:
        column = hyp - ref + deletions
        same = bool(ref and hyp) and ref_units[ref - 1] == hyp_units[hyp - 1]
        pair = costs[ref - 1, column] + (0 if same else cost + 1) if ref and hyp else _NEVER
        deletion = costs[ref - 1, column + 1] + cost if ref else _NEVER
        insertion = costs[ref, column - 1] + cost if hyp and column else _NEVER
        if pair <= deletion and pair <= insertion:
            ref, hyp = ref - 1, hyp - 1
            ops.append(Op("hit" if same else "substitution", ref, hyp))
        elif deletion < insertion:
            ref -= 1
            ops.append(Op("deletion", ref, None))
        else:
            hyp -= 1
            ops.append(Op("insertion", None, hyp))
    return ops[::-1]


def _costs(ref_units: Sequence[str], hyp_units: Sequence[str]) -> tuple[np.ndarray, int]:
    """The least cost [R + 1, band + 1] of aligning the first r units of the reference with the first h of the
    hypothesis, at [r, h − r + most], and `most`, the deletions that a minimal alignment has at most."""
    edits, longer = edit_count(ref_units, hyp_units), len(hyp_units) - len(ref_units)
    most, band = (edits - longer) // 2, edits + 1
    cost = _cost(ref_units, hyp_units)
    numbers: dict[str, int] = {}
    ref, hyp = ([numbers.setdefault(one, len(numbers)) for one in units] for units in (ref_units, hyp_units))
    heard = np.full(most + 1 + len(hyp) + band + 1, -1)
    heard[most + 1 : most + 1 + len(hyp)] = hyp
    costs = np.full((len(ref) + 1, band + 1), _NEVER)
    steps = cost * np.arange(band)
    costs[0, most:band] = steps[: band - most]
    for row, said in enumerate(ref, start=1):
        pairs = costs[row - 1, :band] + np.where(heard[row : row + band] == said, 0, cost + 1)
        least = np.minimum(pairs, costs[row - 1, 1:] + cost)
        least = np.minimum.accumulate(least - steps) + steps
        least[max(len(hyp) - row + most + 1, 0) :] = _NEVER
        costs[row, :band] = least
    return costs, most


def word_errors(
    reference: str, hypothesis: str, language: str | None = None, *, normalizer_name: str = "default"
) -> Errors:
    """Errors over `units` of the normalized texts. Raises `ConfigError` for an unknown normalizer."""
    ref, hyp = normalizer(language, normalizer_name).pair(reference, hypothesis)
    return count_errors(units(ref), units(hyp))


def char_errors(
    reference: str, hypothesis: str, language: str | None = None, *, normalizer_name: str = "default"
) -> Errors:
    """Errors over `characters` of the normalized texts. Raises `ConfigError` for an unknown normalizer."""
    ref, hyp = normalizer(language, normalizer_name).pair(reference, hypothesis)
    return count_errors(characters(ref), characters(hyp))
