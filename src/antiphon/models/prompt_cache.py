"""What was computed from a prompt, kept for its next use: features extracted for the rollout serve the loss."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from antiphon.types import Prompt

T = TypeVar("T")
PREPARED_PROMPTS = 512
"""Prompts remembered."""


class PromptCache(Generic[T]):
    """Values by prompt *object*: the same example augmented anew is another prompt. The oldest are forgotten."""

    def __init__(self, size: int = PREPARED_PROMPTS) -> None:
        self._size = size
        self._values: OrderedDict[int, tuple[Prompt, T]] = OrderedDict()

    def get(self, prompt: Prompt) -> T | None:
        # The prompt is kept beside its value, so that its id cannot be another's.
        found = self._values.get(id(prompt))
        return None if found is None else found[1]

    def put(self, prompt: Prompt, value: T) -> T:
        self._values[id(prompt)] = (prompt, value)
        if len(self._values) > self._size:
            self._values.popitem(last=False)
        return value
