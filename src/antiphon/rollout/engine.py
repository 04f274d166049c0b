"""Engines turn prompts into completions. This one samples in process, from the very weights being trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from antiphon.models.policy import Policy, Sampling, uniforms_for
from antiphon.types import Completion, Prompt


class Engine(Protocol):
    """What the loop needs of a sampler."""

    def rollout(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, seed: int, step: int
    ) -> list[list[Completion]]:
        """`n` completions for each prompt, in order. Randomness is (seed, step, prompt id, sample index)."""
        ...

    def greedy(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Completion]:
        """The most probable token at each step, one completion a prompt."""
        ...


class InProcessEngine:
    """Decodes with the policy itself: each distinct prompt is heard once and its group shares the prefix.

    `max_sequences` completions are decoded side by side; more are done in turn, clips of similar length together.
    """

    def __init__(self, policy: Policy, max_sequences: int = 256) -> None:
        self.policy = policy
        self.max_sequences = max_sequences

    def rollout(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, seed: int, step: int
    ) -> list[list[Completion]]:
        draws = [uniforms_for(seed, step, p.id, range(n), sampling.max_new_tokens) for p in prompts]
        return self._in_batches(prompts, n, sampling, draws)

    def greedy(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Completion]:
        sampling = Sampling(temperature=0.0, max_new_tokens=max_new_tokens)
        return [group[0] for group in self._in_batches(prompts, 1, sampling, None)]

    @torch.no_grad()
    def _in_batches(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, draws: list[np.ndarray] | None
    ) -> list[list[Completion]]:
        order = sorted(range(len(prompts)), key=lambda i: -prompts[i].seconds)
        size = max(self.max_sequences // n, 1)
        groups: dict[int, list[Completion]] = {}
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            prefix = self.policy.encode([prompts[i] for i in chosen])
            uniforms = None if draws is None else np.concatenate([draws[i] for i in chosen])
            groups.update(zip(chosen, self.policy.sample(prefix, n, sampling, uniforms), strict=True))
        return [groups[i] for i in range(len(prompts))]
