"""Answers in tags: `<reasoning>…</reasoning> <answer>…</answer>`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Annotated

from pydantic import StringConstraints

REASONING, ANSWER = "reasoning", "answer"
"""The tags that tasks use."""
TagName = Annotated[str, StringConstraints(pattern=r"^\w[\w-]*$")]
"""Tag names, without brackets."""


def last_answer(text: str, reasoning: str = REASONING, answer: str = ANSWER) -> str | None:
    """The stripped content of the last `<answer>` outside the reasoning; None if there is none.

    Unclosed reasoning extends to the end, so an answer after it is part of it.
    """
    spoken = re.sub(rf"<{reasoning}>.*?(?:</{reasoning}>|\Z)", "", text, flags=re.DOTALL)
    answers = re.findall(rf"<{answer}>((?:(?!<{answer}>).)*?)</{answer}>", spoken, flags=re.DOTALL)
    return answers[-1].strip() if answers else None


def may_open_tags(text: str) -> bool:
    """Whether a partial text begins with a tag of `REASONING` or `ANSWER`, or may."""
    begun = text.lstrip()
    return any(begun.startswith(tag) or (begun and tag.startswith(begun)) for tag in (f"<{REASONING}>", f"<{ANSWER}>"))


def tag_counts(text: str, tags: Sequence[str]) -> list[int]:
    """Counts of each opening and closing tag."""
    return [text.count(mark) for tag in tags for mark in (f"<{tag}>", f"</{tag}>")]


def fits(text: str, tags: Sequence[str]) -> bool:
    """Whether `text` has one non-empty block of each tag, in this order.

    Whitespace may surround the blocks, and other text may be between them.
    """
    return set(tag_counts(text, tags)) == {1} and _blocks(tuple(tags)).search(text) is not None


@cache
def _blocks(tags: tuple[str, ...]) -> re.Pattern[str]:
    blocks = (rf"<{tag}>\s*\S.*?</{tag}>" for tag in tags)
    return re.compile(rf"\A\s*{'.*?'.join(blocks)}\s*\Z", re.DOTALL)
