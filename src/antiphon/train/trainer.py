"""From rewarded groups to a weight update: prepare, score, learn."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from antiphon.config import Config
from antiphon.distributed.world import World
from antiphon.models.audio_ctc import AudioCTC
from antiphon.models.policy import Policy
from antiphon.train.auxiliary import auxiliary_losses
from antiphon.train.batch import split_evenly
from antiphon.train.everyone import Everyone
from antiphon.train.learn import Learner
from antiphon.train.objectives import Objective, joint_advantages
from antiphon.train.optimizer import MasterAdamW, schedule_factor
from antiphon.train.prepare import Credit, Preparer
from antiphon.train.score import Scorer
from antiphon.train.teachers.teacher import Teachers
from antiphon.types import Group


class Trainer:
    """Updates the policy from rollouts. It knows neither the model's family nor the algorithms' mathematics."""

    def __init__(
        self,
        policy: Policy,
        objectives: Sequence[Objective],
        config: Config,
        reference: Policy | None = None,
        teacher: Teachers | None = None,
        credit: Credit | None = None,
        ctc: AudioCTC | None = None,
        world: World | None = None,
    ) -> None:
        self.policy, self.objectives, self.config = policy, list(objectives), config
        self.teacher, self.ctc = teacher, ctc
        head = ctc.head.named_parameters("audio_ctc") if ctc else ()
        self.optimizer = MasterAdamW(
            [*policy.model.named_parameters(), *head],
            lr=config.optimizer.lr,
            betas=config.optimizer.betas,
            weight_decay=config.optimizer.weight_decay,
        )
        auxiliaries = auxiliary_losses(policy, self.objectives, config, ctc)
        scorer = Scorer(policy, self.objectives, config.rollout.temperature or 1.0, teacher, auxiliaries)
        self.world = world or World()
        self.prepare = Preparer(policy, self.objectives, config, reference, teacher, credit, self.world)
        self.learner = Learner(self.objectives, config, scorer, self.optimizer, self.world)

    def step(self, groups: Sequence[Group], step: int) -> tuple[Tensor, dict[str, float]]:
        """Update the policy from the rollout of `step` (0-based); `groups` are this rank's part of it.

        Returns their advantages [N, A] and the step's metrics.
        """
        batch, metrics = self.prepare(groups)
        advantages = joint_advantages(self.objectives, batch.advantages).cpu()
        optimizer = self.config.optimizer
        factor = schedule_factor(step, self.config.train.steps, optimizer)
        metrics |= {"loss": 0.0, "grad_norm": 0.0, "lr": optimizer.lr * factor}
        counted = batch.counted.flatten(1).any(-1).view(len(groups), batch.group_size)
        everyone = Everyone(self.world, groups)
        metrics["learned_share"] = float(everyone.rows(counted).float().mean())
        if learnable := everyone.where(counted.any(-1)):
            parts = split_evenly(learnable, self.config.train.minibatches)
            metrics |= self.learner.update([batch.groups(everyone.mine(part)) for part in parts], factor)
        self.policy.version = step + 1
        return advantages, metrics

    def evaluate(self, groups: Sequence[Group]) -> dict[str, float]:
        """The losses and metrics of a rollout, without gradients or an update; used for calibration."""
        batch, metrics = self.prepare(groups)
        with torch.no_grad():
            return metrics | self.learner.measure(batch, lambda loss: None)
