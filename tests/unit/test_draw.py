"""Filters on a distribution: what they leave out, and what training says to them."""

import pytest
import torch

from antiphon.config import load_config
from antiphon.errors import ConfigError
from antiphon.models.draw import filtered
from antiphon.models.policy import Sampling

PROBABILITIES = [0.05, 0.4, 0.25, 0.0, 0.3]


def kept(*samplings: Sampling, probabilities=PROBABILITIES) -> list[list[int]]:
    logprobs = torch.tensor([probabilities] * len(samplings)).log()
    rows = filtered(logprobs, samplings)
    assert torch.equal(rows[rows > -torch.inf], logprobs[rows > -torch.inf])
    return [(row > -torch.inf).nonzero().flatten().tolist() for row in rows]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [0, 1, 2, 4]),
        ({"top_k": 2}, [1, 4]),
        ({"top_k": 1}, [1]),
        ({"top_k": 99}, [0, 1, 2, 4]),
        ({"top_p": 0.6}, [1, 4]),
        ({"top_p": 0.75}, [1, 2, 4]),
        ({"top_p": 1e-9}, [1]),
        ({"top_p": 1.0}, [0, 1, 2, 4]),
        ({"min_p": 0.7}, [1, 4]),
        ({"min_p": 1.0}, [1]),
        ({"min_p": 0.0}, [0, 1, 2, 4]),
        # Of 0.4 and 0.3, which top_k leaves, 0.4 is 57%.
        ({"top_k": 2, "top_p": 0.55}, [1]),
        ({"top_k": 3, "min_p": 0.7}, [1, 4]),
    ],
)
def test_what_a_filter_keeps(filters, expected):
    assert kept(Sampling(**filters)) == [expected]


def test_each_row_has_its_own_filter():
    rows = kept(Sampling(top_k=1), Sampling(), Sampling(top_p=0.6), Sampling(temperature=0.0))
    assert rows == [[1], [0, 1, 2, 4], [1, 4], [0, 1, 2, 4]]


def test_one_of_equals_stays():
    assert kept(Sampling(top_k=1), probabilities=[0.5, 0.5]) == [[0]]


@pytest.mark.parametrize(
    ("name", "value"),
    [("top_k", 0), ("top_p", 0.0), ("top_p", 1.1), ("min_p", -0.1), ("temperature", -1.0), ("max_new_tokens", 0)],
)
def test_a_value_out_of_range_is_named(name, value):
    with pytest.raises(ConfigError, match=f"{name} must be .* got {value}"):
        Sampling(**{name: value})


@pytest.mark.parametrize("override", ["rollout.top_k=5", "rollout.top_p=0.9", "rollout.min_p=0.1"])
def test_training_refuses_a_filter_unless_asked_for_it_by_name(override):
    with pytest.raises(ConfigError, match=r"biased.*off_policy_filters: true"):
        load_config(overrides=[override])
    rollout = load_config(overrides=[override, "rollout.off_policy_filters=true"]).rollout
    assert (rollout.top_k, rollout.top_p, rollout.min_p) != (None, None, None)
