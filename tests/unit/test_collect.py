"""Dynamic sampling: more rollouts until enough groups have reward variance, no prompt twice, and not forever."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from rank_threads import on_ranks

from antiphon.algorithms.inputs import Needs
from antiphon.distributed.world import World
from antiphon.models.policy import Sampling
from antiphon.rollout.collect import Collector
from antiphon.tasks.load import find_task
from antiphon.types import Completion, Example, Prompt, Reward, Text


class Stream:
    """What each attempt at a step brings; the ids of `hopeful` examples are in capitals."""

    per_step = 2

    def __init__(self, *attempts: str, world: World | None = None) -> None:
        self.attempts, self.asked, self.world = attempts, 0, world or World()

    def examples(self, step: int, attempt: int = 0, without=()) -> list[Example]:
        self.asked = max(self.asked, attempt + 1)
        return [Example(one, "asr", None, "one") for one in self.attempts[attempt] if one not in without]

    def prompts(self, step: int, attempt: int = 0, without=()) -> list[Prompt]:
        mine = self.world.share(self.examples(step, attempt, without))
        return [Prompt(one.id, None, 16000) for one in mine]


class Engine:
    """Two completions a prompt, and a greedy one."""

    def rollout(self, prompts, group_size, sampling, seed, step):
        return [[Completion((i,), (-1.0,), f"{one.id}{i}", "stop") for i in range(group_size)] for one in prompts]

    def greedy(self, prompts, max_new_tokens):
        return [Completion((9,), (-1.0,), f"{one.id}9", "stop") for one in prompts]


class Score:
    """Tells the completions of capitals apart, and no others."""

    name = "score"

    async def score(self, samples):
        return [Reward(float(one.response[-1]) if one.response[0].isupper() else 0.0) for one in samples]


def collector(stream: Stream, **needs: Any) -> Collector:
    policy: Any = SimpleNamespace(render=lambda completion, prompt: Text(completion.text))
    parts: Any = {"stream": stream, "policy": policy, "engine": Engine(), "source": Engine(), "reward": Score()}
    parts["task"] = find_task("asr")
    return Collector(**parts, group_size=2, sampling=Sampling(1.0, 8), seed=0, needs=Needs(**needs))


@pytest.mark.parametrize(
    ("attempts", "most", "kept", "rolled_out", "asked"),
    [
        pytest.param(["AB", "CD"], 4, "AB", 2, 1, id="enough at once"),
        pytest.param(["Ab", "cD", "EF"], 4, "AD", 4, 2, id="refilled, and no further"),
        pytest.param(["Ab", "AC"], 4, "AC", 3, 2, id="what was had already is not rolled out again"),
        pytest.param(["ab", "cd", "Ef", "GH"], 2, "Ea", 6, 3, id="stops in time, and keeps what was found first"),
        pytest.param(["Ab", "CD"], 0, "Ab", None, 1, id="not asked for"),
    ],
)
def test_zero_variance_groups_are_replaced(attempts, most, kept, rolled_out, asked):
    stream = Stream(*attempts)
    groups, metrics, seconds = collector(stream, dynamic_sampling=most).collect(0)
    assert "".join(group.example.id for group in groups) == kept
    assert metrics.get("prompts_rolled_out") == rolled_out
    assert stream.asked == asked
    assert set(seconds) == {"data", "rollout", "reward"}


def test_the_greedy_answer_is_scored_beside_the_samples():
    groups, _, _ = collector(Stream("Ab"), greedy=True).collect(0)
    assert [group.greedy_reward for group in groups] == [Reward(9.0), Reward(0.0)]
    assert [[reward and reward.value for reward in group.rewards] for group in groups] == [[0, 1], [0, 0]]


def test_truncated_answers_may_cost():
    """The second of each two is cut: its reward is lowered, which gives variance to groups that had none."""

    class Cut(Engine):
        def rollout(self, prompts, group_size, sampling, seed, step):
            groups = super().rollout(prompts, group_size, sampling, seed, step)
            return [[first, replace(second, finish_reason="length")] for first, second in groups]

    one: Any = collector(Stream("Ab"))
    one.source = Cut()
    one.truncation_penalty = 0.25
    groups, _, _ = one.collect(0)
    assert [[reward and reward.value for reward in group.rewards] for group in groups] == [[0, 0.75], [0, -0.25]]
    assert [reward and reward.parts["truncation"] for reward in groups[0].rewards] == [0, -0.25]
    one.truncation_penalty = 0.0
    assert [reward and reward.parts for reward in one.collect(0)[0][0].rewards] == [{}, {}]


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("attempts", [["AB", "CD"], ["Ab", "cD", "EF"], ["ab", "cd", "Ef"], ["Ab", "AC"]])
def test_ranks_choose_together_what_one_process_chooses(attempts, ranks):
    (expected,) = on_ranks(1, lambda world: collector(Stream(*attempts), dynamic_sampling=2).collect(0))

    def work(world):
        stream = Stream(*attempts, world=world)
        return replace(collector(stream, dynamic_sampling=2), world=world).collect(0)

    found = on_ranks(ranks, work)
    placed = sorted((group.place, group.example.id) for groups, _, _ in found for group in groups)
    assert placed == [(place, group.example.id) for place, group in enumerate(expected[0])]
    assert all(metrics == expected[1] for _, metrics, _ in found)
