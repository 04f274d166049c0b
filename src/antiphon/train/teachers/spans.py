"""Aligns two tokenizations of one answer: spans of characters between token boundaries that both share."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

TRAILING = string.whitespace + "\ufffd"
"""White space, and the replacement character that tokenizers write for an incomplete character."""


@dataclass(frozen=True)
class Reading:
    """The token boundaries of an answer within a completion that may frame it."""

    boundaries: dict[int, int]
    """Position of a token boundary in characters of the answer -> number of tokens before it."""
    start: int
    """Number of framing tokens before the answer."""
    stop: int | None
    """Index of the stop token, None if the answer was cut short."""


class Span(NamedTuple):
    """Half-open token ranges of student and teacher that cover the same characters."""

    student: tuple[int, int]
    teacher: tuple[int, int]


def prefixes(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """The text of the first 0, 1, … tokens, including special tokens."""
    return [tokenizer.decode(list(ids[:end]), clean_up_tokenization_spaces=False) for end in range(len(ids) + 1)]


def read(texts: Sequence[str], answer: str, stops: bool) -> Reading | None:
    """The token boundaries of `answer` in a text with the token prefixes `texts`; `stops` if a stop token follows.

    White space around the answer belongs to the adjacent token. A position inside a character, where the decoded
    prefix is not a prefix of the text, is no boundary. Returns None if the text does not end with the answer.
    """
    whole, answer = texts[-1], answer.rstrip(TRAILING)
    end = len(whole.rstrip(TRAILING))
    if not whole[:end].endswith(answer):
        return None
    begin = end - len(answer)
    boundaries: dict[int, int] = {}
    for tokens, text in enumerate(texts):
        place = len(text)
        if not whole.startswith(text):
            continue
        if place <= begin and not whole[place:begin].strip():
            boundaries[0] = tokens
        elif place > begin:
            boundaries.setdefault(min(place, end) - begin, tokens)
    if 0 not in boundaries:
        return None
    return Reading(boundaries, boundaries[0], len(texts) - 1 if stops else None)


def align(student: Reading, teacher: Reading) -> list[Span]:
    """The smallest spans between shared boundaries, in order, then that of the stop tokens."""
    common = sorted(student.boundaries.keys() & teacher.boundaries.keys())
    ends = [(student.boundaries[place], teacher.boundaries[place]) for place in common]
    spans = [Span((a, c), (b, d)) for (a, b), (c, d) in pairwise(ends)]
    if student.stop is not None and teacher.stop is not None:
        spans.append(Span((student.stop, student.stop + 1), (teacher.stop, teacher.stop + 1)))
    return spans
