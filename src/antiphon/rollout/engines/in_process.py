"""Samples in the training process, from the weights being trained."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
from pydantic import Field, PositiveInt

from antiphon.config import Settings as StrictSettings
from antiphon.config.rollout import Rollout
from antiphon.errors import ModelError
from antiphon.models.decoding import DecodesTokens, Decoding, Row
from antiphon.models.policy import Policy, Sampling, uniforms_for
from antiphon.models.prefix import Prefix, join
from antiphon.rollout.engine import Capabilities
from antiphon.types import Completion, Prompt

REFILL_SHARE = 0.25
"""New prompts wait until this share of the limits is free, so that several enter together."""

MIN_LENGTH_RATIO = 0.75
"""Prompts are encoded together if each has at least this share of the longest's positions: the rest is padding, which
costs as much as a position."""


class Settings(StrictSettings):
    """Options of the engine `in_process`."""

    max_prompts: PositiveInt | None = Field(
        default=None,
        description="The most prompts to decode at once; by default only `rollout.max_tokens` limits them.",
    )


def build(policy: Policy, rollout: Rollout, settings: Settings) -> InProcessEngine:
    """The engine with a recipe's settings."""
    return InProcessEngine(policy, rollout.max_tokens, settings.max_prompts)


class InProcessEngine:
    """Decodes with the policy itself: each distinct prompt is encoded once, and its group shares the prefix.

    Long clips come first, so that clips encoded together have similar lengths. Prompts beyond the limits wait:
    autoregressive models admit new prompts as others finish (continuous batching), other models run batch by batch.
    """

    capabilities = Capabilities()

    def __init__(self, policy: Policy, max_tokens: int | None = 32768, max_prompts: int | None = None) -> None:
        """Hold at most `max_tokens` positions (prompts, and completions at their longest) and `max_prompts` prompts at
        once. A prompt above the limit runs alone."""
        self.policy = policy
        self.max_tokens = math.inf if max_tokens is None else max_tokens
        self.max_prompts = math.inf if max_prompts is None else max_prompts

    def sync(self, policy: Policy, version: int) -> None:
        """Nothing to copy: the weights are the policy's own."""
        self.policy = policy
        policy.version = version

    def rollout(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, seed: int, step: int
    ) -> list[list[Completion]]:
        draws = [uniforms_for(seed, step, p.id, range(n), sampling.max_new_tokens) for p in prompts]
        return self._complete(prompts, n, sampling, draws)

    def greedy(
        self, prompts: Sequence[Prompt], max_new_tokens: int, concurrency: int | None = None
    ) -> list[Completion]:
        """See `Engine.greedy`; with `concurrency`, that many prompts at a time, whatever their length."""
        engine = self if concurrency is None else InProcessEngine(self.policy, None, concurrency)
        sampling = Sampling(temperature=0.0, max_new_tokens=max_new_tokens, shorten=True)
        return [group[0] for group in engine._complete(prompts, 1, sampling, None)]

    @torch.no_grad()
    def _complete(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, draws: list[np.ndarray] | None
    ) -> list[list[Completion]]:
        waiting = deque(sorted(range(len(prompts)), key=lambda i: -prompts[i].seconds))
        if isinstance(self.policy, DecodesTokens):
            groups = [
                [Row(sampling, None if draws is None else draws[i][j]) for j in range(n)] for i in range(len(prompts))
            ]
            self._decode(self.policy, prompts, groups, waiting)
            return [[self.policy.completion(row) for row in group] for group in groups]
        completions: dict[int, list[Completion]] = {}
        while waiting:
            chosen = self._take(waiting, lambda i: self.policy.size(prompts[i]), self.max_tokens, self.max_prompts)
            chosen = chosen or [waiting.popleft()]
            prefix = self.policy.encode([prompts[i] for i in chosen])
            uniforms = None if draws is None else np.concatenate([draws[i] for i in chosen])
            completions.update(zip(chosen, self.policy.sample(prefix, n, sampling, uniforms), strict=True))
        return [completions[i] for i in range(len(prompts))]

    def _decode(
        self, policy: DecodesTokens, prompts: Sequence[Prompt], groups: Sequence[list[Row]], waiting: deque[int]
    ) -> None:
        """Decode each prompt's group to its end; `waiting` prompts enter as capacity frees up, several at a time."""
        decoding, held = Decoding(policy), []

        @cache
        def size(i: int) -> int:
            length = policy.size(prompts[i])
            _hold_to_limits(policy, prompts[i], groups[i])
            return length

        def positions(i: int) -> int:
            return size(i) + sum(row.sampling.max_new_tokens for row in groups[i] if row.active)

        while waiting or decoding.active:
            chosen = []
            if waiting:
                held = [i for i in held if any(row.active for row in groups[i])]
                tokens, slots = self.max_tokens - sum(map(positions, held)), self.max_prompts - len(held)
                if tokens >= REFILL_SHARE * self.max_tokens and slots >= REFILL_SHARE * self.max_prompts:
                    chosen = self._take(waiting, positions, tokens, slots)
                if not chosen and not held:
                    chosen = [waiting.popleft()]
            if chosen:
                chosen.sort(key=size, reverse=True)
                decoding.admit(_encode(policy, prompts, chosen, size), [groups[i] for i in chosen])
                held += chosen
            decoding.step()

    @staticmethod
    def _take(waiting: deque[int], positions: Callable[[int], int], tokens: float, slots: float) -> list[int]:
        """Take prompts from the front of `waiting` while their positions fit into `tokens`, at most `slots` prompts."""
        chosen = []
        while waiting and len(chosen) < slots and positions(waiting[0]) <= tokens:
            tokens -= positions(waiting[0])
            chosen.append(waiting.popleft())
        return chosen


def _hold_to_limits(policy: DecodesTokens, prompt: Prompt, rows: Sequence[Row]) -> None:
    """Give the rows of a prompt no more tokens than its positions leave. Raises `ModelError` that names the prompt."""
    taken = policy.taken(prompt)
    policy.limits.require_prompt(prompt, taken)
    for row in rows:
        try:
            row.sampling = policy.limits.within(row.sampling, taken)
        except ModelError as error:
            raise ModelError(f"prompt {prompt.id!r}: {error}") from error


def _encode(
    policy: DecodesTokens, prompts: Sequence[Prompt], chosen: Sequence[int], size: Callable[[int], int]
) -> Prefix:
    """The prefix of the `chosen` prompts, sorted by decreasing size; prompts of similar size share a pass."""
    portions: list[list[int]] = []
    for i in chosen:
        if not portions or size(i) < MIN_LENGTH_RATIO * size(portions[-1][0]):
            portions.append([])
        portions[-1].append(i)
    return join([policy.encode([prompts[i] for i in portion]) for portion in portions])
