"""Alignment of reference and hypothesis, and error counts from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import regex
from rapidfuzz.distance import Levenshtein

from antiphon.text.normalize import normalizer

# Scripts without spaces between words, and Hangul, whose spacing varies; both kana share the sound mark.
_BY_CHARACTER = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}ー]"
_UNIT = regex.compile(rf"{_BY_CHARACTER}\p{{M}}*|(?:(?!{_BY_CHARACTER})\S)+")
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
    """A minimal edit alignment (Levenshtein, unit costs), in order; each unit is in one `Op`."""
    ops: list[Op] = []
    for block in Levenshtein.opcodes(ref_units, hyp_units):
        refs = range(block.src_start, block.src_end)
        hyps = range(block.dest_start, block.dest_end)
        match block.tag:
            case "equal":
                ops += [Op("hit", ref, hyp) for ref, hyp in zip(refs, hyps, strict=True)]
            case "replace":
                ops += [Op("substitution", ref, hyp) for ref, hyp in zip(refs, hyps, strict=True)]
            case "delete":
                ops += [Op("deletion", ref, None) for ref in refs]
            case "insert":
                ops += [Op("insertion", None, hyp) for hyp in hyps]
    return ops


def count_errors(ref_units: Sequence[str], hyp_units: Sequence[str]) -> Errors:
    """Count substitutions, deletions, insertions and hits of the alignment from `align`."""
    edits = [edit.tag for edit in Levenshtein.editops(ref_units, hyp_units)]
    substitutions, deletions, insertions = (edits.count(tag) for tag in ("replace", "delete", "insert"))
    return Errors(substitutions, deletions, insertions, hits=len(ref_units) - substitutions - deletions)


def word_errors(
    reference: str, hypothesis: str, language: str | None = None, *, normalizer_name: str = "default"
) -> Errors:
    """Errors over `units` of the normalized texts. Raises `ConfigError` for an unknown normalizer."""
    clean = normalizer(language, normalizer_name)
    return count_errors(units(clean(reference)), units(clean(hypothesis)))


def char_errors(
    reference: str, hypothesis: str, language: str | None = None, *, normalizer_name: str = "default"
) -> Errors:
    """Errors over `characters` of the normalized texts. Raises `ConfigError` for an unknown normalizer."""
    clean = normalizer(language, normalizer_name)
    return count_errors(characters(clean(reference)), characters(clean(hypothesis)))
