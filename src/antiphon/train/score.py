"""Score, the second of a step's three parts: log-probabilities of a micro-batch, as each loss needs them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from antiphon.algorithms.inputs import Scores
from antiphon.models.logits import Predictions
from antiphon.models.policy import Policy, TokenPolicy, emits_tokens
from antiphon.train.auxiliary import Auxiliary
from antiphon.train.batch import Batch, Weighted
from antiphon.train.objectives import Objective
from antiphon.train.teachers.teacher import Teachers


@dataclass(frozen=True)
class Scored:
    """The policy's scores of a micro-batch, with gradients where they are enabled."""

    logprobs: Tensor
    """[N, A]"""
    of_tokens: Mapping[str, Tensor]
    """[N, A] per-token values by their names in `Scores`: `entropy`; empty for models that do not emit tokens."""
    divergences: Mapping[int, Tensor]
    """[N, A, 2] by the index of the loss: the divergence from the teacher, and how many tokens it compared."""
    auxiliary: Sequence[Tensor]
    """Each auxiliary loss: per row [N], or a scalar []."""


class Scorer:
    """Runs the policy on micro-batches."""

    def __init__(
        self,
        policy: Policy,
        objectives: Sequence[Objective],
        temperature: float,
        teacher: Teachers | None = None,
        auxiliaries: Sequence[Auxiliary] = (),
    ) -> None:
        self.policy, self.temperature, self.auxiliaries = policy, temperature, auxiliaries
        self._entropy_gradient = any(one.needs.entropy for one in objectives)
        self._compared = [
            (place, one, teacher)
            for place, one in enumerate(objectives)
            if teacher is not None and one.needs.teacher == "distributions"
        ]

    def __call__(self, batch: Batch) -> Scored:
        policy = self.policy
        if emits_tokens(policy):
            return self._tokens(policy, batch)
        with self._recording():
            prefix = policy.encode(batch.prompts)
            logprobs = policy.logprobs(prefix, batch.tokens, batch.token_mask, self.temperature)
        return Scored(logprobs, {}, {}, self._auxiliary(batch, prefix))

    def _tokens(self, policy: TokenPolicy, batch: Batch) -> Scored:
        with self._recording():
            prefix = policy.encode(batch.prompts)
            predictions = policy.predictions(prefix, batch.tokens, batch.token_mask, self.temperature)
        auxiliary = self._auxiliary(batch, prefix)
        taken = batch.token_mask.bool()

        def scatter(values: Tensor) -> Tensor:
            return values.new_zeros(*taken.shape, values.shape[-1]).masked_scatter(taken[..., None], values)

        logprobs, entropy = scatter(self._read(predictions, batch.tokens[taken])).unbind(-1)
        divergences = {
            place: scatter(teacher.divergence(predictions, batch, objective.module, objective.settings))
            for place, objective, teacher in self._compared
        }
        return Scored(logprobs, {"entropy": entropy}, divergences, auxiliary)

    def _read(self, predictions: Predictions, tokens: Tensor) -> Tensor:
        """[M, 2] log-probability of each token [M], and entropy of its distribution in nats."""
        gradient = torch.is_grad_enabled() and self._entropy_gradient

        def read(scores: Tensor, tokens: Tensor) -> Tensor:
            chosen = scores.gather(-1, tokens[:, None]).squeeze(-1)
            with torch.set_grad_enabled(gradient):
                entropy = -(scores.exp() * scores.clamp(min=-100.0)).sum(-1)
            return torch.stack([chosen, entropy], -1)

        return predictions.map(read, tokens)

    @contextmanager
    def _recording(self) -> Iterator[None]:
        """Auxiliary losses record one `encode` and one scoring of its completions."""
        with ExitStack() as recordings:
            for one in self.auxiliaries:
                recordings.enter_context(one.recording())
            yield

    def _auxiliary(self, batch: Batch, prefix: Any) -> list[Tensor]:
        return [one.loss(batch, prefix) for one in self.auxiliaries]


def loss_inputs(batch: Weighted, scored: Scored, current_is_old: bool) -> list[Scores]:
    """The input of each loss. With `current_is_old`, the policy's own log-probabilities are the old ones too."""
    return [
        Scores(
            logprobs=scored.logprobs,
            old_logprobs=scored.logprobs.detach() if current_is_old else batch.old_logprobs,
            engine_logprobs=batch.engine_logprobs,
            advantages=batch.advantages[..., place],
            weights=batch.weights[..., place],
            group_size=batch.group_size,
            first=batch.first,
            **batch.others,
            **scored.of_tokens,
            **_compared(scored, place),
        )
        for place in range(batch.weights.shape[-1])
    ]


def _compared(scored: Scored, place: int) -> dict[str, Tensor]:
    if place not in scored.divergences:
        return {}
    return dict(zip(("divergence", "compared"), scored.divergences[place].unbind(-1), strict=True))


@torch.no_grad()
def rollout_logprobs(policy: Policy, batch: Batch, temperature: float, max_tokens: int) -> Tensor:
    """`policy`'s log-probabilities [N, A] of the batch's tokens, 0 on padding, in micro-batches of `max_tokens`."""
    values, size = torch.zeros_like(batch.engine_logprobs), batch.group_size
    for portion in batch.within(max_tokens, [policy.size(prompt) for prompt in batch.prompts]):
        micro = batch.groups(portion).trimmed()
        scored = policy.logprobs(policy.encode(micro.prompts), micro.tokens, micro.token_mask, temperature)
        rows = [p * size + i for p in portion for i in range(size)]
        values[rows, : scored.shape[1]] = scored
    return values
