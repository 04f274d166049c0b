"""Prepare, the first of a step's three parts: from groups to everything that stays fixed during the updates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from antiphon.algorithms.inputs import Outcomes
from antiphon.algorithms.terms import has_variance
from antiphon.config import Config
from antiphon.distributed.world import World
from antiphon.models.policy import Policy
from antiphon.train.batch import Batch, Prepared, make_batch, padded
from antiphon.train.everyone import Everyone
from antiphon.train.objectives import Objective, combined_needs, joint_advantages
from antiphon.train.score import rollout_logprobs
from antiphon.train.teachers.teacher import Teachers
from antiphon.types import Group

Credit = Callable[[Group], list[list[float]]]
"""A group -> for each completion, what to add to each token's advantage; sums to 0 over a completion."""

Given = TypeVar("Given")


class Preparer:
    """Makes a step's `Prepared` batch, and the metrics of its rollout."""

    def __init__(
        self,
        policy: Policy,
        objectives: Sequence[Objective],
        config: Config,
        reference: Policy | None,
        teacher: Teachers | None,
        credit: Credit | None,
        world: World,
    ) -> None:
        """Raises `ValueError` if the losses need a `reference`, `teacher` or `credit` that is None."""
        self.policy, self.objectives, self.config, self.world = policy, objectives, config, world
        self.needs = combined_needs(objectives)
        self._references = _if_needed(self.needs.reference, reference, "a reference model")
        self._teachers = _if_needed(self.needs.teacher is not None, teacher, "a teacher")
        self._credits = _if_needed(self.needs.alignment_credit, credit, "alignment credit")

    @torch.no_grad()
    def __call__(self, groups: Sequence[Group]) -> tuple[Prepared, dict[str, float]]:
        batch, train = make_batch(groups, self.policy.device), self.config.train
        mask = self._mask(groups, batch)
        if self.needs.recomputed_old and train.epochs * train.minibatches > 1:
            batch = replace(batch, old_logprobs=self._logprobs(self.policy, batch))
        others: dict[str, Tensor] = {}
        aligned, metrics = batch.mask, {}
        for reference in self._references:
            others["reference_logprobs"] = self._logprobs(reference, batch.unaugmented())
        for teacher in self._teachers:
            sampled = any(objective.needs.teacher == "logprobs" for objective in self.objectives)
            judgment, metrics = teacher.judge(groups, batch, sampled, self.world)
            aligned = judgment.aligned
            if judgment.logprobs is not None:
                others["teacher_logprobs"] = judgment.logprobs
        everyone = Everyone(self.world, groups)
        outcomes = everyone.outcomes(self._outcomes(groups, batch, mask, others))
        if self.needs.rewards:
            metrics["zero_variance_share"] = 1 - float(has_variance(outcomes.rewards, outcomes.valid).float().mean())
        credit = self._credit(groups, batch)
        valid = everyone.own(outcomes.valid)
        given = [_of_actions(everyone.own(one.advantages(outcomes)), batch.mask, valid) for one in self.objectives]
        losses = [
            _of_loss(one, of_loss, valid, mask, aligned, credit)
            for one, of_loss in zip(self.objectives, given, strict=True)
        ]
        advantages, counted = (torch.stack(one, -1) for one in zip(*losses, strict=True))
        if self.needs.rewards:
            taught = joint_advantages(self.objectives, advantages).any(-1).view(valid.shape)
            metrics["advantage_share"] = float(everyone.rows(taught).float().mean())
        return Prepared(**vars(batch), others=others, advantages=advantages, counted=counted), metrics

    def _logprobs(self, policy: Policy, batch: Batch) -> Tensor:
        temperature = self.config.rollout.temperature or 1.0
        return rollout_logprobs(policy, batch, temperature, self.config.train.max_tokens_per_batch)

    def _mask(self, groups: Sequence[Group], batch: Batch) -> Tensor:
        """[N, A] the batch's mask, without truncated completions where the recipe leaves them out."""
        if self.config.rollout.truncated != "mask":
            return batch.mask
        whole = [one.finish_reason == "stop" for group in groups for one in group.completions]
        return batch.mask * torch.tensor(whole, device=batch.mask.device)[:, None]

    def _outcomes(self, groups: Sequence[Group], batch: Batch, mask: Tensor, others: Mapping[str, Tensor]) -> Outcomes:
        shape, device = (len(groups), batch.group_size), batch.tokens.device
        rewards = [reward for group in groups for reward in (group.rewards or [None] * batch.group_size)]
        values = torch.tensor([0.0 if reward is None else reward.value for reward in rewards], device=device)
        given = [reward is not None or not self.needs.rewards for reward in rewards]
        valid = torch.tensor(given, dtype=torch.bool, device=device)
        valid, greedy, divergence = valid.view(shape), None, None
        if self.needs.greedy:
            found = [group.greedy_reward is not None for group in groups]
            answered = torch.tensor(found, dtype=torch.bool, device=device)
            values_of = [group.greedy_reward.value if group.greedy_reward else 0.0 for group in groups]
            greedy, valid = torch.tensor(values_of, device=device), valid & answered[:, None]
        if "reference_logprobs" in others:
            divergence = (batch.old_logprobs - others["reference_logprobs"]).unflatten(0, shape)
        return Outcomes(
            rewards=values.view(shape),
            valid=valid,
            first=batch.first.view(shape),
            lengths=batch.token_mask.sum(-1).view(shape),
            max_new_tokens=self.config.rollout.longest if self.policy.stepwise else None,
            mask=mask.unflatten(0, shape),
            greedy_rewards=greedy,
            reference_kl=divergence,
        )

    def _credit(self, groups: Sequence[Group], batch: Batch) -> Tensor:
        """[N, A] credit to add to each action's advantage; 0 if no loss needs it."""
        total = torch.zeros_like(batch.mask)
        for credit in self._credits:
            rows = padded([row for group in groups for row in credit(group)], torch.float32)[0]
            total = rows.to(batch.mask)[:, : batch.mask.shape[1]]
        return total


def _of_actions(given: Tensor, mask: Tensor, valid: Tensor) -> Tensor:
    """[N, A] an algorithm's advantages, which are [P, G], one of each completion, or [P, G, A]."""
    if given.dim() == 2:
        given = given[..., None].expand(*given.shape, mask.shape[-1])
    return given[..., : mask.shape[-1]].reshape(mask.shape) * valid.reshape(-1, 1)


def _of_loss(
    objective: Objective, given: Tensor, valid: Tensor, mask: Tensor, aligned: Tensor, credit: Tensor
) -> tuple[Tensor, Tensor]:
    """One loss's advantages [N, A] of the actions in `mask` [N, A], from `given` [N, A], and the mask of its mean."""
    advantages = given
    if objective.needs.alignment_credit:
        advantages = advantages + objective.settings.credit_weight * credit * valid.reshape(-1, 1)
    advantages = advantages * mask
    of_row = (advantages != 0).any(-1).view(valid.shape)
    kept = {
        "all": valid,
        "aligned": valid,
        "groups": of_row.any(-1, keepdim=True) & valid,
        "rows": of_row,
    }[objective.needs.mean_over]
    counted = mask * kept.reshape(-1, 1)
    return advantages, counted * aligned if objective.needs.mean_over == "aligned" else counted


def _if_needed(needed: bool, given: Given | None, what: str) -> tuple[Given, ...]:
    """`(given,)` if needed, else (). Raises `ValueError` if it is needed and None."""
    if not needed:
        return ()
    if given is None:
        raise ValueError(f"the losses need {what}, but the trainer was given none")
    return (given,)
