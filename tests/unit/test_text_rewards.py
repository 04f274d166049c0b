"""The rewards hallucination, keywords, language, format and omni by hand."""

import time

import pytest

from antiphon.errors import ConfigError, RewardError
from antiphon.rewards import Sample, load_reward, score_all
from antiphon.types import Reward


def reward_of(name: str, label: str, response: str, language: str | None = "en", columns=None, **settings) -> Reward:
    sample = Sample("u", "", response, label, language=language, metadata=columns or {})
    (reward,) = score_all(load_reward({"name": name, **settings}), [sample])
    assert reward is not None
    return reward


@pytest.mark.parametrize(
    ("label", "response", "value", "inserted", "empty"),
    [
        ("one two three four", "one two three four", 0.0, 0.0, 0.0),
        ("one two three four", "one two three four five", 0.0, 0.25, 0.0),  # WER 0.25: charged by WER alone
        ("one two three four", "five six seven eight", 0.0, 0.0, 0.0),  # substitutions are WER's
        ("one two three four", "one two three four five six", -0.5, 0.5, 0.0),
        ("one two", "one two " * 4, -1.0, 3.0, 0.0),
        ("one two", "", -1.0, 0.0, 1.0),
        ("one two", "...", -1.0, 0.0, 1.0),
        ("", "", 0.0, 0.0, 0.0),
        ("", "thank you", -1.0, 2.0, 0.0),
    ],
)
def test_hallucination_charges_insertions_and_empty_answers(label, response, value, inserted, empty) -> None:
    assert reward_of("hallucination", label, response) == Reward(value, {"insertions": inserted, "empty": empty})


def test_hallucination_settings() -> None:
    assert reward_of("hallucination", "one two three four", "one two three four five", threshold=0.2).value == -0.25
    assert reward_of("hallucination", "one", "", empty=3.0).value == -3.0
    assert reward_of("hallucination", "one two", "one two nine", insertions=2.0).value == -1.0
    assert reward_of("hallucination", "one", "One nine", normalizer="none").parts["insertions"] == 1.0


def test_hallucination_ranks_what_wer_holds_equal() -> None:
    reward = load_reward(["wer", "hallucination"])
    silent, loop, near = (Sample("u", "", text, "one two", language="en") for text in ("", "a b c d", "one too too"))
    scores = [scored.value for scored in score_all(reward, [silent, loop, near]) if scored is not None]
    assert scores == [-2.0, -2.0, -1.5]


@pytest.mark.parametrize(
    ("label", "response", "value", "parts"),
    [
        ("call Anna now", "call anna now", 1.0, {"recall": 1.0, "precision": 1.0}),
        ("call Anna now", "call Hannah now", 0.0, {"recall": 0.0}),
        ("call now", "call Anna now", 0.0, {"precision": 0.0}),
        ("call now", "call then", 1.0, {}),
        ("Anna meets Bob", "Anna meets Rob", 2 / 3, {"recall": 0.5, "precision": 1.0}),
        ("Anna", "Anna Anna Bob", 0.5, {"recall": 1.0, "precision": 1 / 3}),
        ("go to New York", "go to york", 0.0, {"recall": 0.0}),
        ("go to new-york", "New York!", 1.0, {"recall": 1.0, "precision": 1.0}),
    ],
)
def test_keywords_f1(label: str, response: str, value: float, parts: dict) -> None:
    scored = reward_of("keywords", label, response, words=["Anna", "Bob", "New York", "..."])
    assert scored.value == pytest.approx(value)
    assert scored.parts == pytest.approx(parts)


def test_keywords_of_each_row_from_a_column() -> None:
    hot = {"keywords": ["Anna"], "names": ["Bob"]}
    assert reward_of("keywords", "Anna and Bob", "Bob", columns=hot).value == 0.0
    assert reward_of("keywords", "Anna and Bob", "Bob", columns=hot, column="names").value == 1.0
    assert reward_of("keywords", "Anna", "Bob", columns={"keywords": []}).value == 1.0
    assert (
        reward_of("keywords", "我要打电话给小明", "小明", None, columns={"keywords": ["小明", "电话"]}).value == 2 / 3
    )


def test_a_rows_own_words_come_before_those_of_all_rows() -> None:
    for own in ({"keywords": "Anna, Bob"}, {"hotwords": ["Anna", "Bob"]}, {"hotword": "Anna\nBob"}):
        assert reward_of("keywords", "Anna and Bob", "Bob", columns=own, words=["Anna"]).value == pytest.approx(2 / 3)
    assert reward_of("keywords", "Anna and Bob", "Bob", columns={"keywords": None}, words=["Anna"]).value == 0.0


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({}, "has no column 'keywords' with keywords and no hot words"),
        ({"keywords": None}, "has no column 'keywords' with keywords and no hot words"),
        ({"keywords": [1]}, r'"keywords" is \[1\]; give a list of strings'),
        ({"hotwords": {"a": 1}}, '"hotwords" is {.*}; give a list of strings'),
    ],
)
def test_a_row_without_keywords_is_named(held: dict, message: str) -> None:
    with pytest.raises(RewardError, match=rf"^reward 'keywords': sample 'u' \(completion 0\):? {message}"):
        reward_of("keywords", "Anna", "Anna", columns=held)


@pytest.mark.parametrize(
    ("label", "response", "value"),
    [
        ("Привет, мир", "привет", 1.0),
        ("Привет, мир", "hello world", 0.0),
        ("Привет", "привет tair", 6 / 10),
        ("one two", "un deux", 1.0),  # languages of one script
        ("東京へ行く", "东京", 3 / 5),  # CJK 3 of 5, hiragana 2 of 5
        ("用 iPhone", "用 iPhone", 1.0),
        ("café", "cafe", 1.0),
        ("ＡＢＣ", "abc", 1.0),
        ("one", "", 0.0),
        ("one", "1", 0.0),
        ("", "", 1.0),
        ("", "one", 0.0),
        ("1 2", "12", 1.0),
    ],
)
def test_language_compares_scripts(label: str, response: str, value: float) -> None:
    assert reward_of("language", label, response).value == pytest.approx(value)


GOOD = "<reasoning>I hear two words.</reasoning>\n<answer>one two</answer>"


@pytest.mark.parametrize(
    ("response", "value", "tags"),
    [
        (GOOD, 3.0, 4),
        (f"\n {GOOD} \n", 3.0, 4),
        ("<reasoning>a</reasoning> so <answer>b</answer>", 3.0, 4),
        (f"Well: {GOOD}", 2.0, 4),
        (f"{GOOD} Done.", 2.0, 4),
        ("<answer>b</answer><reasoning>a</reasoning>", 2.0, 4),
        ("<reasoning></reasoning><answer>b</answer>", 2.0, 4),
        ("<reasoning>a</reasoning><answer> </answer>", 2.0, 4),
        ("<answer>one two</answer>", 0.0, 2),
        ("<reasoning>a<answer>b</answer>", 1.0, 3),
        (GOOD + GOOD, -2.0, 0),
        ("<reasoning>a</reasoning><answer>b</answer><answer>c</answer>", 0.0, 2),
        ("one two", -2.0, 0),
        ("", -2.0, 0),
    ],
)
def test_format_of_tags(response: str, value: float, tags: int) -> None:
    scored = reward_of("format", "one two", response, bonus=3.0, tag=0.5)
    assert scored == Reward(value, {"fits": float(value == 3.0)})
    assert value == 3.0 or value == 0.5 * (tags - (4 - tags))
    assert reward_of("format", "", response).value == float(value == 3.0)


def test_format_with_other_tags_and_with_a_pattern() -> None:
    assert reward_of("format", "", "<think>a</think><say>b</say>", tags=["think", "say"]).value == 1.0
    assert reward_of("format", "", "<say>b</say>", tags=["say"]).value == 1.0
    for response, fits in [("yes", 1.0), ("no", 1.0), ("yes\n", 0.0), ("oh no", 0.0), ("nope", 0.0)]:
        assert reward_of("format", "", response, pattern="yes|no", tag=0.5).value == fits


def test_tags_are_searched_in_linear_time() -> None:
    began = time.perf_counter()
    long = "<reasoning>" + "a " * 20000 + "</reasoning><answer>" + "b " * 20000 + "</answer>!"
    assert reward_of("format", "", long).value == 0.0
    assert reward_of("omni", "", "<answer>" * 5000 + "<reasoning>" * 5000).value == -2.0
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize(
    ("response", "value", "wer"),
    [
        (GOOD, 4.0, 0.0),
        ("<answer>One, two.</answer>", 4.0, 0.0),
        ("<answer>one</answer>", 0.5, 0.5),
        ("<answer></answer>", 0.0, 1.0),
        ("<answer>a b c d e f</answer>", -1.0, 3.0),
        ("<answer>nine</answer> or rather <answer>one two</answer>", 4.0, 0.0),
        ("<answer>one two</answer> or rather <answer>one</answer>", 0.5, 0.5),
        ("<reasoning><answer>one two</answer></reasoning><answer>one</answer>", 0.5, 0.5),
        ("<answer>nine <answer>one two</answer>", 4.0, 0.0),
        ("<reasoning><answer>one two</answer></reasoning>", -2.0, None),
        ("<reasoning>so <answer>one two</answer>", -2.0, None),
        ("<answer>one two", -2.0, None),
        ("one two", -2.0, None),
    ],
)
def test_omni_scores_the_last_answer_outside_of_the_reasoning(response: str, value: float, wer: float | None) -> None:
    parts = {"answered": 0.0} if wer is None else {"answered": 1.0, "wer": wer}
    assert reward_of("omni", "one two", response) == Reward(value, parts)


def test_omni_settings() -> None:
    assert reward_of("omni", "abcd", "<say>abxd</say>", tags=["think", "say"], unit="char").value == 0.75
    scored = reward_of("omni", "one", "<answer>a b c</answer>", answer=0.0, cap=1.0)
    assert scored == Reward(-1.0, {"answered": 1.0, "wer": 3.0})
    assert reward_of("omni", "one", "one", no_answer=-5.0).value == -5.0
    assert reward_of("omni", "one", "<answer>one</answer>", exact=0.5).value == 1.5


THOUGHT = "<reasoning>a</reasoning>"


@pytest.mark.parametrize(
    ("label", "response", "omni", "format"),
    [
        pytest.param("", f"{THOUGHT}<answer></answer>", 4.0, 2.0, id="empty reference: silence is right"),
        pytest.param("", f"{THOUGHT}<answer>one</answer>", 0.0, 3.0, id="empty reference: MaxText's 0 for one word"),
        pytest.param("", f"{THOUGHT}<answer>one two</answer>", -1.0, 3.0, id="empty reference: there 0 for two too"),
        pytest.param("", f"{THOUGHT}<answer>one two three</answer>", -1.0, 3.0, id="empty reference: up to the cap"),
        pytest.param("one", "<reasoning>a <answer>one</answer>", -2.0, 1.0, id="unclosed reasoning: there 4"),
        pytest.param("one", "<reasoning>a\n<answer>one</answer>\n", -2.0, 1.0, id="unclosed on a line of its own"),
        pytest.param("one", "<reasoning><answer>one</answer>", -2.0, 1.0, id="unclosed and empty"),
        pytest.param("one", f"{THOUGHT}<answer>one</answer>" * 2, 4.0, -2.0, id="both blocks twice: there format 3"),
        pytest.param("one", f"{THOUGHT}{THOUGHT}<answer>one</answer>", 4.0, 0.0, id="reasoning twice: there 3"),
        pytest.param("one", f"{THOUGHT}<answer>one</answer><answer>two</answer>", 0.0, 0.0, id="the last: there 4, 3"),
        pytest.param("one", f"{THOUGHT}<answer>two</answer><answer>one</answer>", 4.0, 0.0, id="the last: there 0, 3"),
        pytest.param("one", "<reasoning><answer>two</answer></reasoning><answer>one</answer>", 4.0, 0.0, id="outside"),
        pytest.param("one two", f"\n{THOUGHT}\n\n<answer>\none\ntwo\n</answer>\n", 4.0, 3.0, id="newlines around"),
        pytest.param("one", f"Sure:\n{THOUGHT}<answer>one</answer>", 4.0, 2.0, id="a line before: there 3"),
        pytest.param("one", f"{THOUGHT}<answer>one</answer>\nBye", 4.0, 2.0, id="a line after: there 3"),
        pytest.param("one", f"{THOUGHT}<answer>One.</answer>", 4.0, 3.0, id="case and punctuation: there 0"),
        pytest.param("one", "one", -2.0, -2.0, id="no tags"),
    ],
)
def test_omni_and_format_beside_maxtexts(label, response, omni, format) -> None:
    """As docs/recipes.md lists the differences; a case without a figure of MaxText's has the same there."""
    assert reward_of("omni", label, response).value == omni
    assert reward_of("format", label, response, bonus=3.0, tag=0.5).value == format


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "format", "pattern": "(a"}, r"'reward\.pattern'.* regular expression, but '\(a' is not one"),
        ({"name": "format", "tags": ["<answer>"]}, r"'reward\.tags\[0\]'.*got '<answer>'"),
        ({"name": "format", "tags": []}, r"'reward\.tags'"),
        ({"name": "omni", "tags": ["answer"]}, r"'reward\.tags'"),
        ({"name": "keywords", "words": "Anna"}, r"'reward\.words' must be a list, got 'Anna'"),
        ({"name": "language", "script": "x"}, r"unknown key 'reward\.script'"),
        ({"name": "hallucination", "threshold": -1}, r"'reward\.threshold' must be at least 0"),
        ({"name": "omnii"}, r"unknown reward 'omnii' in 'reward'; did you mean 'omni'\?"),
    ],
)
def test_wrong_settings_are_named(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_reward(settings)
