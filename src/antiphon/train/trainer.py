"""From rewarded groups to a weight update: advantages, minibatches, micro-batches, one optimiser."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from antiphon.algorithms.terms import has_spread, token_weights
from antiphon.config import Config
from antiphon.models.policy import Policy
from antiphon.train.batch import Batch, make_batch
from antiphon.train.optimizer import MasterAdamW, schedule_factor
from antiphon.types import Group


class Trainer:
    """Learns from rollouts. Blind to the model's family and to the algorithm's mathematics."""

    def __init__(
        self,
        policy: Policy,
        algorithm: ModuleType,
        settings: Any,
        config: Config,
        reference: Policy | None = None,
    ) -> None:
        self.policy = policy
        self.algorithm = algorithm
        self.settings = settings
        self.config = config
        self.reference = reference
        self.optimizer = MasterAdamW(
            policy.model.named_parameters(),
            lr=config.optimizer.lr,
            betas=config.optimizer.betas,
            weight_decay=config.optimizer.weight_decay,
        )

    def step(self, groups: Sequence[Group], step: int) -> tuple[Tensor, dict[str, float]]:
        """Learn from the rollout of `step` (0-based). Returns the advantages [P, G] and the step's metrics."""
        rewards = torch.tensor([[reward.value for reward in group.rewards] for group in groups])
        advantages = self.algorithm.advantages(rewards, self.settings)
        teaches = has_spread(rewards)
        optimizer = self.config.optimizer
        factor = schedule_factor(
            step, self.config.train.steps, optimizer.warmup_steps, optimizer.schedule, optimizer.min_lr_ratio
        )
        metrics = {"zero_variance_share": 1 - float(teaches.float().mean()), "loss": 0.0, "grad_norm": 0.0}
        metrics["lr"] = optimizer.lr * factor
        kept = teaches if self.reference is None else torch.ones_like(teaches)
        if kept.any():
            chosen = [group for group, keep in zip(groups, kept.tolist(), strict=True) if keep]
            metrics |= self._learn(make_batch(chosen, advantages[kept], self.policy.device), factor)
        self.policy.version = step + 1
        return advantages, metrics

    def _learn(self, batch: Batch, factor: float) -> dict[str, float]:
        train = self.config.train
        totals: dict[str, list[float]] = defaultdict(list)
        for _ in range(train.epochs):
            for minibatch in batch.split(train.minibatches):
                for name, value in self._backward(minibatch).items():
                    totals[name].append(value)
                totals["grad_norm"].append(self.optimizer.step(factor, self.config.optimizer.max_grad_norm))
        metrics = {name: sum(values) / len(values) for name, values in totals.items()}
        metrics["engine_difference_max"] = totals["engine_difference_max"][0]
        return metrics

    def _backward(self, minibatch: Batch) -> dict[str, float]:
        """Accumulate the minibatch's gradients; its weights are global, so micro-batches add up exactly."""
        weights = token_weights(minibatch.mask, self.settings.normalisation, self.config.rollout.max_new_tokens)
        total = float(weights.sum())
        size = self.config.train.max_prompts_per_batch
        parts = -(-len(minibatch.prompts) // size)
        done, sums, worst = 0, defaultdict(float), 0.0
        for micro in minibatch.split(parts):
            rows = slice(done, done + len(micro.tokens))
            done += len(micro.tokens)
            micro = micro.trimmed()
            logprobs = self._logprobs(self.policy, micro)
            with torch.no_grad():
                reference = self._logprobs(self.reference, micro) if self.reference else None
            loss, metrics = self.algorithm.loss(
                logprobs,
                micro.old_logprobs,
                micro.advantages,
                weights[rows, : micro.mask.shape[1]],
                reference,
                self.settings,
            )
            loss.backward()
            sums["loss"] += float(loss.detach())
            for name, value in metrics.items():
                sums[name] += float(value) / total
            worst = max(worst, float((logprobs.detach() - micro.old_logprobs).abs().max()))
        return {**sums, "engine_difference_max": worst}

    def _logprobs(self, policy: Policy, batch: Batch) -> Tensor:
        prefix = policy.encode(batch.prompts)
        return policy.logprobs(prefix, batch.tokens, batch.token_mask, self.config.rollout.temperature)
