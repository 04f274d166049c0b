"""Recipes from which nothing can be learned are refused before anything is loaded."""

import pytest

from antiphon.config import load_config
from antiphon.errors import ConfigError
from antiphon.rewards import load_reward
from antiphon.run.train import train
from antiphon.train.objectives import recipe_defaults


def refused(tmp_path, *overrides: str) -> str:
    config = load_config(None, [f"output={tmp_path}", "data.train=nowhere.jsonl", *overrides], None, recipe_defaults)
    with pytest.raises(ConfigError) as error:
        train(config)
    assert not list(tmp_path.iterdir())
    return str(error.value)


def accepted(tmp_path, *overrides: str) -> bool:
    """Whether it gets as far as its data, which is not there."""
    config = load_config(None, [f"output={tmp_path}", "data.train=nowhere.jsonl", *overrides], None, recipe_defaults)
    with pytest.raises(Exception, match=r"nowhere\.jsonl"):
        train(config)
    return True


@pytest.mark.parametrize("name", ["grpo", "rloo", "mwer", "dapo", "reinforce_pp", "dr_grpo", "gspo", "cispo"])
def test_groups_of_one_are_refused_by_what_compares_within_a_group(tmp_path, name):
    said = refused(tmp_path, f"algorithm={name}", "rollout.group_size=1")
    assert f"'rollout.group_size' is 1, and {name} compares" in said
    assert "group_baseline=false" in said


def test_a_sum_is_refused_by_the_loss_that_would_learn_nothing(tmp_path):
    losses = "algorithm=[{name: opd, loss: sampled}, {name: rloo}]"
    assert "and rloo compares" in refused(tmp_path, losses, "rollout.group_size=1", "teacher=builtin:teacher")


@pytest.mark.parametrize(
    "algorithm", ["{name: reinforce_pp, group_baseline: false}", "{name: rloo, credit: alignment}", "self_critical"]
)
def test_groups_of_one_are_for_what_compares_elsewhere(tmp_path, algorithm):
    assert accepted(tmp_path, f"algorithm={algorithm}", "rollout.group_size=1")


@pytest.mark.parametrize(
    ("reward", "threshold", "highest"),
    [
        ("{name: wer, form: accuracy}", 1.5, "1"),
        ("wer", 0.7, "0"),
        ("exact", 2, "1"),
        ("[wer, {name: exact, weight: 0.5}]", 0.6, "0.5"),
        ("omni", 4.5, "4"),
    ],
)
def test_a_threshold_above_what_the_reward_can_give_is_refused(tmp_path, reward, threshold, highest):
    said = refused(tmp_path, "algorithm=raft", f"algorithm.threshold={threshold}", f"reward={reward}")
    assert f"'algorithm.threshold' of raft is {threshold:g}" in said
    assert f"is at most {highest}, so" in said


@pytest.mark.parametrize(
    "reward", ["{name: wer, form: accuracy}", "exact", "[wer, {name: format, weight: 2}]", "[{name: wer, weight: -1}]"]
)
def test_a_threshold_that_can_be_reached_or_not_be_known_is_not(tmp_path, reward):
    assert accepted(tmp_path, "algorithm=raft", "algorithm.threshold=1", f"reward={reward}")


def test_nothing_is_known_of_a_users_reward_unless_its_module_says_so(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def f(sample): return 1")
    assert load_reward(f"{path}:f").highest is None
    path.write_text(
        "from antiphon.config import Settings as Base\n"
        "class Settings(Base):\n    most: float = 3\n"
        "def build(settings): return lambda sample: settings.most\n"
        "def highest(settings): return settings.most\n"
    )
    assert load_reward(str(path)).highest == 3
    assert load_reward([{"name": str(path), "weight": 2}, "wer"]).highest == 6


@pytest.mark.parametrize("lr", ["0", "-1e-6", "0.0"])
def test_a_learning_rate_of_0_is_no_recipe(lr):
    with pytest.raises(ConfigError, match=r"optimizer\.lr"):
        load_config(None, [f"optimizer.lr={lr}"])


@pytest.mark.parametrize("algorithm", ["sft", "opd", "{name: opd, loss: sampled}"])
def test_only_a_reward_can_be_lowered(tmp_path, algorithm):
    given = (
        ("rollout.truncated=penalize", "teacher=builtin:teacher")
        if "opd" in algorithm
        else ("rollout.truncated=penalize",)
    )
    assert "'rollout.truncated' is penalize" in refused(tmp_path, f"algorithm={algorithm}", *given)
