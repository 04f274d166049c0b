"""The WER reward by hand: both weightings, the cap, characters, empty references."""

import pytest

from antiphon.errors import ConfigError
from antiphon.rewards import Sample, group_samples, load_reward, score_all
from antiphon.types import Completion, Example, Group, Prompt, Reward, Text


def reward_of(label: str, response: str, language: str | None = "en", **settings) -> Reward:
    sample = Sample(id="u", prompt="", response=response, label=label, language=language)
    return score_all(load_reward({"name": "wer", **settings}), [sample])[0]


@pytest.mark.parametrize(
    ("label", "response", "value"),
    [
        ("One two three four.", "one two three four", 0.0),
        ("one two three four", "one two three", -0.25),
        ("one two three four", "", -1.0),
        ("one two", "nine nine nine nine nine", -1.0),
        ("", "", 0.0),
        ("", "...", 0.0),
        ("", "noise", -1.0),
        ("", "noise and more noise", -1.0),
        ("Привет, мир", "привет", -0.5),
    ],
)
def test_minus_wer_capped_at_one(label: str, response: str, value: float) -> None:
    assert reward_of(label, response).value == value


def test_a_perfect_score_is_plus_zero() -> None:
    assert str(reward_of("one", "one").value) == "0.0"


def test_cap() -> None:
    assert reward_of("one two", "a b c d e", cap=2).value == -2.0
    assert reward_of("one two", "a b c d e", cap=None).value == -2.5
    assert reward_of("", "a b c", cap=2).value == -2.0
    assert reward_of("", "a b c", cap=None).value == -3.0


def test_corpus_weighting_charges_edits_alike_in_short_and_long_clips() -> None:
    assert reward_of("one", "two", weighting="corpus").value == -0.1
    assert reward_of("one two three four", "one two three five", weighting="corpus").value == -0.1
    assert reward_of("one two three four", "one two three five", weighting="corpus", scale=4).value == -0.25


def test_corpus_weighting_caps_edits_at_the_reference_length() -> None:
    assert reward_of("one two", "a b c d e", weighting="corpus").value == -0.2
    assert reward_of("one two", "a b c d e", weighting="corpus", cap=None).value == -0.5
    assert reward_of("", "a b c", weighting="corpus").value == -0.1
    assert reward_of("", "", weighting="corpus").value == 0.0


def test_accuracy_is_one_minus_the_capped_rate() -> None:
    assert reward_of("one two three four", "one two three", form="accuracy").value == 0.75
    assert reward_of("one two", "a b c d e", form="accuracy") == Reward(0.0, {"wer": 2.5, "edits": 5.0})
    assert reward_of("", "", form="accuracy").value == 1.0
    assert reward_of("abcd", "abxd", form="accuracy", unit="char").value == 0.75


def test_parts_show_the_uncapped_rate_and_the_edits() -> None:
    assert reward_of("one two", "a b c d e").parts == {"wer": 2.5, "edits": 5.0}
    assert reward_of("abcd", "abxd", unit="char").parts == {"cer": 0.25, "edits": 1.0}


def test_normalizer_is_a_setting() -> None:
    assert reward_of("one two", "uh one two").value == -0.5
    assert reward_of("one two", "uh one two", normalizer="whisper").value == 0.0
    assert reward_of("One two", "one two", normalizer="none").value == -0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"capp": 2}, r"unknown key 'reward\.capp'; did you mean 'reward\.cap'\?"),
        ({"cap": 0}, r"'reward\.cap' must be more than 0, got 0"),
        ({"unit": "words"}, r"'reward\.unit' must be 'word' or 'char', got 'words'"),
        ({"form": "accuracy", "cap": 2}, r"'reward' has form: accuracy, .*; leave out cap and weighting"),
        ({"form": "accuracy", "weighting": "corpus"}, r"leave out cap and weighting"),
        ({"normalizer": "x"}, r"'reward\.normalizer' must be 'default', 'whisper', 'open-asr' or 'none', got 'x'"),
    ],
)
def test_wrong_settings_are_named(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_reward({"name": "wer", **settings})


def test_samples_of_a_group_carry_the_row_and_each_answer() -> None:
    example = Example("utt", "asr", None, "one two", speaker="jo", columns={"level": 3})
    completions = [
        Completion((1, 2), (-0.1, -0.2), "raw", "stop"),
        Completion((3,), (-0.3,), "raw", "length"),
    ]
    prompt = Prompt("utt", None, 16000, instruction="Transcribe.", language="en")
    group = Group(example, prompt, completions, answers=[Text("one two"), Text("one")], contents=["one two", "one"])
    first, second = group_samples(group)
    assert first == Sample("utt", "Transcribe.", "one two", "one two", 0, (1, 2), "en", "jo", {"level": 3})
    assert (second.index, second.response, second.completion_ids) == (1, "one", (3,))
    assert [reward.value for reward in score_all(load_reward("wer"), [first, second])] == [0.0, -0.5]
