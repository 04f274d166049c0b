"""From rewarded groups to a weight update: advantages, minibatches, micro-batches, one optimiser."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from antiphon.algorithms.inputs import Outcomes, Scores
from antiphon.algorithms.terms import has_spread, token_weights
from antiphon.config import Config
from antiphon.models.audio_ctc import AudioCTC
from antiphon.models.policy import Policy
from antiphon.train.auxiliary import auxiliary_losses
from antiphon.train.batch import Batch, make_batch, padded
from antiphon.train.objectives import Objective, combined_needs
from antiphon.train.optimizer import MasterAdamW, schedule_factor
from antiphon.train.scoring import rollout_logprobs
from antiphon.train.teachers.teacher import Teachers
from antiphon.types import Group

Credit = Callable[[Group], list[list[float]]]
"""What is added to each token's advantage, for each completion of a group; their sums are 0."""


class Trainer:
    """Learns from rollouts. Blind to the model's family and to the algorithms' mathematics."""

    def __init__(
        self,
        policy: Policy,
        objectives: Sequence[Objective],
        config: Config,
        reference: Policy | None = None,
        teacher: Teachers | None = None,
        credit: Credit | None = None,
        ctc: AudioCTC | None = None,
    ) -> None:
        self.policy = policy
        self.objectives = list(objectives)
        self.needs = combined_needs(objectives)
        self.config = config
        self.reference = reference
        self.teacher = teacher
        self.credit = credit
        self.temperature = config.rollout.temperature or 1.0
        self.ctc = ctc
        self.auxiliaries = auxiliary_losses(policy, self.objectives, config, ctc)
        head = ctc.head.named_parameters("audio_ctc") if ctc else ()
        self.optimizer = MasterAdamW(
            [*policy.model.named_parameters(), *head],
            lr=config.optimizer.lr,
            betas=config.optimizer.betas,
            weight_decay=config.optimizer.weight_decay,
        )

    def step(self, groups: Sequence[Group], step: int) -> tuple[Tensor, dict[str, float]]:
        """Learn from the rollout of `step` (0-based). Returns the advantages [N, A] and the step's metrics.

        The advantages are those of the first algorithm.
        """
        batch, metrics = self._prepare(groups)
        assert batch.advantages is not None
        assert batch.counted is not None
        advantages = batch.advantages[..., 0].cpu()
        train, optimizer = self.config.train, self.config.optimizer
        factor = schedule_factor(step, train.steps, optimizer)
        metrics |= {"loss": 0.0, "grad_norm": 0.0, "lr": optimizer.lr * factor}
        counted = batch.counted.flatten(1).any(-1)
        metrics["learnt_share"] = float(counted.float().mean())
        teaching = counted.view(len(groups), -1).any(-1)
        if teaching.any():
            metrics |= self._learn(batch.groups(teaching.nonzero().squeeze(-1).tolist()), factor)
        self.policy.version = step + 1
        return advantages, metrics

    def evaluate(self, groups: Sequence[Group]) -> dict[str, float]:
        """The losses and metrics of a rollout, without gradients and without a step: calibration."""
        batch, metrics = self._prepare(groups)
        with torch.no_grad():
            return metrics | self._over_micro_batches(batch, lambda loss: None)

    @torch.no_grad()
    def _prepare(self, groups: Sequence[Group]) -> tuple[Batch, dict[str, float]]:
        """The groups as a batch with everything that stays fixed during the step, and what it says of the rollout."""
        batch = make_batch(groups, self.policy.device)
        train = self.config.train
        if self.needs.recomputed_old and train.epochs * train.minibatches > 1:
            batch = replace(batch, old_logprobs=self._rollout_logprobs(self.policy, batch))
        if self.needs.reference:
            assert self.reference is not None
            batch = replace(batch, reference_logprobs=self._rollout_logprobs(self.reference, batch))
        metrics: dict[str, float] = {}
        if self.needs.teacher:
            assert self.teacher is not None
            sampled = any(objective.needs.teacher == "logprobs" for objective in self.objectives)
            opinion, metrics = self.teacher.judge(groups, batch, sampled)
            batch = replace(batch, aligned=opinion.aligned, teacher_logprobs=opinion.logprobs)
        outcomes = self._outcomes(groups, batch)
        if self.needs.rewards:
            metrics["zero_variance_share"] = 1 - float(has_spread(outcomes.rewards, outcomes.valid).float().mean())
        return self._with_advantages(batch, outcomes, groups), metrics

    def _rollout_logprobs(self, policy: Policy, batch: Batch) -> Tensor:
        return rollout_logprobs(policy, batch, self.temperature, self.config.train.max_tokens_per_batch)

    def _outcomes(self, groups: Sequence[Group], batch: Batch) -> Outcomes:
        shape, device = (len(groups), batch.group_size), batch.tokens.device
        rewards = [reward for group in groups for reward in (group.rewards or [None] * batch.group_size)]
        values = torch.tensor([0.0 if reward is None else reward.value for reward in rewards], device=device)
        valid = torch.tensor([reward is not None for reward in rewards], device=device) | (not self.needs.rewards)
        valid = valid.view(shape)
        greedy = None
        if self.needs.greedy:
            answered = torch.tensor([group.greedy_reward is not None for group in groups], device=device)
            values_of = [group.greedy_reward.value if group.greedy_reward else 0.0 for group in groups]
            greedy, valid = torch.tensor(values_of, device=device), valid & answered[:, None]
        divergence = None
        if batch.reference_logprobs is not None:
            old = batch.engine_logprobs if batch.old_logprobs is None else batch.old_logprobs
            divergence = (old - batch.reference_logprobs).sum(-1).view(shape)
        return Outcomes(
            rewards=values.view(shape),
            valid=valid,
            first=batch.first.view(shape),
            lengths=batch.token_mask.sum(-1).view(shape),
            max_new_tokens=self.config.rollout.max_new_tokens if self.policy.token_level else None,
            greedy_rewards=greedy,
            reference_kl=divergence,
        )

    def _with_advantages(self, batch: Batch, outcomes: Outcomes, groups: Sequence[Group]) -> Batch:
        """Each loss's advantages, and which actions count in its mean."""
        credit = None
        if self.credit is not None:
            credit = padded([row for group in groups for row in self.credit(group)], torch.float32)[0]
            credit = credit.to(batch.mask)[:, : batch.mask.shape[1]]
        advantages, counted = [], []
        for objective in self.objectives:
            given = objective.advantages(outcomes) * outcomes.valid
            spread = given.reshape(-1, 1).expand_as(batch.mask)
            if credit is not None and objective.needs.alignment_credit:
                spread = spread + objective.settings.credit_weight * credit * outcomes.valid.reshape(-1, 1)
            spread = spread * batch.mask
            teaches = {
                "all": outcomes.valid,
                "aligned": outcomes.valid,
                "groups": (spread != 0).view(len(groups), -1).any(-1, keepdim=True) & outcomes.valid,
                "rows": given != 0,
            }[objective.needs.mean_over]
            advantages.append(spread)
            counts = batch.mask * teaches.reshape(-1, 1)
            if objective.needs.mean_over == "aligned":
                assert batch.aligned is not None
                counts = counts * batch.aligned
            counted.append(counts)
        return replace(batch, advantages=torch.stack(advantages, -1), counted=torch.stack(counted, -1))

    def _learn(self, batch: Batch, factor: float) -> dict[str, float]:
        train = self.config.train
        totals: dict[str, list[float]] = defaultdict(list)
        for _ in range(train.epochs):
            for minibatch in batch.split(train.minibatches):
                for name, value in self._over_micro_batches(minibatch, torch.Tensor.backward).items():
                    totals[name].append(value)
                totals["grad_norm"].append(self.optimizer.step(factor, self.config.optimizer.max_grad_norm))
        metrics = {name: sum(values) / len(values) for name, values in totals.items()}
        if "engine_difference_max" in totals:
            metrics["engine_difference_max"] = totals["engine_difference_max"][0]
        return metrics

    def _over_micro_batches(self, minibatch: Batch, learn: Callable[[Tensor], Any]) -> dict[str, float]:
        """Give every micro-batch's loss to `learn`; the weights are the minibatch's, so that their sums are means."""
        minibatch = replace(minibatch, weights=self._weights(minibatch))
        sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=self.policy.device))
        worst = torch.zeros((), device=self.policy.device)
        for portion in self._portions(minibatch):
            micro = minibatch.groups(portion).trimmed()
            scores, extra, beside = self._score(micro)
            loss = beside / self._scale(minibatch, self.objectives[0])
            for objective, given in zip(self.objectives, scores, strict=True):
                part, metrics = objective.loss(given)
                loss = loss + part
                for name, value in metrics.items():
                    sums[self._metric(objective, name)] += value.detach() / self._scale(minibatch, objective)
            learn(loss)
            sums["loss"] += loss.detach()
            for name, value in extra.items():
                sums[name] += value / self._scale(minibatch, self.objectives[0])
            difference = (scores[0].logprobs.detach() - micro.engine_logprobs).abs() * micro.mask
            worst = torch.maximum(worst, difference.max())
        if self.needs.source != "labels":  # Nothing else was sampled by an engine.
            sums["engine_difference_max"] = worst
        return {name: float(value) for name, value in sums.items()}

    def _weights(self, batch: Batch) -> Tensor:
        """[N, A, O] over the whole minibatch."""
        assert batch.counted is not None
        longest = self.config.rollout.max_new_tokens
        normalisations = [objective.settings.normalisation for objective in self.objectives]
        weights = [
            token_weights(counted, normalisation, longest)
            for counted, normalisation in zip(batch.counted.unbind(-1), normalisations, strict=True)
        ]
        return torch.stack(weights, -1)

    def _scale(self, minibatch: Batch, objective: Objective) -> Tensor:
        """Σ weight of one loss, by which its metrics are divided."""
        assert minibatch.weights is not None
        return minibatch.weights[..., self.objectives.index(objective)].sum().clamp(min=1e-12)

    def _metric(self, objective: Objective, name: str) -> str:
        return name if len(self.objectives) == 1 else f"{objective.name}/{name}"

    def _score(self, batch: Batch) -> tuple[list[Scores], dict[str, Tensor], Tensor]:
        """The policy's scores of a micro-batch as each loss wants them, figures of it, and the auxiliary losses."""
        assert batch.advantages is not None
        assert batch.weights is not None
        logprobs, entropy, divergences, auxiliary = self._distributions(batch)
        old = batch.old_logprobs
        if old is None:
            old = logprobs.detach() if self.needs.recomputed_old else batch.engine_logprobs
        scores = [
            Scores(
                logprobs=logprobs,
                old_logprobs=old,
                engine_logprobs=batch.engine_logprobs,
                advantages=batch.advantages[..., place],
                weights=batch.weights[..., place],
                group_size=batch.group_size,
                first=batch.first,
                reference_logprobs=batch.reference_logprobs,
                teacher_logprobs=batch.teacher_logprobs,
                entropy=entropy,
                divergence=divergences[place][..., 0] if place in divergences else None,
                compared=divergences[place][..., 1] if place in divergences else None,
            )
            for place in range(len(self.objectives))
        ]
        extra = {} if entropy is None else {"entropy": (batch.weights[..., 0] * entropy.detach()).sum()}
        beside = torch.zeros((), device=self.policy.device)
        for one, loss in zip(self.auxiliaries, auxiliary, strict=True):
            total = (batch.weights[..., 0].sum(-1) * loss).sum()
            extra[one.name] = total.detach()
            beside = beside + one.coefficient * total
        return scores, extra, beside

    def _distributions(self, batch: Batch) -> tuple[Tensor, Tensor | None, dict[int, Tensor], list[Tensor]]:
        """Log-probabilities [N, A]; for models of tokens the entropy, each loss's divergence from the teacher and the
        tokens it compared [N, A, 2], and the auxiliary losses."""
        policy: Any = self.policy
        if not policy.token_level:
            return self._logprobs(policy, batch), None, {}, []
        with ExitStack() as watched:
            for one in self.auxiliaries:
                watched.enter_context(one.recording())
            prefix = policy.encode(batch.prompts)
            predictions = policy.predictions(prefix, batch.tokens, batch.token_mask, self.temperature)
        auxiliary = [one.loss(batch, prefix) for one in self.auxiliaries]
        taken = batch.token_mask.bool()
        wanted = [i for i, one in enumerate(self.objectives) if one.needs.teacher == "distributions"]
        gradient = torch.is_grad_enabled() and self.needs.entropy

        def read(scores: Tensor, tokens: Tensor) -> Tensor:
            chosen = scores.gather(-1, tokens[:, None]).squeeze(-1)
            with torch.set_grad_enabled(gradient):
                entropy = -(scores.exp() * scores.clamp(min=-100.0)).sum(-1)
            return torch.stack([chosen, entropy], -1)

        def scatter(values: Tensor) -> Tensor:
            return values.new_zeros(*taken.shape, values.shape[-1]).masked_scatter(taken[..., None], values)

        logprobs, entropy = scatter(predictions.map(read, batch.tokens[taken])).unbind(-1)
        divergences = {}
        for place in wanted:
            assert self.teacher is not None
            objective = self.objectives[place]
            divergences[place] = scatter(
                self.teacher.divergence(predictions, batch, objective.module, objective.settings)
            )
        return logprobs, entropy, divergences, auxiliary

    def _logprobs(self, policy: Policy, batch: Batch) -> Tensor:
        prefix = policy.encode(batch.prompts)
        return policy.logprobs(prefix, batch.tokens, batch.token_mask, self.temperature)

    def _portions(self, batch: Batch) -> list[list[int]]:
        return batch.within(self.config.train.max_tokens_per_batch, [self.policy.size(one) for one in batch.prompts])
