"""From a recipe in Python to the configuration of a run; and which rewards another process can import."""

import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import antiphon
from antiphon import DeploymentConfig, MultimodalDataset, Recipe, TrainConfig
from antiphon.api.importable import require_importable
from antiphon.api.launch import as_overrides, launch
from antiphon.config import load_config
from antiphon.errors import ConfigError
from antiphon.runs.checkpoints import Checkpoint


def my_reward(sample):
    return 0.0


class Callable:
    def __call__(self, sample):
        return 0.0


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, antiphon; heavy = {'torch', 'transformers', 'numpy', 'datasets', 'nicegui', 'pydantic'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules);"
        "antiphon.TrainConfig, antiphon.EvalConfig, antiphon.DeploymentConfig, antiphon.MultimodalDataset;"
        "assert not {'torch', 'transformers', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_name_of_the_package_is_there():
    for name in antiphon.__all__:
        assert getattr(antiphon, name).__name__ == name
        assert name in dir(antiphon)
    with pytest.raises(AttributeError, match="no attribute 'TrainConfiguration'"):
        _ = antiphon.TrainConfiguration


def test_settings_go_by_their_keys_nested_or_dotted():
    recipe = Recipe("grpo", optimizer={"lr": 1e-4}, **{"rollout.group_size": 4}, seed=3, algorithm={"beta": 0.1})
    config = TrainConfig("builtin:teacher", "train.jsonl", recipe, eval_dataset=["dev.jsonl"], output="out").config()
    assert (config.model, config.output, config.seed) == ("builtin:teacher", "out", 3)
    assert (config.data.train, config.data.eval) == (["train.jsonl"], ["dev.jsonl"])
    assert (config.optimizer.lr, config.rollout.group_size) == (1e-4, 4)
    assert config.algorithm == {"name": "grpo", "beta": 0.1}


def test_evaluation_sets_may_be_several_of_any_kind(tmp_path):
    rows = [{"prompt": "Why?", "label": ""}]
    mixed = ["dev.jsonl", MultimodalDataset(rows=rows, modality="text")]
    config = TrainConfig("builtin:student", "train.jsonl", eval_dataset=mixed, output=tmp_path).config()
    assert config.data.eval[0] == "dev.jsonl"
    assert config.data.eval[1].endswith("MultimodalDataset.jsonl")
    single = TrainConfig(
        "builtin:student", "train.jsonl", eval_dataset=[{"audio": "a.wav", "text": ""}], output=tmp_path
    )
    assert len(single.config().data.eval) == 1, "a list of rows is one data set"


def test_empty_mappings_lists_and_nothing_are_values():
    recipe = Recipe("opd", lora={}, teacher=[{"model": "builtin:teacher"}], data={"limit": None}, freeze=["head"])
    config = TrainConfig(dataset="train.jsonl", recipe=recipe).config()
    assert config.lora is not None
    assert config.teacher[0].model == "builtin:teacher"
    assert (config.data.limit, config.freeze) == (None, ["head"])


def test_an_algorithm_brings_its_defaults():
    config = TrainConfig(dataset="train.jsonl", recipe="raft").config()
    assert config.reward == {"name": "wer", "form": "accuracy"}
    assert (config.train.steps, config.rollout.prompts_per_step) == (6, None)
    assert TrainConfig(dataset="a.jsonl", recipe=Recipe("raft", train={"steps": 2})).config().train.steps == 2


def test_a_recipe_file_is_a_recipe(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "model: builtin:whisper\nalgorithm: rloo\noptimizer: {lr: 1e-3, warmup_steps: 7}\n"
    )
    config = TrainConfig(dataset="a.jsonl", recipe=Recipe(tmp_path / "mine.yaml", optimizer={"lr": 1e-4})).config()
    assert (config.model, config.algorithm_name) == ("builtin:whisper", "rloo")
    assert (config.optimizer.lr, config.optimizer.warmup_steps) == (1e-4, 7)
    assert load_config(tmp_path / "mine.yaml").optimizer.lr == 1e-3


def test_rewards_are_named_in_the_recipe():
    assert TrainConfig(dataset="a.jsonl", recipe=Recipe(reward="exact")).config().reward == "exact"
    named = TrainConfig(dataset="a.jsonl", recipe=Recipe(reward=["wer", {"name": my_reward, "weight": 0.5}])).config()
    assert named.reward == ["wer", {"name": f"{__name__}:my_reward", "weight": 0.5}]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (TrainConfig("a", recipe=Recipe(optimiser={"lr": 1e-4})), "unknown key 'optimiser'.* did you mean 'optimizer'"),
        (TrainConfig("a", recipe=Recipe(optimizer={"lr": "high"})), "'optimizer.lr' .* must be a number"),
        (TrainConfig("a", recipe=Recipe(model="b")), "'model' is set by TrainConfig and by its recipe"),
        (
            TrainConfig("a", recipe=Recipe(seed=object())),
            "the setting 'seed' is of type object, which",
        ),
        (TrainConfig("a", recipe="grpoo"), "did you mean 'grpo'"),
        (TrainConfig("a", recipe="nowhere.yaml"), "cannot read the recipe nowhere.yaml"),
    ],
)
def test_what_is_wrong_is_said_in_the_recipes_words(config, message):
    with pytest.raises(ConfigError, match=message):
        config.config()


def test_a_checkpoint_is_a_model(tmp_path):
    checkpoint = Checkpoint(20, tmp_path / "step-000020")
    assert TrainConfig(checkpoint, "a.jsonl").config().model == str(checkpoint.path)
    assert DeploymentConfig(checkpoint).weights == str(checkpoint.path)
    deployed = DeploymentConfig("builtin:student", checkpoint)
    assert (deployed.weights, deployed.served_model_name) == (str(checkpoint.path), "builtin:student")


def test_a_reward_that_another_process_can_import_passes():
    require_importable(["wer", {"name": my_reward}, "file.py:f", None])


@pytest.mark.parametrize(
    ("reward", "obstacle"),
    [
        (lambda sample: 0.0, "it is a lambda"),
        ([{"name": lambda sample: 0.0, "weight": 2}], "it is a lambda"),
        (Callable(), "an object of type Callable"),
        (functools.partial(my_reward), "an object of type partial"),
    ],
)
def test_a_reward_that_it_cannot_import_is_refused_with_the_remedy(reward, obstacle):
    with pytest.raises(ConfigError, match=f"launch.* {obstacle}.*; put it into a file .*rewards.py:function.* train"):
        require_importable(reward)


def test_a_function_inside_another_is_refused():
    def inner(sample):
        return 0.0

    with pytest.raises(ConfigError, match="inside another function"):
        require_importable(inner)


def test_a_function_that_was_replaced_is_refused(monkeypatch):
    reward = my_reward
    monkeypatch.setattr(sys.modules[__name__], "my_reward", lambda sample: 1.0)
    with pytest.raises(ConfigError, match="no longer has this 'my_reward'"):
        require_importable(reward)


@pytest.mark.parametrize(
    ("last", "obstacle"),
    [
        ("require_importable(reward)", 'has no if __name__ == "__main__": around its main part'),
        ('if __name__ == "__main__":\n    require_importable(reward)', None),
    ],
)
def test_a_script_that_would_run_again_is_refused(tmp_path, last, obstacle):
    script = tmp_path / "script.py"
    script.write_text(
        "from antiphon.api.importable import require_importable\n\ndef reward(sample):\n    return 0.0\n\n" + last
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert (ended.returncode == 0) == (obstacle is None)
    assert obstacle is None or obstacle in ended.stderr


def test_a_notebook_has_no_file_to_import_from():
    code = "from antiphon.api.importable import require_importable as check\ndef f(sample): return 0\ncheck(f)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "it is defined in a notebook" in ended.stderr


def test_a_launched_run_launches_none(monkeypatch):
    monkeypatch.setenv("ANTIPHON_LAUNCHED", "1")
    with pytest.raises(ConfigError, match="called by a file that a launched run imports"):
        launch(load_config())


ODD = ["emoji 😀", "007", "no", "1e3", "null", "a: b # c", "line\u2028break\x7f\n\ttab", "'\"\\", " ends ", ""]


@pytest.mark.parametrize("text", ODD)
def test_values_arrive_as_they_are(text):
    nested = {"name": "opd", "alias": {text or "empty": [text, None, 1e-6, True, {}]}}
    recipe = Recipe("grpo", context=text, optimizer={"lr": 1e-6}, data={"limit": None}, reward=nested)
    config = TrainConfig("builtin:student", Path("train.jsonl"), recipe).config()
    assert (config.context, config.optimizer.lr, config.data.limit) == (text, 1e-6, None)
    assert (config.reward, config.data.train) == (nested, ["train.jsonl"])
    assert load_config(None, as_overrides(config)) == config, "a launched run resumes with the same"


def test_tuples_and_numbers_of_numpy_become_plain():
    recipe = Recipe("grpo", freeze=("audio_encoder",), optimizer={"lr": np.float64(1e-4)})
    config = TrainConfig("builtin:student", "train.jsonl", recipe).config()
    assert config.freeze == ["audio_encoder"]
    assert type(config.optimizer.lr) is float
