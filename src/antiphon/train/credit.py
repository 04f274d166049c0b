"""Per-token credit: how a completion's tokens contribute to its edits against the reference."""

from __future__ import annotations

from typing import Any

from antiphon.errors import ConfigError
from antiphon.models.policy import Policy, emits_tokens
from antiphon.tasks.task import words_of
from antiphon.text.credit import Span, edit_credit
from antiphon.types import Group


class AlignmentCredit:
    """Centered credit c_t − c̄ (see `edit_credit`) for each token of each completion of a group."""

    def __init__(self, policy: Policy) -> None:
        """Raises `ConfigError` if the policy does not emit tokens."""
        if not emits_tokens(policy):
            raise ConfigError("'algorithm.credit': alignment is for models that emit tokens; leave it out")
        self.tokenizer = policy.tokenizer

    def __call__(self, group: Group) -> list[list[float]]:
        language = group.example.language or group.prompt.language
        rows = []
        for completion, content in zip(group.completions, group.contents, strict=True):
            answer = words_of(content)
            spans = token_spans(self.tokenizer, completion.token_ids, completion.text, answer)
            stopped = completion.finish_reason == "stop"
            rows.append(edit_credit(answer, spans, group.example.text, language, stopped))
        return rows


def token_spans(tokenizer: Any, token_ids: tuple[int, ...], text: str, answer: str) -> list[Span | None]:
    """The characters of `answer` that each token covers; None for framing, special tokens and incomplete characters.

    `text` is the whole decoded completion, which contains `answer`. Tokens that make up one character share it.
    """
    start = text.rfind(answer) if answer else -1
    if start < 0:
        return [None] * len(token_ids)
    prefixes = [list(token_ids[: place + 1]) for place in range(len(token_ids))]
    ends = [_agreeing(prefix, text) for prefix in tokenizer.batch_decode(prefixes, skip_special_tokens=True)]
    spans: list[Span | None] = [None] * len(token_ids)
    for place in range(len(ends)):
        begin = ends[place - 1] if place else 0
        finished = next((later for later in ends[place:] if later > begin), None)
        special = token_ids[place] in tokenizer.all_special_ids
        if finished is not None and not special:
            span = (max(begin - start, 0), min(finished - start, len(answer)))
            spans[place] = span if span[0] < span[1] else None
    return spans


def _agreeing(prefix: str, text: str) -> int:
    """Length of the common prefix of `prefix` and `text`; an incomplete character at its end does not count."""
    length = min(len(prefix), len(text))
    while prefix[:length] != text[:length]:
        length -= 1
    return length
