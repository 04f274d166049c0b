"""What RAFT keeps, what it and SFT make of it, and the recipe of its cycles."""

import pytest
import torch
from loss_inputs import double, leaf, learned, outcomes, scores

from antiphon.algorithms import raft, sft
from antiphon.config import load_config
from antiphon.train.objectives import recipe_defaults
from antiphon.train.optimizer import schedule_factor

REWARDS = [[0.9, 0.5, 0.95, 0.2], [0.6, 0.6, 0.1, 0.3]]


def kept(settings: dict, **given) -> list[list[float]]:
    return raft.advantages(outcomes(REWARDS, **given), raft.Settings(**settings)).tolist()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param({}, [[0, 0, 1, 0], [1, 0, 0, 0]], id="the best, the earlier of two equal ones"),
        pytest.param({"best": 2}, [[1, 0, 1, 0], [1, 1, 0, 0]], id="by rank"),
        pytest.param({"best": 9, "threshold": 0.6}, [[1, 0, 1, 0], [1, 1, 0, 0]], id="the threshold itself suffices"),
        pytest.param({"threshold": 0.7}, [[0, 0, 1, 0], [0, 0, 0, 0]], id="a prompt may have none"),
        pytest.param({"threshold": 2.0}, [[0, 0, 0, 0], [0, 0, 0, 0]], id="all may have none"),
        pytest.param({"top_share": 0.5}, [[0, 0, 1, 0], [0, 0, 0, 0]], id="the better half of two"),
        pytest.param({"best": 2, "top_share": 0.75}, [[1, 0, 1, 0], [1, 0, 0, 0]], id="three of four, a tie by order"),
        pytest.param(
            {"best": 2, "threshold": 0.6, "top_share": 0.5}, [[1, 0, 1, 0], [0, 0, 0, 0]], id="half of the four above"
        ),
        pytest.param(
            {"best": 4, "threshold": 0.6, "top_share": 0.25, "top_share_first": True},
            [[1, 0, 1, 0], [0, 0, 0, 0]],
            id="halo-forge: a quarter of all eight, and of those what is good enough",
        ),
        pytest.param(
            {"best": 4, "threshold": 0.92, "top_share": 0.5, "top_share_first": True},
            [[0, 0, 1, 0], [0, 0, 0, 0]],
            id="halo-forge: one of the better half is good enough",
        ),
        pytest.param({"best": 4, "top_share": 0.01}, [[0, 0, 1, 0], [0, 0, 0, 0]], id="never less than one"),
    ],
)
def test_selection_by_rank_threshold_and_top_share(settings, expected):
    assert kept(settings) == expected


def test_neither_repeats_nor_dropped_candidates_are_kept():
    first = torch.tensor([[True, True, True, True], [True, False, True, True]])
    assert kept({"best": 2}, first=first) == [[1, 0, 1, 0], [1, 0, 0, 1]]
    valid = torch.tensor([[True, True, False, True], [False] * 4])
    assert kept({}, valid=valid) == [[1, 0, 0, 0], [0, 0, 0, 0]]


def test_a_candidate_that_the_loss_leaves_out_makes_room_for_the_next():
    """Truncated, with `rollout.truncated: mask`."""
    mask = torch.ones(2, 4, 1)
    mask[0, 2] = 0
    assert kept({}, mask=mask) == [[1, 0, 0, 0], [1, 0, 0, 0]]


# −Σ w A log p: of three tokens of weight 1/2 that were kept or not, with log p = −1, −2 and −4.
def test_the_loss_is_the_likelihood_of_what_was_kept():
    given = scores(
        leaf([[-1.0, -2.0], [-4.0, 0.0]]),
        advantages=double([[1.0, 1.0], [0.0, 0.0]]),
        weights=double([[0.5, 0.5], [0.5, 0.0]]),
    )
    loss, gradient, metrics = learned(raft, raft.Settings(), given)
    assert loss == metrics["nll"] == 1.5
    assert gradient.tolist() == [[-0.5, -0.5], [0, 0]]
    assert raft.needs(raft.Settings()).mean_over == "rows"


def test_sft_is_the_likelihood_of_the_references():
    given = scores(leaf([[-1.0, -2.0], [-4.0, 0.0]]), weights=double([[0.25, 0.25], [0.5, 0.0]]))
    loss, gradient, metrics = learned(sft, sft.Settings(), given)
    assert loss == metrics["nll"] == 0.25 + 0.5 + 2
    assert gradient.tolist() == [[-0.25, -0.25], [-0.5, 0]]
    assert (sft.needs(sft.Settings()).source, sft.needs(sft.Settings()).rewards) == ("labels", False)


def test_cycles_decay_the_learning_rate_down_to_a_floor():
    config = load_config(flags={"algorithm": "raft", "cycles": 20}, defaults=recipe_defaults)
    assert config.train.steps == 20
    assert config.rollout.prompts_per_step is None
    factors = [schedule_factor(step, 20, config.optimizer) for step in range(20)]
    assert factors[:3] == pytest.approx([1, 0.85, 0.85**2])
    assert factors[14] == pytest.approx(0.85**14)
    assert factors[15:] == [0.1] * 5


def test_what_is_set_wins_over_the_algorithms_defaults():
    given = ["optimizer.decay=0.5", "reward=exact", "rollout.group_size=2"]
    config = load_config(None, given, {"algorithm": "raft"}, recipe_defaults)
    assert (config.optimizer.decay, config.reward, config.rollout.group_size) == (0.5, "exact", 2)
    assert config.optimizer.lr == 5e-5


def test_a_setting_is_held_to_the_algorithms_defaults_and_not_to_the_recipes():
    config = load_config(
        None, ["algorithm.best=2", "algorithm.name=raft", "train.minibatches=48"], None, recipe_defaults
    )
    assert (config.train.minibatches, config.rollout.prompts_per_step) == (48, None)
