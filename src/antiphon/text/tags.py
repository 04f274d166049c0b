"""Answers in tags: `<reasoning>…</reasoning> <answer>…</answer>`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Annotated

from pydantic import StringConstraints

REASONING, ANSWER = "reasoning", "answer"
"""The tags that tasks know."""
TagName = Annotated[str, StringConstraints(pattern=r"^\w[\w-]*$")]
"""Without its brackets."""


def last_answer(text: str, reasoning: str = REASONING, answer: str = ANSWER) -> str | None:
    """What stands in the last `<answer>` outside of the reasoning, stripped; None where there is none.

    A reasoning that is not closed goes on to the end, so an answer after it is part of it.
    """
    spoken = re.sub(rf"<{reasoning}>.*?(?:</{reasoning}>|\Z)", "", text, flags=re.DOTALL)
    answers = re.findall(rf"<{answer}>((?:(?!<{answer}>).)*?)</{answer}>", spoken, flags=re.DOTALL)
    return answers[-1].strip() if answers else None


def may_open_tags(text: str) -> bool:
    """Whether a text in the making begins with a tag of `REASONING` or `ANSWER`, or may turn out to."""
    begun = text.lstrip()
    return any(begun.startswith(tag) or (begun and tag.startswith(begun)) for tag in (f"<{REASONING}>", f"<{ANSWER}>"))


def tag_counts(text: str, tags: Sequence[str]) -> list[int]:
    """How often each opening and each closing tag occurs."""
    return [text.count(mark) for tag in tags for mark in (f"<{tag}>", f"</{tag}>")]


def fits(text: str, tags: Sequence[str]) -> bool:
    """Whether `text` is a block of each tag, none empty, each once and in this order.

    White space may stand around the blocks, and other text between them.
    """
    return set(tag_counts(text, tags)) == {1} and _blocks(tuple(tags)).search(text) is not None


@cache
def _blocks(tags: tuple[str, ...]) -> re.Pattern[str]:
    blocks = (rf"<{tag}>\s*\S.*?</{tag}>" for tag in tags)
    return re.compile(rf"\A\s*{'.*?'.join(blocks)}\s*\Z", re.DOTALL)
