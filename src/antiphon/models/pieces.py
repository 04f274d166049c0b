"""What each token of a completion writes, as people read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_UNFINISHED = "\ufffd"
"""What decoders write for a token that holds part of a character."""


class Pieces:
    """The text of tokens one by one. Each id is decoded once, so that it costs next to nothing beside a rollout."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._text: dict[int, str] = {}

    def __call__(self, token_ids: Sequence[int]) -> list[str]:
        """[T] strings that put together are the completion, special tokens by their names.

        Of several tokens that make up one character, the last has it and the others are empty.
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
        """Twice the token less the token: decoders drop the space that a first word begins with."""
        if token not in self._text:
            once, twice = self._decode([token]), self._decode([token, token])
            self._text[token] = twice.removeprefix(once) if twice.startswith(once) else once
            if _UNFINISHED in once:
                self._text[token] = _UNFINISHED
        return self._text[token]

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
