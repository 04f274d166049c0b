"""Every label of a classifier as a completion, for exact expectations without sampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch

from antiphon.errors import ConfigError, ModelError
from antiphon.models.policy import Policy, Sampling
from antiphon.types import Completion, Prompt


@runtime_checkable
class ListsLabels(Protocol):
    """A policy that can list all its answers: a classifier."""

    blocked: torch.Tensor
    """[V] bool"""

    def every_label(self, prefix: Any, temperature: float = 1.0) -> list[list[Completion]]: ...


class AllLabels:
    """A `Source` whose rollout is every label of a classifier."""

    def __init__(self, policy: Policy) -> None:
        """Raises `ModelError` if the model is not a classifier."""
        if not isinstance(policy, ListsLabels):
            raise ModelError(
                f"only a classifier can list all its answers, and {type(policy.model).__name__} is not one; "
                "learn from samples instead (hypotheses: samples)"
            )
        self.policy: Any = policy
        self.labels = int((~policy.blocked).sum())
        """Number of labels that are not blocked."""

    def rollout(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, seed: int, step: int
    ) -> list[list[Completion]]:
        """Each unblocked label once per prompt, with its log-probability at the sampling temperature.

        Raises `ConfigError` if `n` is not the number of such labels.
        """
        if n != self.labels:
            raise ConfigError(
                f"'rollout.group_size' is {n}, but the model has {self.labels} labels; leave it out, "
                f"or set it to {self.labels}"
            )
        with torch.no_grad():
            return self.policy.every_label(self.policy.encode(prompts), sampling.temperature)
