"""The text of each token of a completion, for display."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_UNFINISHED = "\ufffd"
"""Decoders return this for a token that is only part of a character."""


class Pieces:
    """Decodes tokens one by one. Each id is decoded once and cached, so the cost beside a rollout is negligible."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._text: dict[int, str] = {}

    def __call__(self, token_ids: Sequence[int]) -> list[str]:
        """[T] strings whose concatenation is the completion; special tokens appear by name.

        If several tokens make up one character, the last one gets it and the others are empty.
        """
        pieces: list[str] = []
        begun: list[int] = []
        for token in token_ids:
            text = self._of(token)
            if text == _UNFINISHED:
                begun.append(token)
                text = self._decode(begun)
            if _UNFINISHED in text:
                pieces.append("")
            else:
                begun = []
                pieces.append(text)
        return pieces

    def _of(self, token: int) -> str:
        """The token's text, as the difference of two copies and one: decoders drop a leading space."""
        if token not in self._text:
            once, twice = self._decode([token]), self._decode([token, token])
            self._text[token] = twice.removeprefix(once) if twice.startswith(once) else once
            if _UNFINISHED in once:
                self._text[token] = _UNFINISHED
        return self._text[token]

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
