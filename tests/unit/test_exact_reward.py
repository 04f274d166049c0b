"""The exact-answer reward by hand: normalizing, aliases, similarity."""

import pytest

from antiphon.errors import ConfigError
from antiphon.rewards import Sample, load_reward, score_all
from antiphon.types import Reward


def reward_of(label: str, response: str, language: str | None = "en", **settings) -> Reward:
    sample = Sample(id="u", prompt="", response=response, label=label, language=language)
    return score_all(load_reward({"name": "exact", **settings}), [sample])[0]


@pytest.mark.parametrize(
    ("label", "response", "value"),
    [
        ("stop", "Stop.", 1.0),
        ("stop", "stop it", 0.0),
        ("turn left", " turn  LEFT", 1.0),
        ("two", "2", 1.0),
        ("on", "no", 0.0),
        ("", "", 1.0),
        ("", "...", 1.0),
        ("", "noise", 0.0),
        ("stop", "", 0.0),
    ],
)
def test_equal_after_normalizing(label: str, response: str, value: float) -> None:
    assert reward_of(label, response) == Reward(value)


def test_normalizer_is_a_setting_and_language_decides() -> None:
    assert reward_of("stop", "Stop", normalizer="none").value == 0.0
    assert reward_of("ısı", "ISI", language="tr").value == 1.0
    assert reward_of("ısı", "ISI", language="en").value == 0.0


def test_aliases_stand_for_labels_on_either_side() -> None:
    aliases = {"Yeah!": "yes", "okay": "Yes", "go": "start"}
    assert reward_of("yes", "yeah", aliases=aliases).value == 1.0
    assert reward_of("yes", "OKAY.", aliases=aliases).value == 1.0
    assert reward_of("yeah", "yes", aliases=aliases).value == 1.0
    assert reward_of("okay", "yeah", aliases=aliases).value == 1.0
    assert reward_of("yes", "go", aliases=aliases).value == 0.0
    assert reward_of("yes", "yeah yeah", aliases=aliases).value == 0.0


def test_fuzzy_counts_edits_over_the_longer_text() -> None:
    close = reward_of("bedroom", "bedrom", fuzzy=0.85)  # 1 edit in 7 characters
    assert close.value == 1.0
    assert close.parts["similarity"] == pytest.approx(6 / 7)
    assert reward_of("bedroom", "bedrom", fuzzy=0.86).value == 0.0
    assert reward_of("bed", "beds", fuzzy=0.75).value == 1.0  # 1 edit in 4
    assert reward_of("bedroom", "Bedroom", fuzzy=1.0) == Reward(1.0, {"similarity": 1.0})
    assert reward_of("", "", fuzzy=0.5).value == 1.0
    assert reward_of("yes", "yeh", fuzzy=0.9, aliases={"yeh": "yes"}).value == 1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alias": {}}, r"unknown key 'reward\.alias'; did you mean 'reward\.aliases'\?"),
        ({"fuzzy": 0}, r"'reward\.fuzzy' must be more than 0, got 0"),
        ({"fuzzy": 90}, r"'reward\.fuzzy' must be at most 1, got 90"),
        ({"aliases": {"yeah": 1}}, r"'reward\.aliases\.yeah' must be text"),
        ({"aliases": ["yeah"]}, r"'reward\.aliases' must be a mapping of names"),
    ],
)
def test_wrong_settings_are_named(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_reward({"name": "exact", **settings})
