"""The limits that a family states are true: what is at them works, and one more is refused by name."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from subjects import SUBJECTS, make

from antiphon.errors import ModelError
from antiphon.models.limits import frames_needed
from antiphon.models.policy import Sampling
from antiphon.rollout.engines.in_process import InProcessEngine

FEW = 9
"""Positions that an answer is left."""


@pytest.fixture(scope="module", params=SUBJECTS)
def subject(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        yield make(request.param, tmp_path_factory.mktemp("subject"), patch)


def heard(prompt, samples: int):
    return replace(prompt, waveform=np.resize(prompt.waveform, samples))


@torch.no_grad()
def test_the_longest_clip_is_heard_and_a_longer_one_is_refused_by_name(subject):
    policy, prompt = subject.policy, subject.prompts[0]
    most = policy.limits.most_samples
    if most is None or most > 10 * policy.rate:
        pytest.skip("no window, or a long one, which tests/parity has")
    engine = InProcessEngine(policy)
    for samples in (most - 1, most):
        assert engine.greedy([heard(prompt, samples)], 1)
    for samples in (most + 1, most + 160, 2 * most):
        with pytest.raises(ModelError, match=rf"{prompt.id!r} has .* takes at most"):
            engine.greedy([heard(prompt, samples)], 1)
        with pytest.raises(ModelError, match="takes at most"):
            policy.encode([heard(prompt, samples)])


@torch.no_grad()
def test_a_clip_below_the_shortest_is_refused_by_name(subject):
    policy, prompt = subject.policy, subject.prompts[0]
    if policy.rate == 0 or policy.limits.least_samples == 1:
        pytest.skip("any clip will do")
    for samples in (1, policy.limits.least_samples // 2, policy.limits.least_samples - 1):
        with pytest.raises(ModelError, match=rf"{prompt.id!r} has .* too little"):
            policy.encode([heard(prompt, samples)])


@torch.no_grad()
def test_prompt_and_answer_share_the_positions(subject, monkeypatch):
    """Decoded to the very last position; one more is refused, or the answer is shortened where that is allowed."""
    policy = subject.policy
    if not policy.token_level:
        assert policy.limits.positions is None
        assert policy.taken(subject.prompts[0]) == 0
        return
    monkeypatch.setattr(policy, "stop_ids", frozenset())
    engine, stated = InProcessEngine(policy), policy.limits
    for prompt, taken in [(prompt, policy.taken(prompt)) for prompt in subject.prompts]:
        room, own = FEW, replace(prompt)
        monkeypatch.setattr(type(policy), "limits", replace(stated, positions=taken + room))

        def drawn(new, asked=own, **more):
            return engine.rollout([asked], 1, Sampling(1.0, new, **more), seed=0, step=0)[0][0]

        assert len(drawn(room).token_ids) == room
        with pytest.raises(ModelError, match=rf"{prompt.id!r}.*max_new_tokens to at most {room}$"):
            drawn(room + 1)
        assert len(drawn(10 * room, shorten=True).token_ids) == room
        assert len(engine.greedy([own], room + 1)[0].token_ids) == room
        prefix = policy.encode([own])
        with pytest.raises(ModelError, match=f"max_new_tokens to at most {room}$"):
            policy.sample(prefix, 1, Sampling(1.0, room + 1), np.random.rand(1, room + 1))
        tokens = torch.tensor([drawn(room).token_ids])
        assert policy.logprobs(prefix, tokens, torch.ones_like(tokens)).isfinite().all()
        longer = torch.cat([tokens, tokens[:, :1]], 1)
        with pytest.raises(ModelError, match=f"at most {room}$"):
            policy.logprobs(prefix, longer, torch.ones_like(longer))


@torch.no_grad()
def test_a_prompt_that_leaves_no_position_is_refused_by_name(subject, monkeypatch):
    policy = subject.policy
    if not policy.token_level:
        pytest.skip("no positions")
    engine, stated = InProcessEngine(policy), policy.limits
    for prompt, taken in [(prompt, policy.taken(prompt)) for prompt in subject.prompts]:
        for positions in {taken, max(taken - 1, 1), max(taken // 2, 1)}:
            monkeypatch.setattr(type(policy), "limits", replace(stated, positions=positions))
            with pytest.raises(ModelError, match=rf"{prompt.id!r} takes {taken} tokens.*has {positions} positions"):
                engine.greedy([replace(prompt)], 1)


def test_a_reference_beyond_the_positions_or_the_frames_is_refused_by_name(subject, monkeypatch):
    policy = subject.policy
    if not policy.stepwise and not hasattr(policy, "blank"):
        pytest.skip("a label is a label")
    if policy.model.config.model_type == "parakeet_ctc":
        pytest.skip("this one's tokenizer has one label a text")
    for prompt in subject.prompts:
        if policy.token_level:
            own = replace(prompt)
            text = "c " * 10
            length = len(policy.target(own, text, "en"))
            monkeypatch.setattr(type(policy), "limits", replace(policy.limits, positions=length))
            assert len(policy.target(own, text, "en")) == length
            monkeypatch.setattr(type(policy), "limits", replace(policy.limits, positions=length - 1))
        else:
            frames = policy.size(prompt)
            text = "a" * frames
            while frames_needed(policy.target(replace(prompt, waveform=None), text, None)) > frames:
                text = text[:-1]
            assert policy.target(prompt, text, None)
            text += "a"
        with pytest.raises(ModelError, match=rf"{prompt.id!r}.*(positions|frames)"):
            policy.target(prompt, text, "en")
        monkeypatch.undo()
