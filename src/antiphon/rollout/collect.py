"""Collects a step's rollout: prompts from the data, completions from the engine, rewards.

Every rank knows all examples of a step and rolls out its share.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from antiphon.algorithms.inputs import Needs
from antiphon.data.stream import PromptStream
from antiphon.distributed.world import World
from antiphon.models.policy import Policy, Sampling
from antiphon.rewards import RewardFunction, group_samples, score_all
from antiphon.rollout.engine import Engine, Source
from antiphon.tasks.task import Task
from antiphon.types import Completion, Example, Group, Prompt, Reward


@dataclass
class Collector:
    """Produces the rewarded groups that a step learns from."""

    stream: PromptStream
    policy: Policy
    task: Task
    engine: Engine
    """Samples from the model: always the greedy completions, and those to learn from if it is also the `source`."""
    source: Source
    """Provides the completions to learn from."""
    reward: RewardFunction | None
    """None if the algorithm needs no reward."""
    group_size: int
    sampling: Sampling
    seed: int
    needs: Needs
    truncation_penalty: float = 0.0
    """What the reward of a completion that was cut at the length limit is lowered by."""
    log: Callable[[str], None] = lambda line: None
    """Receives a message for each completion that is dropped because its reward failed."""
    world: World = field(default_factory=World)

    def collect(self, step: int) -> tuple[list[Group], dict[str, float], dict[str, float]]:
        """This rank's groups of `step` (0-based), metrics over all ranks, and the seconds of each phase.

        With dynamic sampling (DAPO, 2503.14476, section 3.2), further prompts are rolled out while fewer groups have
        reward variance than a step has prompts. If the attempts run out, zero-variance groups fill up the step.
        """
        seconds: dict[str, float] = defaultdict(float)
        seen: set[str] = set()
        groups = self._roll_out(step, 0, seen, seconds)
        for attempt in range(1, self.needs.dynamic_sampling + 1):
            if self._count_with_variance(groups) >= self.stream.per_step:
                break
            groups += self._roll_out(step, attempt, seen, seconds)
        if not self.needs.dynamic_sampling:
            return groups, {}, dict(seconds)
        return self._selected(groups), {"prompts_rolled_out": float(len(seen))}, dict(seconds)

    def _roll_out(self, step: int, attempt: int, seen: set[str], seconds: dict[str, float]) -> list[Group]:
        """This rank's groups of one attempt. Adds the attempt's examples of all ranks to `seen`.

        Examples in `seen` are skipped, because their completions would be the same.
        """
        examples = self.stream.examples(step, attempt, seen)
        mine, before = self.world.share(range(len(examples))), len(seen)
        marks = [time.perf_counter()]
        prompts = self.stream.prompts(step, attempt, seen) if examples else []
        seen |= {example.id for example in examples}
        if not prompts:
            return []
        marks.append(time.perf_counter())
        completions = self.source.rollout(prompts, self.group_size, self.sampling, self.seed, step)
        groups = [
            self.group(examples[i], prompt, answers, before + i)
            for i, prompt, answers in zip(mine, prompts, completions, strict=True)
        ]
        greedy = self._greedy(groups) if self.needs.greedy else []
        marks.append(time.perf_counter())
        if self.reward is not None:
            self._score(self.reward, groups, greedy)
        marks.append(time.perf_counter())
        for phase, begin, end in zip(("data", "rollout", "reward"), marks, marks[1:], strict=False):
            seconds[phase] += end - begin
        return groups

    def _count_with_variance(self, groups: Sequence[Group]) -> int:
        """Number of groups with reward variance, over all ranks."""
        return sum(self.world.gather(sum(_has_variance(group) for group in groups)))

    def _selected(self, groups: Sequence[Group]) -> list[Group]:
        """This rank's part of the groups that the step keeps: those with reward variance first, then the others."""
        mine = [(not _has_variance(group), group.place) for group in groups]
        ranked = sorted(one for rank in self.world.gather(mine) for one in rank)
        places = {old: new for new, (_, old) in enumerate(ranked[: self.stream.per_step])}
        kept = [replace(group, place=places[group.place]) for group in groups if group.place in places]
        return sorted(kept, key=lambda group: group.place)

    def group(self, example: Example, prompt: Prompt, completions: Sequence[Completion], place: int = 0) -> Group:
        """What the model answered to one example, as the task reads it."""
        answers = [self.policy.render(one, prompt) for one in completions]
        contents = [self.task.read(one) for one in answers]
        return Group(example, prompt, list(completions), answers, contents, place=place)

    def _greedy(self, groups: Sequence[Group]) -> list[Group]:
        """For each group, a group of one greedy completion."""
        answers = self.engine.greedy([group.prompt for group in groups], self.sampling.max_new_tokens)
        return [self.group(group.example, group.prompt, [one]) for group, one in zip(groups, answers, strict=True)]

    def _score(self, reward: RewardFunction, groups: Sequence[Group], greedy: Sequence[Group]) -> None:
        samples = [sample for group in [*groups, *greedy] for sample in group_samples(group)]
        rewards = iter(score_all(reward, samples, self.log))
        for group in [*groups, *greedy]:
            group.rewards = [self._penalized(next(rewards), one) for one in group.completions]
        for group, one in zip(groups, greedy, strict=False):
            group.greedy_reward = one.rewards[0]

    def _penalized(self, reward: Reward | None, completion: Completion) -> Reward | None:
        """The reward, minus the penalty where the completion was cut; the part `truncation` says what that was."""
        if reward is None or not self.truncation_penalty:
            return reward
        penalty = self.truncation_penalty if completion.finish_reason == "length" else 0.0
        return Reward(reward.value - penalty, {**reward.parts, "truncation": -penalty})


def _has_variance(group: Group) -> bool:
    values = [reward.value for reward in group.rewards if isinstance(reward, Reward)]
    return bool(values) and max(values) - min(values) > 1e-8
