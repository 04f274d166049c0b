"""The recipes of the built-in Whisper and wav2vec2 teach: on a few clips in noise, heard at every step."""

import numpy as np
import pytest
from conftest import REPOSITORY

from antiphon.config import load_config
from antiphon.run.train import train

OVERRIDES = [
    "device=cpu",
    "data.limit=8",
    "rollout.prompts_per_step=8",
    "optimizer.warmup_steps=4",
    "train.steps=16",
    "eval.limit=2",
    "eval.every=0",
]


@pytest.mark.parametrize("name", ["wav2vec2", "whisper"])
def test_a_recipe_halves_the_errors_on_the_clips_that_it_hears(name, tmp_path):
    recipe = REPOSITORY / "recipes" / f"{name}-grpo.yaml"
    result = train(load_config(recipe, [*OVERRIDES, f"output={tmp_path}"]))
    rewards = [row["reward_mean"] for row in result.run.metrics()]
    assert np.mean(rewards[-4:]) > 0.5 * np.mean(rewards[:4]), rewards
