"""Engines by what a recipe calls them: built in, of the user's, unknown, and unable to do what a run needs."""

import pytest

from antiphon.config import load_config
from antiphon.errors import ConfigError
from antiphon.models.policy import Sampling
from antiphon.rollout.engine import load_engine
from antiphon.rollout.engines.in_process import InProcessEngine

SHOUTING = """
from dataclasses import replace
from antiphon.rollout.engines.in_process import InProcessEngine

class Counting(InProcessEngine):
    def __init__(self, policy, rollout, limit=None):
        super().__init__(policy, rollout.max_tokens, limit)
        self.asked = 0

    def rollout(self, *asked):
        self.asked += 1
        return super().rollout(*asked)

class Mute(InProcessEngine):
    def __init__(self, policy, rollout):
        super().__init__(policy)
        self.capabilities = replace(self.capabilities, logprobs=False, audio=False)

def nothing(policy, rollout):
    return object()
"""


class Policy:
    rate, version = 16000, 0


@pytest.fixture
def engines(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(SHOUTING)
    monkeypatch.chdir(tmp_path)


def rollout(*overrides):
    return load_config(overrides=[f"rollout.engine{one}" for one in overrides]).rollout


def test_the_default_samples_in_process_and_takes_its_options():
    engine = load_engine(Policy(), rollout())
    assert isinstance(engine, InProcessEngine)
    assert engine.max_tokens == rollout().max_tokens
    assert load_engine(Policy(), rollout(".max_prompts=3")).max_prompts == 3
    assert load_engine(Policy(), rollout("={name: in_process, max_prompts: 4}")).max_prompts == 4


def test_syncing_stamps_the_version_that_completions_carry():
    policy = Policy()
    load_engine(policy, rollout()).sync(policy, 7)
    assert policy.version == 7


def test_a_user_has_one_in_a_file_with_options_of_its_own(engines):
    engine = load_engine(Policy(), rollout("={name: mine.py:Counting, limit: 2}"))
    assert type(engine).__name__ == "Counting"
    assert engine.max_prompts == 2
    assert engine.rollout([], 2, Sampling(), 0, 0) == []
    assert engine.asked == 1


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("=in_proces", "did you mean 'in_process'"),
        (".max_promts=3", "did you mean 'rollout.engine.max_prompts'"),
        ("=mine.py:Countin", "did you mean 'Counting'"),
        ("={name: mine.py:Counting, limits: 2}", "limits"),
        ("=mine.py:Mute", "does not support logprobs, audio"),
        ("=mine.py:nothing", "has no capabilities, sync, rollout, greedy"),
    ],
)
def test_what_is_wrong_with_an_engine_is_said_before_a_run(engines, setting, says):
    with pytest.raises(ConfigError, match=says):
        load_engine(Policy(), rollout(setting))
