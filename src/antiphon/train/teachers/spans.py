"""Where two tokenizations of one answer meet: spans of characters that begin and end a token on both sides."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

TRAILING = string.whitespace + "\ufffd"
"""White space, and what tokenizers write for a character that was cut in two."""


@dataclass(frozen=True)
class Reading:
    """The tokens that say an answer, among others that frame it."""

    boundaries: dict[int, int]
    """Characters of the answer that precede a boundary between tokens -> tokens that precede it."""
    start: int
    """Tokens before the answer: framing."""
    stop: int | None
    """Place of the stop token, None where the answer was cut short."""


class Span(NamedTuple):
    """Tokens `student[0]` to `student[1]` − 1 say what the teacher's tokens `teacher[0]` to `teacher[1]` − 1 say."""

    student: tuple[int, int]
    teacher: tuple[int, int]


def prefixes(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """The text of the first 0, 1, … tokens, special ones written out."""
    return [tokenizer.decode(list(ids[:end]), clean_up_tokenization_spaces=False) for end in range(len(ids) + 1)]


def read(texts: Sequence[str], answer: str, stops: bool) -> Reading | None:
    """The tokens of `answer` among those with the prefixes `texts`, which end with it; a stop token follows if it
    `stops`.

    White space around the answer belongs to the token that it is part of. A boundary within a character, where the
    prefix is no prefix of the text, is none. None when the text does not end with the answer.
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
    """The smallest spans that both sides have, in order, and that of the stop tokens."""
    common = sorted(student.boundaries.keys() & teacher.boundaries.keys())
    ends = [(student.boundaries[place], teacher.boundaries[place]) for place in common]
    spans = [Span((a, c), (b, d)) for (a, b), (c, d) in pairwise(ends)]
    if student.stop is not None and teacher.stop is not None:
        spans.append(Span((student.stop, student.stop + 1), (teacher.stop, teacher.stop + 1)))
    return spans
