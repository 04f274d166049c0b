"""Which token is to blame for which edit: the alignment of hypothesis and reference, brought back to tokens."""

from __future__ import annotations

from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

from antiphon.text.alignment import Op, align, units
from antiphon.text.normalize import normalizer

Span = tuple[int, int]
"""From a character of a text to the one after the last."""


def edit_credit(
    text: str, spans: Sequence[Span | None], reference: str, language: str | None, stopped: bool
) -> list[float]:
    """c_t − c̄ for each token of a hypothesis: minus the edits it is blamed for, less their mean; they sum to 0.

    `spans` say which characters of `text` each token wrote; None for tokens that are no part of the transcript (a
    language tag). The last token is the stop token when `stopped`. Texts are compared as the error rate does:
    normalized, in words, or in characters where a script has no spaces. A substitution or insertion is shared by
    the tokens of its word. A deletion goes to the last token of the word before the gap; with none before it, to
    the first token of the word after; at the end, to the stop token, or the last one where there is none. Tokens
    that wrote nothing the comparison sees are neutral: they get 0, as if their c were c̄.
    """
    if not spans:
        return []
    clean = normalizer(language)
    heard, end = clean(text), len(spans) - 1
    writers = [_writers(source, spans) or [end] for source in _sources(text, heard)]
    blame = dict.fromkeys([place for tokens in writers for place in tokens], 0.0)
    if stopped or not blame:
        blame.setdefault(end, 0.0)
    for place, cost in _edits(align(units(clean(reference)), units(heard)), writers, max(blame)):
        blame[place] -= cost
    mean = sum(blame.values()) / len(blame)
    return [blame.get(place, mean) - mean for place in range(len(spans))]


def _edits(ops: Sequence[Op], writers: Sequence[Sequence[int]], end: int) -> list[tuple[int, float]]:
    """Each edit of the alignment as (token, cost); `writers` are the tokens of each unit of the hypothesis."""
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
    """The tokens that wrote any of the characters in `source`."""
    return [place for place, span in enumerate(spans) if span and span[0] < source[1] and source[0] < span[1]]


def _sources(text: str, cleaned: str) -> list[Span]:
    """For each unit of the normalized text, the characters of the original that it comes from; (0, 0) for none."""
    folded = text.casefold()
    origin: list[int | None] = [None] * len(cleaned)
    for block in Levenshtein.opcodes(folded if len(folded) == len(text) else text, cleaned):
        if block.tag in ("equal", "replace"):
            for offset in range(block.dest_end - block.dest_start):
                origin[block.dest_start + offset] = block.src_start + offset
    sources, start = [], 0
    for unit in units(cleaned):
        start = cleaned.index(unit, start)
        places = [place for place in origin[start : start + len(unit)] if place is not None]
        sources.append((min(places), max(places) + 1) if places else (0, 0))
        start += len(unit)
    return sources
