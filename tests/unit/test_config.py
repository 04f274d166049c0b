"""Recipes: what wins, and what is said of a mistake."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from antiphon.config import Config, Settings, load_config, validate_settings
from antiphon.errors import ConfigError


def recipe(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path | None, *overrides: str, **flags: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides, flags)
    return str(caught.value)


def test_later_layers_win_over_earlier_ones(tmp_path):
    path = recipe(tmp_path, "model: a\ntask: asr\nrollout: {group_size: 4, temperature: 0.5}\n")
    config = load_config(path, ["rollout.group_size=2", "model=c"], {"model": "b", "data": "t.jsonl", "task": None})
    assert config.rollout.group_size == 2
    assert config.rollout.temperature == 0.5
    assert config.model == "c"
    assert config.data.train == ["t.jsonl"]
    assert config.train.steps == 100


def test_numbers_and_words_mean_what_they_look_like(tmp_path):
    path = recipe(tmp_path, "optimizer: {lr: 1e-5}\nlanguage: no\nname: 2026-11-20\n")
    config = load_config(path)
    assert config.optimizer.lr == 1e-5
    assert config.language == "no"
    assert config.name == "2026-11-20"


def test_an_algorithm_by_name_takes_settings_from_overrides():
    config = load_config(None, ["algorithm.clip_high=0.3"], {"algorithm": "grpo"})
    assert config.algorithm == {"name": "grpo", "clip_high": 0.3}
    assert load_config(None, ["reward=wer", "reward.cap=1.5"]).reward == {"name": "wer", "cap": 1.5}


def test_one_evaluation_set_needs_no_list():
    assert load_config(None, ["data.eval=dev.jsonl"]).data.eval == ["dev.jsonl"]
    assert load_config(None, ["data.eval=[a, b]"]).data.eval == ["a", "b"]


def test_training_sets_may_be_mixed():
    assert load_config(None, ["data.train=[a, b]"]).data.train == ["a", "b"]
    assert load_config(None, ["data.train=null"]).data.train == []


def test_the_written_recipe_reads_back_equal(tmp_path):
    overrides = ['context="1e-6"', 'language="no"', 'name="12"', "rollout.block_tokens=[1, 2]", "seed=7"]
    config = load_config(None, overrides)
    assert config.context == "1e-6"
    assert load_config(recipe(tmp_path, config.to_yaml())) == config


def test_an_unknown_key_is_named_with_its_source_and_the_nearest_name(tmp_path):
    path = recipe(tmp_path, "rollout:\n  group_sise: 4\n")
    assert refusal(path) == f"unknown key 'rollout.group_sise' in {path}; did you mean 'rollout.group_size'?"
    assert refusal(None, "optimizer.l=1") == (
        "unknown key 'optimizer.l' in the override 'optimizer.l=1'; did you mean 'optimizer.lr'?"
    )
    assert refusal(None, modle="x") == "unknown key 'modle' in --modle; did you mean 'model'?"


def test_a_key_in_the_wrong_section_is_sent_to_the_right_one(tmp_path):
    path = recipe(tmp_path, "group_size: 4\n")
    assert refusal(path) == f"unknown key 'group_size' in {path}; did you mean 'rollout.group_size'?"


def test_a_key_like_no_other_lists_the_valid_ones():
    assert "valid keys here: every, limit, before, after, batch_size" in refusal(None, "eval.zzz=1")


def test_every_problem_has_a_line_of_its_own(tmp_path):
    path = recipe(tmp_path, "rollout: {temperature: -1, group_size: 2.5}\ndevice: gpu\noptimizer: {betas: [0.9]}\n")
    assert refusal(path).splitlines() == [
        f"'rollout.group_size' in {path} must be a whole number, got 2.5",
        f"'rollout.temperature' in {path} must be at least 0, got -1",
        f"'optimizer.betas' in {path} has too few values; give value number 2",
        f"'device' in {path} must be 'auto', 'cpu' or 'cuda', got 'gpu'",
    ]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.save_every=0", "must be a number of steps, or -1 to save at the end only, got 0"),
        ("train.steps=true", "must be a whole number, got true"),
        ("optimizer.lr=.nan", "must be a finite number, got nan"),
        ("rollout=5", "must be a mapping of settings, got 5"),
        ("rollout.block_tokens=all", "must be 'special' or a list of token ids"),
        ("reward=[]", "must be a reward such as wer or file.py:function"),
        ("algorithm={clip: 1}", "must be an algorithm's name, or a mapping with its name"),
        ("name=../up", "must be letters, digits, dots, dashes and underscores, got '../up'"),
        ("data.min_seconds=40", "must have min_seconds below max_seconds, got 40.0 and 30.0"),
        ("train.minibatches=17", "must be at most 'rollout.prompts_per_step', got 17 and 16"),
    ],
)
def test_a_wrong_value_is_refused_in_words(override, said):
    assert said in refusal(None, override)


@pytest.mark.parametrize("value", [-1, 1, 200])
def test_saving_can_be_left_to_the_end(value):
    assert load_config(None, [f"train.save_every={value}"]).train.save_every == value


def test_malformed_yaml_is_placed_by_line_and_column(tmp_path):
    path = recipe(tmp_path, "model: a\nrollout: [1\ntask: b\n")
    assert f"malformed YAML in {path}, line 3, column 5" in refusal(path)


def test_a_key_given_twice_is_refused(tmp_path):
    path = recipe(tmp_path, "seed: 1\nseed: 2\n")
    assert refusal(path) == f"malformed YAML in {path}, line 2, column 1: the key 'seed' is given twice"


def test_yaml_cannot_name_python_objects(tmp_path):
    path = recipe(tmp_path, "model: !!python/object/apply:os.getcwd []\n")
    assert "could not determine a constructor" in refusal(path)


def test_a_recipe_that_cannot_be_read_is_named(tmp_path):
    missing = tmp_path / "none.yaml"
    assert (
        refusal(missing) == f"cannot read the recipe {missing}: No such file or directory; give the path of a YAML file"
    )
    (tmp_path / "latin.yaml").write_bytes("context: caf\xe9".encode("latin-1"))
    assert "is not UTF-8 text; save it as UTF-8" in refusal(tmp_path / "latin.yaml")
    assert "must be a mapping of keys to values, not list" in refusal(recipe(tmp_path, "- a\n"))
    assert refusal(recipe(tmp_path, "1: a\n")).startswith("the key 1 in ")


def test_an_override_without_a_value_says_how_to_write_one():
    assert refusal(None, "train.steps") == (
        "the override 'train.steps' is not KEY=VALUE; write it like train.steps=100"
    )


def test_an_override_below_a_plain_value_is_refused(tmp_path):
    path = recipe(tmp_path, "rollout: 5\n")
    assert f"sets a key of 'rollout', which is 5 in {path}, not a mapping" in refusal(path, "rollout.group_size=4")


def test_settings_of_other_parts_get_the_same_messages():
    class Clip(Settings):
        clip_low: float = 0.2
        clip_high: float = 0.28

    with pytest.raises(ConfigError) as caught:
        validate_settings(Clip, {"clip_hgih": 0.3}, "recipe.yaml", prefix="algorithm")
    assert str(caught.value) == (
        "unknown key 'algorithm.clip_hgih' in recipe.yaml; did you mean 'algorithm.clip_high'?"
    )
    assert validate_settings(Clip, {"clip_low": 1}, "recipe.yaml").clip_low == 1.0


def test_every_key_says_what_it_does():
    def undescribed(model: type[BaseModel]) -> list[str]:
        return [
            name
            for name, field in model.model_fields.items()
            if not field.description and not issubclass(type(field.default), Settings)
        ]

    sections = [type(field.default) for field in Config.model_fields.values() if isinstance(field.default, Settings)]
    assert len(sections) >= 7
    assert {model.__name__: undescribed(model) for model in [Config, *sections] if undescribed(model)} == {}
