"""Assigns edits to tokens, from the alignment of hypothesis and reference."""

from __future__ import annotations

from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

from antiphon.text.alignment import Op, align, units
from antiphon.text.normalize import normalizer

Span = tuple[int, int]
"""The first character and the one after the last."""


def edit_credit(
    text: str, spans: Sequence[Span | None], reference: str, language: str | None, stopped: bool
) -> list[float]:
    """Per-token credit c_t − c̄, where −c_t is the number of edits assigned to token t. The credits sum to 0.

    `spans` are the characters of `text` of each token; None for tokens outside the transcript (a language tag). If
    `stopped`, the last token is the stop token. Texts are compared as for the error rate: normalized, in words, or in
    characters for scripts without spaces. The tokens of a word share its substitution or insertion. A deletion goes
    to the last token of the word before the gap, or if there is none, to the first token of the word after it; at
    the end, to the stop token, or to the last token if there is none. Tokens without any compared text get 0, as if
    c_t were c̄.
    """
    if not spans:
        return []
    compared, hypothesis = normalizer(language).pair(reference, text)
    end = len(spans) - 1
    writers = [_writers(source, spans) or [end] for source in _sources(text, hypothesis)]
    blame = dict.fromkeys([place for tokens in writers for place in tokens], 0.0)
    if stopped or not blame:
        blame.setdefault(end, 0.0)
    for place, cost in _edits(align(units(compared), units(hypothesis)), writers, max(blame)):
        blame[place] -= cost
    mean = sum(blame.values()) / len(blame)
    return [blame.get(place, mean) - mean for place in range(len(spans))]


def _edits(ops: Sequence[Op], writers: Sequence[Sequence[int]], end: int) -> list[tuple[int, float]]:
    """The edits of the alignment as (token, cost); `writers` are the tokens of each hypothesis unit."""
    edits: list[tuple[int, float]] = []
    before: int | None = None
    for place, op in enumerate(ops):
        if op.hyp is not None:
            if op.kind != "hit":
                edits += [(token, 1 / len(writers[op.hyp])) for token in writers[op.hyp]]
            before = op.hyp
            continue
        after = next((later.hyp for later in ops[place:] if later.hyp is not None), None)
        if after is None:
            edits.append((end, 1.0))
        else:
            edits.append((writers[after][0] if before is None else writers[before][-1], 1.0))
    return edits


def _writers(source: Span, spans: Sequence[Span | None]) -> list[int]:
    """The tokens that overlap the characters in `source`."""
    return [place for place, span in enumerate(spans) if span and span[0] < source[1] and source[0] < span[1]]


def _sources(text: str, cleaned: str) -> list[Span]:
    """The span of original characters for each unit of the normalized text; (0, 0) if there is none.

    A word that is wholly new stands for the character that it was put beside: those of "forty seven" for "47".
    """
    folded = text.casefold()
    origin: list[int | None] = [None] * len(cleaned)
    new: dict[int, int] = {}
    for block in Levenshtein.opcodes(folded if len(folded) == len(text) else text, cleaned):
        if block.tag in ("equal", "replace"):
            for offset in range(block.dest_end - block.dest_start):
                origin[block.dest_start + offset] = block.src_start + offset
        elif block.tag == "insert" and (beside := _beside(text, block.src_start)) is not None:
            new.update(dict.fromkeys(range(block.dest_start, block.dest_end), beside))
    sources, start = [], 0
    for unit in units(cleaned):
        start = cleaned.index(unit, start)
        places = [place for place in origin[start : start + len(unit)] if place is not None]
        places = places or [new[place] for place in range(start, start + len(unit)) if place in new]
        sources.append((min(places), max(places) + 1) if places else (0, 0))
        start += len(unit)
    return sources


def _beside(text: str, place: int) -> int | None:
    """The character before a place between characters, or after it where that is a space; None beside none."""
    near = [one for one in (place - 1, place) if 0 <= one < len(text) and not text[one].isspace()]
    return near[0] if near else None
