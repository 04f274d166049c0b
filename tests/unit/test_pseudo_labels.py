"""Pseudo-labels in place of references: confidence and selection, worked by hand."""

import math

import pytest

from antiphon.config.data import Labels
from antiphon.data.rows import ReadOptions
from antiphon.data.source import read_set
from antiphon.errors import DataError
from antiphon.rollout.pseudo_labels import PseudoLabel, confidence, relabel
from antiphon.types import Completion, Example


def example(name, language=None):
    return Example(name, "asr", None, "what the data says", language, columns={"room": "r1"})


def heard(name, probability, finish_reason="stop", language="English"):
    return PseudoLabel(name, f"heard {name}", language, probability, finish_reason)


def test_confidence_is_the_geometric_mean_of_the_probabilities():
    logprobs = (math.log(0.9), math.log(0.4), math.log(0.6))
    completion = Completion((5, 6, 7), logprobs, "a b", "stop")
    assert confidence(completion) == pytest.approx((0.9 * 0.4 * 0.6) ** (1 / 3))


def test_one_logprob_for_a_whole_sequence_is_shared_by_its_labels():
    assert confidence(Completion((1, 2, 3, 4), (4 * math.log(0.5),), "abcd", "stop")) == pytest.approx(0.5)
    assert confidence(Completion((), (math.log(0.5),), "", "stop")) == pytest.approx(0.5)


def test_pseudo_labels_take_the_place_of_texts_and_a_known_language_stays():
    kept, summary = relabel(
        [example("a"), example("b", language="en")], [heard("b", 0.9), heard("a", 0.2)], Labels(model="teacher")
    )
    assert [(one.id, one.text, one.language) for one in kept] == [("a", "heard a", "English"), ("b", "heard b", "en")]
    assert kept[0].columns == {"room": "r1"}
    assert summary is None


def test_what_was_cut_short_or_is_not_confident_is_dropped_and_counted():
    labels = Labels(model="teacher", min_confidence=0.5)
    found = [heard("a", 0.5), heard("b", 0.49), heard("c", 0.99, "length"), heard("d", 0.1)]
    kept, summary = relabel([example(one) for one in "abcd"], found, labels)
    assert [one.id for one in kept] == ["a"]
    assert summary == (
        "of 4 pseudo-labels by teacher, 1 reached rollout.max_new_tokens and 2 fell below labels.min_confidence=0.5"
    )


@pytest.mark.parametrize(("asked", "best", "said"), [(0.5, 0.3, "0.300"), (1.0, 0.9998, "0.999")])
def test_nothing_left_says_what_would_leave_the_best_one(asked, best, said):
    labels = Labels(model="teacher", min_confidence=asked)
    with pytest.raises(DataError, match=f"lower the other to {said} or less"):
        relabel([example("a"), example("b")], [heard("a", best), heard("b", 0.9, "length")], labels)


def test_a_text_may_be_left_out_or_null_where_none_is_required(tmp_path):
    file = tmp_path / "audio.jsonl"
    file.write_text('{"audio": "a.wav"}\n{"audio": "b.wav", "text": null}\n{"audio": "c.wav", "text": "one"}\n')
    assert [one.text for one in read_set(file, ReadOptions(text_required=False)).examples] == ["", "", "one"]
    assert len(read_set(file).bad) == 2
