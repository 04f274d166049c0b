"""What was computed from a prompt, kept for its next use: features extracted for the rollout serve the loss."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from torch import Tensor

from antiphon.types import Prompt

T = TypeVar("T", bound=Tensor | Mapping[str, Tensor])
BUDGET = 256 << 20
"""Bytes kept."""


class PromptCache(Generic[T]):
    """Values by prompt *object*: the same example augmented anew is another prompt.

    A value goes when its prompt does, and the oldest values go when all together are larger than `budget` bytes.
    Threads may share it. It is no cache of cachetools, as values go in the middle of anything, when a prompt is freed.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        self._budget = budget
        self._bytes = 0
        self._values: OrderedDict[int, tuple[weakref.ref[Prompt], T]] = OrderedDict()
        self._lock = threading.RLock()

    def get(self, prompt: Prompt) -> T | None:
        found = self._values.get(id(prompt))
        return None if found is None else found[1]

    def put(self, prompt: Prompt, value: T) -> T:
        key = id(prompt)
        with self._lock:
            self._forget(key)
            # The id may be another's only after this prompt is gone, and its value with it.
            self._values[key] = weakref.ref(prompt, lambda _: self._forget(key)), value
            self._bytes += bytes_of(value)
            while self._bytes > self._budget and len(self._values) > 1:
                self._forget(next(iter(self._values)))
        return value

    def _forget(self, key: int) -> None:
        with self._lock:
            found = self._values.pop(key, None)
            if found is not None:
                self._bytes -= bytes_of(found[1])


def bytes_of(value: Tensor | Mapping[str, Tensor]) -> int:
    """Memory that the tensors take."""
    return value.nbytes if isinstance(value, Tensor) else sum(tensor.nbytes for tensor in value.values())


def share_prepared(policy: Any, other: Any) -> None:
    """Have `policy` take the prompts that `other` prepared, and the other way round, where their processors agree."""
    if type(policy) is type(other) and hasattr(policy, "processor") and _agree(policy.processor, other.processor):
        policy._prepared = other._prepared


def _agree(one: Any, other: Any) -> bool:
    return type(one) is type(other) and _settings(one) == _settings(other)


def _settings(processor: Any) -> tuple[Any, ...]:
    """All that decides what becomes of a prompt."""
    tokenizer = getattr(processor, "tokenizer", None)
    vocabulary = tokenizer.get_vocab() if tokenizer else None
    return processor.to_json_string(), getattr(processor, "chat_template", None), vocabulary
