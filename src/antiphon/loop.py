"""The loop: the model answers, the reward responds, the model learns.

data ──Example──▶ task.prompt ──Prompt──▶ engine.rollout ──Group of Completions──▶ rewards ──▶ algorithm ──▶ train step
                                               ▲                                                      │
                                               └───────────────── weights, version ◀──────────────────┘
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from antiphon.data.stream import PromptStream
from antiphon.models.policy import Policy, Sampling
from antiphon.rewards import RewardFunction, group_samples, score_all
from antiphon.rollout.engine import Engine
from antiphon.train.trainer import Trainer
from antiphon.types import Group


@dataclass(frozen=True)
class Step:
    """What one turn of the loop made. `number` counts steps done, from 1."""

    number: int
    groups: list[Group]
    advantages: Tensor
    """[P, G]"""
    metrics: Mapping[str, float]
    seconds: Mapping[str, float]
    """Wall-clock time of each phase."""


def run_loop(
    start: int,
    stop: int,
    stream: PromptStream,
    policy: Policy,
    engine: Engine,
    reward: RewardFunction,
    trainer: Trainer,
    group_size: int,
    sampling: Sampling,
    seed: int,
    after_step: Callable[[Step], None],
) -> None:
    """Steps `start` to `stop` − 1 (0-based); `after_step` records, evaluates and saves."""
    for step in range(start, stop):
        marks = [time.perf_counter()]

        prompts = stream.prompts(step)
        marks.append(time.perf_counter())

        completions = engine.rollout(prompts, group_size, sampling, seed, step)
        marks.append(time.perf_counter())

        groups = [
            Group(example, prompt, answers, [policy.answer(one.text) for one in answers])
            for example, prompt, answers in zip(stream.examples(step), prompts, completions, strict=True)
        ]
        samples = [sample for group in groups for sample in group_samples(group)]
        rewards = score_all(reward, samples)
        for i, group in enumerate(groups):
            group.rewards = rewards[i * group_size : (i + 1) * group_size]
        marks.append(time.perf_counter())

        advantages, metrics = trainer.step(groups, step)
        marks.append(time.perf_counter())

        phases = ("data", "rollout", "reward", "train")
        seconds = {phase: end - begin for phase, begin, end in zip(phases, marks, marks[1:], strict=False)}
        after_step(Step(step + 1, groups, advantages, metrics, seconds))
