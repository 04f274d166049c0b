"""Several training sets as one."""

import pytest

from antiphon.data.corpora.sets import CONDITIONS, builtin_set
from antiphon.data.source import mixed
from antiphon.errors import DataError


def test_sets_follow_each_other():
    noisy, reverb = builtin_set("commands-train-noisy")[:3], builtin_set("commands-train-reverb")[:2]
    assert mixed([("noisy", noisy), ("reverb", reverb)]) == [*noisy, *reverb]


def test_an_id_that_two_sets_have_is_refused_with_both_names():
    clean = builtin_set("digits-clean")[:2]
    for sets in ([("a.jsonl", clean), ("b.jsonl", clean[1:])], [("a.jsonl", clean), ("a.jsonl", clean)]):
        with pytest.raises(DataError, match=rf"a\.jsonl and {sets[1][0]} both have an example 'digits-clean-0000\d'"):
            mixed(sets)


def test_training_rooms_are_those_of_the_test_set_with_other_voices():
    trained, tested = CONDITIONS["train-reverb"], CONDITIONS["reverb"]
    assert trained.rt60 == tested.rt60
    assert trained.split == "train"
