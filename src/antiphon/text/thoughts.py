"""Splits a reasoning model's text into thoughts, between `<think>` and `</think>`, and the answer after them."""

from __future__ import annotations

from collections.abc import Iterable

OPEN, CLOSE = "<think>", "</think>"
Parts = tuple[str, str]
"""(thoughts, answer)"""


def split(text: str, thinks: bool, ended: bool = True) -> Parts:
    """Split a completion's `text`; `thinks` if the prompt has already opened the thoughts.

    Unless `ended`, the end of the text is left out if further tokens may make it a tag or another character, so that
    the parts only grow.
    """
    if not ended:
        text = settled(text, [CLOSE])
    body = text.lstrip()
    if body.startswith(OPEN):
        body, thinks = body.removeprefix(OPEN), True
    elif not ended and OPEN.startswith(body):
        return "", ""
    if not thinks:
        return "", text
    thoughts, _, answer = body.partition(CLOSE)
    return thoughts.lstrip(), answer.lstrip()


def split_ended(text: str) -> Parts:
    """Split a whole completion whose prompt may have opened the thoughts: all text before the last `</think>`.

    A completion with unclosed thoughts has no answer.
    """
    thoughts, ended, answer = text.rpartition(CLOSE)
    if ended:
        return thoughts.strip().removeprefix(OPEN).strip(), answer.strip()
    whole = text.strip()
    return (whole.removeprefix(OPEN).strip(), "") if whole.startswith(OPEN) else ("", whole)


def opens(prompt: str) -> bool:
    """Whether a prompt ends with open thoughts."""
    return prompt.rstrip().endswith(OPEN)


def settled(text: str, ends: Iterable[str]) -> str:
    """`text` without an end that further tokens may change: a partial character or the start of one of `ends`."""
    text = text.rstrip("\ufffd")
    begun = [length for end in ends for length in range(1, len(end)) if text.endswith(end[:length])]
    return text[: len(text) - max(begun, default=0)]
