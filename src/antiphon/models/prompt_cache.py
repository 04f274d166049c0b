"""Caches what is computed from a prompt: features extracted for the rollout are used again by the loss."""

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
"""Default size in bytes."""


class PromptCache(Generic[T]):
    """A thread-safe cache keyed by prompt *object*: the same example with new augmentation is another prompt.

    An entry is dropped when its prompt is freed; the oldest entries are dropped when the total exceeds `budget` bytes.
    cachetools does not fit, as it does not allow removal at any moment, such as when a prompt is freed.
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
            # An id is reused only after this prompt, and with it its entry, is gone.
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
    """Size of the tensors in bytes."""
    return value.nbytes if isinstance(value, Tensor) else sum(tensor.nbytes for tensor in value.values())


def share_prepared(policy: Any, other: Any) -> None:
    """Let two policies share prepared prompts if their processors are equal."""
    if type(policy) is type(other) and hasattr(policy, "processor") and _agree(policy.processor, other.processor):
        policy._prepared = other._prepared


def _agree(one: Any, other: Any) -> bool:
    return type(one) is type(other) and _settings(one) == _settings(other)


def _settings(processor: Any) -> tuple[Any, ...]:
    """Everything that determines how a prompt is processed."""
    tokenizer = getattr(processor, "tokenizer", None)
    vocabulary = tokenizer.get_vocab() if tokenizer else None
    return processor.to_json_string(), getattr(processor, "chat_template", None), vocabulary
