"""A reasoning model's text: its thoughts, and the answer after them."""

from __future__ import annotations

from antiphon.serve.stops import settled

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
