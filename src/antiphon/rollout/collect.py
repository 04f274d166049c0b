"""One step's material: prompts from the data, completions from the engine, rewards for them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from antiphon.algorithms.inputs import Needs
from antiphon.data.stream import PromptStream
from antiphon.models.policy import Policy, Sampling
from antiphon.rewards import RewardFunction, group_samples, score_all
from antiphon.rollout.engine import Engine, Source
from antiphon.types import Completion, Example, Group, Prompt, Reward


@dataclass
class Collector:
    """Rolls out and rewards what a step learns from."""

    stream: PromptStream
    policy: Policy
    engine: Engine
    """Samples from the model: greedy answers always, and what is learned from where `source` is the engine too."""
    source: Source
    """Where the completions to learn from come from."""
    reward: RewardFunction | None
    """None where the algorithm needs no reward."""
    group_size: int
    sampling: Sampling
    seed: int
    needs: Needs
    log: Callable[[str], None] = lambda line: None
    """Told of every completion whose reward failed and was dropped."""

    def collect(self, step: int) -> tuple[list[Group], dict[str, float], dict[str, float]]:
        """The groups of `step` (0-based), metrics of collecting them, and the seconds of each phase.

        With dynamic sampling (DAPO, 2503.14476, section 3.2), further prompts are rolled out while there are fewer
        groups with spread than prompts in a step; where they run out, the groups that were found make up the step.
        """
        seconds: dict[str, float] = defaultdict(float)
        per_step = self.stream.per_step
        kept = self._roll_out(step, 0, (), seconds)
        for attempt in range(1, self.needs.dynamic_sampling + 1):
            if sum(_spread(group) for group in kept) >= per_step:
                break
            kept += self._roll_out(step, attempt, {group.example.id for group in kept}, seconds)
        metrics = {}
        if self.needs.dynamic_sampling:
            metrics["prompts_rolled_out"] = float(len(kept))
            kept.sort(key=lambda group: not _spread(group))
        return kept[:per_step], metrics, dict(seconds)

    def _roll_out(self, step: int, attempt: int, seen: Collection[str], seconds: dict[str, float]) -> list[Group]:
        """The groups of one attempt, but for examples already `seen`: their completions would be the same."""
        examples = self.stream.examples(step, attempt, seen)
        if not examples:
            return []
        marks = [time.perf_counter()]
        prompts = self.stream.prompts(step, attempt, seen)
        marks.append(time.perf_counter())
        completions = self.source.rollout(prompts, self.group_size, self.sampling, self.seed, step)
        groups = [self._group(*one) for one in zip(examples, prompts, completions, strict=True)]
        greedy = self._greedy(groups) if self.needs.greedy else []
        marks.append(time.perf_counter())
        if self.reward is not None:
            self._score(self.reward, groups, greedy)
        marks.append(time.perf_counter())
        for phase, begin, end in zip(("data", "rollout", "reward"), marks, marks[1:], strict=False):
            seconds[phase] += end - begin
        return groups

    def _group(self, example: Example, prompt: Prompt, completions: Sequence[Completion]) -> Group:
        return Group(example, prompt, list(completions), [self.policy.answer(one.text) for one in completions])

    def _greedy(self, groups: Sequence[Group]) -> list[Group]:
        """A group of one greedy answer for each group."""
        answers = self.engine.greedy([group.prompt for group in groups], self.sampling.max_new_tokens)
        return [self._group(group.example, group.prompt, [one]) for group, one in zip(groups, answers, strict=True)]

    def _score(self, reward: RewardFunction, groups: Sequence[Group], greedy: Sequence[Group]) -> None:
        samples = [sample for group in [*groups, *greedy] for sample in group_samples(group)]
        rewards = iter(score_all(reward, samples, self.log))
        for group in [*groups, *greedy]:
            group.rewards = [next(rewards) for _ in group.completions]
        for group, one in zip(groups, greedy, strict=False):
            group.greedy_reward = one.rewards[0]


def _spread(group: Group) -> bool:
    values = [reward.value for reward in group.rewards if isinstance(reward, Reward)]
    return bool(values) and max(values) - min(values) > 1e-8
