"""Two evaluations compared: the sentence, what is refused, and how often chance passes for a difference."""

from dataclasses import replace

import numpy as np
import pytest
from measured import measured, summarized

from antiphon.errors import DataError
from antiphon.evaluate.bootstrap import paired_bootstrap
from antiphon.evaluate.compare import compare
from antiphon.evaluate.mapsswe import matched_pairs
from antiphon.evaluate.results import Evaluation

WORDS = ["red", "green", "blue", "black", "white", "pink", "gray", "brown"]


def evaluation(wrong: dict[str, list[int]], n: int = 40) -> Evaluation:
    """Utterance i of a set has its first `wrong[set][i % len]` words missing."""
    rows, sets = {}, {}
    for name, missing in wrong.items():
        utterances = [
            measured(str(i), " ".join(WORDS), " ".join(WORDS[missing[i % len(missing)] :]), language="en")
            for i in range(n)
        ]
        rows[name] = utterances
        sets[name] = summarized(utterances) | {"normalizer": "default 2"}
    return Evaluation("model", "digest", sets, rows)


def test_a_clear_difference_is_a_sentence_to_quote():
    (one,) = compare(evaluation({"noisy": [2, 3]}), evaluation({"noisy": [1, 1, 2, 1]}), "before", "after")
    assert one.significant
    assert (one.errors_a, one.errors_b, one.rate_a, one.rate_b) == (100, 50, 100 / 320, 50 / 320)
    assert one.bootstrap["relative"] == pytest.approx(-0.5)
    low, high = one.bootstrap["relative_ci"]
    shown = f"{-100 * high:.0f} to {-100 * low:.0f}%"
    assert one.sentence == f"after makes 50% fewer errors than before on noisy (95% interval {shown}), p < 0.001."
    assert one.ci_unit == "utterance"


def test_a_loss_is_said_as_a_loss():
    (one,) = compare(evaluation({"noisy": [1, 1, 2, 1]}), evaluation({"noisy": [2, 3]}), "A", "B")
    assert one.sentence.startswith("B makes 100% more errors than A on noisy (95% interval ")


def test_chance_is_said_to_be_chance():
    a, b = evaluation({"noisy": [1, 2, 0, 3, 1]}), evaluation({"noisy": [2, 1, 1, 1, 1, 2, 0, 3]})
    (one,) = compare(a, b, "A", "B")
    assert not one.significant
    assert one.sentence.endswith(f"p = {one.p:.2g}: no difference is shown.")
    assert "% fewer to " in one.sentence
    assert "% more)" in one.sentence


def test_the_same_answers_are_no_difference():
    (one,) = compare(evaluation({"noisy": [1, 2]}), evaluation({"noisy": [1, 2]}), "first", "second")
    assert (one.p, one.significant) == (1.0, False)
    assert one.sentence == "second makes exactly as many errors as first on noisy, utterance by utterance."


def test_a_system_without_errors_has_no_relative_change():
    (one,) = compare(evaluation({"noisy": [0]}), evaluation({"noisy": [1, 0]}), "A", "B")
    assert one.bootstrap["relative"] is None
    assert one.sentence == "A makes no errors on noisy and B makes 20, p < 0.001."


def test_several_sets_share_the_chance_of_a_false_alarm():
    alone = compare(evaluation({"x": [1, 1, 2]}), evaluation({"x": [1, 1, 1, 2]}), "A", "B")[0]
    both = compare(evaluation({"x": [1, 1, 2], "y": [1]}), evaluation({"x": [1, 1, 1, 2], "y": [1]}), "A", "B")
    assert [one.set for one in both] == ["x", "y"]
    assert both[0].p == pytest.approx(min(1.0, 2 * alone.p))


def other_rules(one: Evaluation) -> Evaluation:
    first, *rest = one.rows["noisy"]
    return replace(one, rows={"noisy": [{**first, "rules": "general"}, *rest]})


def other_references(one: Evaluation) -> Evaluation:
    first, *rest = one.rows["noisy"]
    return replace(one, rows={"noisy": [{**first, "ref_clean": "other"}, *rest]})


@pytest.mark.parametrize(
    ("b", "message"),
    [
        (evaluation({"clean": [1]}), r"A \(noisy\) and B \(clean\) have no set in common; evaluate both on the same"),
        (evaluation({"noisy": [1]}, n=39), "different rows of noisy: 1 are in one alone, such as '39'; evaluate both"),
        (other_references(evaluation({"noisy": [1]})), r"different references in 1 row\(s\) of noisy, such as '0'"),
        (
            other_rules(evaluation({"noisy": [1]})),
            "0 of noisy is normalized by English rules in A and by general rules in B, .* --language",
        ),
        (
            replace(evaluation({"noisy": [1]}), sets={"noisy": {"normalizer": "none"}}),
            "noisy is normalized by default 2 in A and by none in B; evaluate both with the same --normalizer",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(b, message):
    with pytest.raises(DataError, match=message):
        compare(evaluation({"noisy": [1]}), b, "A", "B")


def test_one_utterance_is_too_few():
    with pytest.raises(DataError, match=r"noisy has 1 utterance\(s\); a comparison needs two or more"):
        compare(evaluation({"noisy": [1]}, n=1), evaluation({"noisy": [1]}, n=1), "A", "B")


def test_coverage_of_the_relative_interval_is_near_its_level():
    draw = np.random.default_rng(0)
    lengths, replicas, covered = np.full(80, 8), 200, 0
    for replica in range(replicas):
        a, b = draw.binomial(8, 0.2, size=80), draw.binomial(8, 0.15, size=80)
        low, high = paired_bootstrap(a, b, lengths, resamples=400, seed=replica)["relative_ci"]
        covered += low <= -0.25 <= high
    assert 0.90 <= covered / replicas <= 0.99


@pytest.mark.parametrize("n", [12, 60])
def test_chance_is_rarely_called_significant_even_with_few_utterances(n):
    draw = np.random.default_rng(n)
    lengths, replicas, alarms = np.full(n, 8), 300, 0
    for replica in range(replicas):
        a, b = draw.binomial(8, 0.2, size=(2, n))
        drawn = paired_bootstrap(a, b, lengths, resamples=300, seed=replica)["p"]
        alarms += max(drawn, matched_pairs((b - a)[a + b > 0])["p"]) < 0.05
    assert alarms / replicas <= 0.08
