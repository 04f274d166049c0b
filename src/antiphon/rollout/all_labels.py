"""Every label of a classifier as a completion of its own: with all of them there, an expectation needs no sampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch

from antiphon.errors import ConfigError, ModelError
from antiphon.models.policy import Policy, Sampling
from antiphon.types import Completion, Prompt


@runtime_checkable
class ListsLabels(Protocol):
    """A policy whose answers can all be listed: a classifier."""

    blocked: torch.Tensor
    """[V] bool"""

    def every_label(self, prefix: Any, temperature: float = 1.0) -> list[list[Completion]]: ...


class AllLabels:
    """A `Source` whose rollout is the whole support of a classifier."""

    def __init__(self, policy: Policy) -> None:
        """Raises `ModelError` for a model that is no classifier: its answers cannot be listed."""
        if not isinstance(policy, ListsLabels):
            raise ModelError(
                f"only a classifier's answers can all be listed, and {type(policy.model).__name__} is none; "
                "learn from samples instead (hypotheses: samples)"
            )
        self.policy: Any = policy
        self.labels = int((~policy.blocked).sum())
        """How many may be answered."""

    def rollout(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, seed: int, step: int
    ) -> list[list[Completion]]:
        """Each label that is not blocked once for each prompt, its log-probability at the sampling temperature.

        Raises `ConfigError` when `n` is not the number of such labels.
        """
        if n != self.labels:
            raise ConfigError(
                f"'rollout.group_size' is {n} and the model has {self.labels} labels; leave it out, "
                f"or set it to {self.labels}"
            )
        with torch.no_grad():
            return self.policy.every_label(self.policy.encode(prompts), sampling.temperature)
