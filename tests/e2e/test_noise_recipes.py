"""GRPO teaches the built-in Whisper and wav2vec2 to hear through noise: the start of their recipes."""

import pytest
from conftest import REPOSITORY

from antiphon.config import load_config
from antiphon.experiment import train

OVERRIDES = [
    "device=cpu",
    "data.limit=128",
    "rollout.prompts_per_step=8",
    "optimizer.warmup_steps=8",
    "train.steps=32",
    "eval.limit=100",
    "eval.every=0",
]


@pytest.mark.parametrize("name", ["wav2vec2", "whisper"])
def test_a_few_steps_of_the_recipe_lower_the_error_rate(name, tmp_path):
    recipe = REPOSITORY / "recipes" / f"{name}-grpo.yaml"
    result = train(load_config(recipe, [*OVERRIDES, f"output={tmp_path}"]))
    (before,), (after,) = result.before.values(), result.after.values()
    assert after["wer"] <= 0.85 * before["wer"]
