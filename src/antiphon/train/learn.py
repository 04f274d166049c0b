"""Learn, the last of a step's three parts: gradient accumulation over micro-batches, and optimizer steps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from antiphon.algorithms.terms import counts, token_weights
from antiphon.config import Config
from antiphon.distributed.gradients import sum_gradients
from antiphon.distributed.world import World
from antiphon.train.auxiliary import auxiliary_sum
from antiphon.train.batch import Prepared, Weighted
from antiphon.train.objectives import Objective, combined_needs, metric_prefixes
from antiphon.train.optimizer import MasterAdamW
from antiphon.train.score import Scored, Scorer, loss_inputs


class Learner:
    """Updates the weights from a `Prepared` batch. Losses are identified by their index."""

    def __init__(
        self, objectives: Sequence[Objective], config: Config, scorer: Scorer, optimizer: MasterAdamW, world: World
    ) -> None:
        self.objectives, self.config, self.scorer, self.optimizer = objectives, config, scorer, optimizer
        self.world = world
        self._prefixes = metric_prefixes(objectives)
        needs, train = combined_needs(objectives), config.train
        self._sampled = needs.source != "labels"
        self._current_is_old = needs.recomputed_old and train.epochs * train.minibatches == 1

    def update(self, minibatches: Sequence[Prepared], factor: float) -> dict[str, float]:
        """One optimizer step for each minibatch of each epoch, at `factor` times the learning rate.

        Each rank passes its part of each minibatch, which may be empty. Returns metrics averaged over the updates.
        """
        totals: dict[str, list[float]] = defaultdict(list)
        for _ in range(self.config.train.epochs):
            for minibatch in minibatches:
                for name, value in self.measure(minibatch, torch.Tensor.backward).items():
                    totals[name].append(value)
                totals["grad_norm"].append(self._apply(factor))
        metrics = {name: sum(values) / len(values) for name, values in totals.items()}
        if "engine_difference_max" in totals:
            metrics["engine_difference_max"] = totals["engine_difference_max"][0]
        return metrics

    def measure(self, batch: Prepared, learn: Callable[[Tensor], Any]) -> dict[str, float]:
        """Call `learn` on the loss of each micro-batch. Returns the loss and metrics of the whole minibatch."""
        minibatch = Weighted(**vars(batch), weights=self._weights(batch))
        scales = [self.world.sum(weights.sum()).clamp(min=1e-12) for weights in minibatch.weights.unbind(-1)]
        device = minibatch.weights.device
        sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=device))
        worst = torch.zeros((), device=device)
        for portion in self._portions(minibatch):
            micro = minibatch.groups(portion).trimmed()
            scored = self.scorer(micro)
            loss, parts = self._loss(micro, scored, scales)
            learn(loss)
            for name, value in parts.items():
                sums[name] += value
            difference = (scored.logprobs.detach() - micro.engine_logprobs).abs() * micro.mask
            worst = torch.maximum(worst, difference.max())
        metrics = self.world.sum_metrics({name: float(value) for name, value in sums.items()})
        if self._sampled:  # References have no engine log-probabilities to compare.
            metrics["engine_difference_max"] = float(self.world.max(worst))
        return metrics

    def _loss(self, micro: Weighted, scored: Scored, scales: Sequence[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """A micro-batch's share of the minibatch's loss, and of each metric."""
        metrics: dict[str, Tensor] = {}
        loss, auxiliary = auxiliary_sum(
            self.scorer.auxiliaries, scored.auxiliary, micro.weights, scales, self.objectives
        )
        given = loss_inputs(micro, scored, self._current_is_old)
        for place, (objective, scores) in enumerate(zip(self.objectives, given, strict=True)):
            part, sums = objective.loss(scores)
            loss = loss + part
            for name, value in sums.items():
                metrics[self._prefixes[place] + name] = value.detach() / scales[place]
        metrics["loss"] = loss.detach()
        # The entropy belongs to no single loss. By convention it is averaged over what the first loss counts, so that
        # curves of runs with several losses stay comparable.
        for name, value in scored.of_tokens.items():
            metrics[name] = (micro.weights[..., 0] * value.detach()).sum() / scales[0]
        return loss, metrics | auxiliary

    def _weights(self, batch: Prepared) -> Tensor:
        """[N, A, O] token weights, normalized over the whole minibatch on all ranks."""
        longest = self.config.rollout.longest
        weights = [
            token_weights(counted, objective.settings.normalization, longest, self._totals(counted))
            for counted, objective in zip(batch.counted.unbind(-1), self.objectives, strict=True)
        ]
        return torch.stack(weights, -1)

    def _totals(self, counted: Tensor) -> tuple[float, float]:
        """Tokens and completions of the minibatch, over all ranks, that a loss counts; `counted` are this rank's."""
        tokens, completions = self.world.sum(torch.tensor(counts(counted), dtype=torch.float64)).tolist()
        return tokens, completions

    def _apply(self, factor: float) -> float:
        """One optimizer step with gradients summed over ranks. Returns the gradient norm."""
        sum_gradients(self.world, self.optimizer.masters.values())
        return self.optimizer.step(factor, self.config.optimizer.max_grad_norm)

    def _portions(self, batch: Weighted) -> list[list[int]]:
        sizes = [self.scorer.policy.size(prompt) for prompt in batch.prompts]
        return batch.within(self.config.train.max_tokens_per_batch, sizes)
