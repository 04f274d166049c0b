"""A reasoning model's text: its thoughts between `<think>` and `</think>`, and the answer after them."""

from __future__ import annotations

from collections.abc import Iterable

OPEN, CLOSE = "<think>", "</think>"
Parts = tuple[str, str]
"""(thoughts, answer)"""


def split(text: str, thinks: bool, ended: bool = True) -> Parts:
    """The parts of a completion's `text`; `thinks` where the prompt has opened the thoughts already.

    Of a text that has not `ended`, what the next tokens may turn into a tag, or into another character, is left out,
    so that the parts only ever grow.
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
    """The parts of a whole completion, whose prompt may have opened the thoughts: all before the last `</think>`.

    A completion that never stops thinking has no answer.
    """
    thoughts, ended, answer = text.rpartition(CLOSE)
    if ended:
        return thoughts.strip().removeprefix(OPEN).strip(), answer.strip()
    whole = text.strip()
    return (whole.removeprefix(OPEN).strip(), "") if whole.startswith(OPEN) else ("", whole)


def opens(prompt: str) -> bool:
    """Whether a prompt ends in opened thoughts."""
    return prompt.rstrip().endswith(OPEN)


def settled(text: str, ends: Iterable[str]) -> str:
    """`text` without what further tokens may change: half a character, or the beginning of one of `ends`."""
    text = text.rstrip("\ufffd")
    begun = [length for end in ends for length in range(1, len(end)) if text.endswith(end[:length])]
    return text[: len(text) - max(begun, default=0)]
