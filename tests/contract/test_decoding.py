"""Rows that enter and leave between decoding steps say what they would have said alone."""

from itertools import chain

import numpy as np
import pytest
import torch

from antiphon.data.corpora.sets import builtin_set
from antiphon.errors import ModelError
from antiphon.models.decoding import Decoding, Row
from antiphon.models.load import load_policy
from antiphon.models.policy import Sampling
from antiphon.rollout.engines.in_process import InProcessEngine
from antiphon.tasks import asr

SAMPLINGS = (Sampling(1.3, 12), Sampling(0.0, 40), Sampling(2.0, 3), Sampling(1.0, 16, top_k=4), Sampling(1.5, 9))
GROUP = 3


@pytest.fixture(scope="module")
def policy():
    return load_policy("builtin:student", torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def prompts(policy):
    examples = builtin_set("commands-noisy")[: len(SAMPLINGS)]
    return [asr.task.prompt(example, example.clip.load(policy.rate), policy.rate) for example in examples]


@pytest.fixture(params=[None, False], ids=["prompts once", "whole pasts"])
def attending(request, policy, monkeypatch):
    """By prompt where the model can, which it finds out by itself, and with whole pasts."""
    monkeypatch.setattr(policy, "groups_attention", request.param)
    return policy


def group(i: int) -> list[Row]:
    uniforms = np.random.default_rng(i).random((GROUP, 40))
    return [Row(SAMPLINGS[i], uniforms[j]) for j in range(GROUP)]


def finish(decoding: Decoding) -> None:
    while decoding.active:
        decoding.step()


@pytest.fixture(scope="module")
def alone(policy, prompts):
    groups = [group(i) for i in range(len(prompts))]
    for prompt, rows in zip(prompts, groups, strict=True):
        for row in rows:
            decoding = Decoding(policy)
            decoding.admit(policy.encode([prompt]), [[row]])
            finish(decoding)
    return groups


def assert_same(groups, others) -> None:
    for one, other in zip(chain(*groups), chain(*others), strict=True):
        assert one.token_ids == other.token_ids
        assert one.finish_reason == other.finish_reason
        assert np.abs(np.subtract(one.logprobs, other.logprobs)).max() <= 1e-5


def test_rows_admitted_between_steps_say_what_they_say_alone(attending, prompts, alone):
    policy, groups = attending, [group(i) for i in range(len(prompts))]
    decoding = Decoding(policy)
    decoding.admit(policy.encode(prompts[:2]), groups[:2])
    for _ in range(3):
        decoding.step()
    decoding.admit(policy.encode(prompts[2:3]), groups[2:3])
    decoding.step()
    decoding.admit(policy.encode(prompts[3:]), groups[3:])
    finish(decoding)
    assert_same(groups, alone)
    assert policy.groups_attention is not None
    assert decoding.rows == []


def test_a_short_request_overtakes_a_long_one(policy, prompts):
    long, short = Row(Sampling(0.0, 40)), Row(Sampling(0.0, 2))
    decoding = Decoding(policy)
    decoding.admit(policy.encode(prompts[:1]), [[long]])
    decoding.step()
    decoding.admit(policy.encode(prompts[1:2]), [[short]])
    assert decoding.step() == []
    assert decoding.step() == [short]
    assert short.finish_reason == "length"
    assert long.active


def test_a_row_may_be_ended_from_outside(policy, prompts, alone):
    groups = [group(0), group(1)]
    decoding = Decoding(policy)
    decoding.admit(policy.encode(prompts[:2]), groups)
    decoding.step()
    for row in groups[0]:
        row.finish_reason = "stop"
    finish(decoding)
    assert {len(row.token_ids) for row in groups[0]} == {1}
    assert_same(groups[1:], alone[1:2])


@pytest.mark.parametrize("limits", [{"max_tokens": 1}, {"max_tokens": 200}, {"max_prompts": 2}])
def test_an_engine_that_takes_prompts_in_turn_gives_the_same(policy, prompts, limits, monkeypatch):
    sampling = Sampling(1.0, 12)
    heard = []
    encode = policy.encode
    monkeypatch.setattr(policy, "encode", lambda clips: heard.append(len(clips)) or encode(clips))
    together = InProcessEngine(policy).rollout(prompts, GROUP, sampling, seed=0, step=0)
    assert heard == [len(prompts)]
    in_turn = InProcessEngine(policy, **limits).rollout(prompts, GROUP, sampling, seed=0, step=0)
    assert len(heard) > 2
    for one, other in zip(chain(*together), chain(*in_turn), strict=True):
        assert one.token_ids == other.token_ids
        assert np.abs(np.subtract(one.logprobs, other.logprobs)).max() <= 1e-5


def test_more_own_tokens_than_there_was_room_for(policy, prompts):
    """Growing columns: a completion longer than the first of them equals its rescored self."""
    row = Row(Sampling(1.0, 80), np.random.default_rng(0).random(80))
    decoding = Decoding(policy)
    never = policy.stop_ids
    try:
        policy.stop_ids = frozenset()
        decoding.admit(policy.encode(prompts[:1]), [[row]])
        finish(decoding)
    finally:
        policy.stop_ids = never
    with torch.no_grad():
        tokens = torch.tensor([row.token_ids])
        scores = policy.logprobs(policy.encode(prompts[:1]), tokens, torch.ones(1, 80))
    assert np.abs(scores[0].numpy() - row.logprobs).max() <= 1e-5


def test_prompts_are_kept_once_and_dropped_with_their_last_row(policy, prompts):
    decoding = Decoding(policy)
    groups = [[Row(Sampling(0.0, limit)) for _ in range(4)] for limit in (2, 40)]
    decoding.admit(policy.encode(prompts[:2]), groups)
    assert len(decoding.cache.shared[0].prompt_keys) == 2
    for _ in range(3):
        decoding.step()
    assert len(decoding.cache.shared[0].prompt_keys) == 1
    assert len(decoding.rows) == 4


def test_diverged_probabilities_are_named(policy, prompts, monkeypatch):
    decoding = Decoding(policy)
    decoding.admit(policy.encode(prompts[:1]), [[Row(Sampling(0.0, 4))]])
    decoding.hidden = decoding.hidden * float("nan")
    with pytest.raises(ModelError, match="not numbers"):
        decoding.step()


def test_sampling_needs_uniforms():
    with pytest.raises(ValueError, match="uniforms"):
        Row(Sampling(1.0, 4))
