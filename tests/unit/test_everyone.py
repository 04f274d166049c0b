"""What all ranks have of a step, in order, whatever each of them has: nothing, or groups that are not neighbors."""

from dataclasses import replace

import pytest
import torch
from rank_threads import on_ranks

from antiphon.algorithms import reinforce_pp
from antiphon.algorithms.inputs import Outcomes
from antiphon.algorithms.terms import counts, token_weights
from antiphon.distributed.world import World
from antiphon.run.gather import GroupGatherer
from antiphon.train.everyone import Everyone
from antiphon.types import Audio, Completion, Example, Group, Prompt

REWARDS = torch.tensor([[0.0, 1.0], [2.0, 2.0], [3.0, 5.0], [1.0, 0.0]])
SHARDS = {
    "even": [[0, 1], [2, 3]],
    "one has none": [[0, 1, 2, 3], []],
    "mixed": [[1, 3], [0, 2]],
    "three": [[2], [], [0, 1, 3]],
}


def group(place: int, length: int = 1) -> Group:
    completions = [Completion((1,) * length, (-0.5,) * length, "a", "stop")] * 2
    example, prompt = (
        Example(str(place), "asr", None, f"text {place}"),
        Prompt(str(place), torch.zeros(8000).numpy(), 16000),
    )
    answers = [Audio(torch.full((400,), float(place)).numpy(), 8000)] * 2
    return Group(example, prompt, completions, [*answers], [*answers], place=place)


def outcomes(rows: torch.Tensor) -> Outcomes:
    return Outcomes(rows, rows > -1, rows > -1, rows.long(), 8, torch.ones(*rows.shape, 1 + len(rows)))


@pytest.mark.parametrize("places", SHARDS.values(), ids=SHARDS)
def test_outcomes_are_those_of_all_groups_in_order_on_every_rank(places):
    def work(world):
        own = places[world.rank]
        everyone = Everyone(world, [group(place) for place in own])
        mine = outcomes(REWARDS[own] if own else torch.zeros(0, 0))
        found = everyone.outcomes(mine)
        teaching = everyone.where(mine.rewards.sum(-1) > 1)
        return found, everyone.own(found.rewards), teaching, everyone.mine(teaching)

    for (found, own, teaching, mine), expected in zip(on_ranks(len(places), work), places, strict=True):
        assert torch.equal(found.rewards, REWARDS)
        assert found.lengths.dtype == torch.long
        assert torch.equal(own, REWARDS[expected])
        assert teaching == [1, 2]
        assert [expected[index] for index in mine] == [place for place in teaching if place in expected]


@pytest.mark.parametrize("places", SHARDS.values(), ids=SHARDS)
def test_tokens_of_all_ranks_are_normalized_together(places):
    """REINFORCE++: each rank pads to its own longest completion, and all of them have the figures of one process."""
    lengths = torch.tensor([[1, 4], [2, 2], [3, 1], [5, 2]])
    kl = torch.arange(40.0).view(4, 2, 5) / 40
    settings = reinforce_pp.Settings(beta=0.3)

    def of(own: list[int]) -> Outcomes:
        width = int(lengths[own].max()) if own else 1
        mask = (torch.arange(width) < lengths[own][..., None]).float()
        return replace(outcomes(REWARDS[own]), mask=mask, reference_kl=kl[own][..., :width] * mask)

    expected = reinforce_pp.advantages(of([0, 1, 2, 3]), settings)

    def work(world):
        own = places[world.rank]
        everyone = Everyone(world, [group(place) for place in own])
        mine = of(own)
        made = everyone.own(reinforce_pp.advantages(everyone.outcomes(mine), settings))
        return own, made[..., : mine.mask.shape[-1]], made[..., mine.mask.shape[-1] :]

    for own, made, beyond in on_ranks(len(places), work):
        torch.testing.assert_close(made, expected[own][..., : made.shape[-1]])
        assert not beyond.any()


def test_one_process_has_it_all():
    everyone, mine = Everyone(World(), [group(0), group(0)]), outcomes(REWARDS[:2])
    assert everyone.outcomes(mine).rewards is mine.rewards
    assert everyone.mine([1]) == [1]


@pytest.mark.parametrize("normalization", ["token", "sequence", "constant"])
def test_weights_of_shards_with_global_totals_are_those_of_the_whole(normalization):
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    for first in range(len(mask) + 1):
        shards = mask[:first], mask[first:]
        tokens, completions = (sum(each) for each in zip(*map(counts, shards), strict=True))
        weights = [token_weights(one, normalization, 4, (tokens, completions)) for one in shards]
        assert torch.equal(torch.cat(weights), token_weights(mask, normalization, 4))


@pytest.mark.parametrize("places", SHARDS.values(), ids=SHARDS)
def test_rank_0_sees_the_groups_of_all_and_what_was_noted(places):
    logs: list[str] = []
    examples = [Example(str(place), "asr", None, f"text {place}") for place in range(4)]

    def work(world):
        groups = [group(place, 1 + place) for place in places[world.rank]]
        width = max([one.place + 1 for one in groups], default=1)
        rows = [[one.place] * (one.place + 1) + [0] * (width - one.place - 1) for one in groups for _ in range(2)]
        gather = GroupGatherer(world, examples, logs.append)
        gather.note(f"rank {world.rank}")
        return gather(groups, torch.tensor(rows).view(len(rows), width))

    (groups, advantages), *others = on_ranks(len(places), work)
    assert [one.example for one in groups] == examples
    assert [one.prompt.seconds for one in groups] == [0.5] * 4
    heard = [answer.waveform[0] for one in groups for answer in one.answers if isinstance(answer, Audio)]
    assert heard == [place for place in range(4) for _ in range(2)]
    assert advantages.tolist() == [[place] * (place + 1) + [0] * (3 - place) for place in range(4) for _ in range(2)]
    assert sorted(logs) == [f"rank {rank}" for rank in range(len(places))]
    assert all(not found and not len(rows) for found, rows in others)
