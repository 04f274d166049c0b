"""What engines elsewhere may rely on: prompt ids, blocked and stop ids, and audio in the form that the model takes."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from subjects import SUBJECTS, make

from antiphon.models.decoding import DecodesTokens
from antiphon.models.policy import Sampling

HOT = Sampling(temperature=1e4, max_new_tokens=6)
"""Hardly different from a uniform draw over all tokens that are not blocked."""
TOKENS = [name for name in SUBJECTS if not name.endswith(("-ctc", "-classifier"))]


@pytest.fixture(scope="module", params=TOKENS)
def subject(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        yield make(request.param, Path(tmp_path_factory.mktemp("subject")), patch)


@contextmanager
def embedded(model):
    """The rows of ids whose embeddings are looked up within the block."""
    found: list[list[int]] = []
    hook = model.get_input_embeddings().register_forward_pre_hook(lambda _, inputs: found.extend(inputs[0].tolist()))
    try:
        yield found
    finally:
        hook.remove()


@torch.no_grad()
def test_prompt_ids_are_what_the_model_reads(subject):
    policy = subject.policy
    assert isinstance(policy, DecodesTokens)
    for prompt in subject.prompts:
        ids = policy.prompt_ids(prompt)
        with embedded(policy.model) as read:
            prefix = policy.encode([prompt])
        assert prefix.lengths.tolist() == [len(ids)]
        placeholder = getattr(policy, "audio_token", None)
        assert [i if i != placeholder else 0 for i in ids] == [i if i != placeholder else 0 for i in read[-1]]


@torch.no_grad()
def test_blocked_ids_are_never_sampled(subject):
    policy = subject.policy
    allowed = (~policy.blocked_first).nonzero().flatten().tolist()
    policy.blocked[allowed[0]] = policy.blocked_first[allowed[0]] = True
    policy.blocking = torch.stack([policy.blocked, policy.blocked_first])
    prefix, n = policy.encode(subject.prompts), 16
    uniforms = np.random.default_rng(0).random((n * len(subject.prompts), HOT.max_new_tokens))
    drawn = [one.token_ids for group in policy.sample(prefix, n, HOT, uniforms) for one in group]
    assert len({ids[0] for ids in drawn}) > 1
    assert not any(policy.blocked_first[ids[0]] or policy.blocked[list(ids)].any() for ids in drawn)


@torch.no_grad()
def test_stop_ids_end_a_completion(subject, monkeypatch):
    policy = subject.policy
    prefix, greedy = policy.encode(subject.prompts), Sampling(temperature=0.0, max_new_tokens=6)
    free = policy.sample(prefix, 1, greedy, None)[0][0].token_ids
    monkeypatch.setattr(policy, "stop_ids", policy.stop_ids | {free[0]})
    stopped = policy.sample(prefix, 1, greedy, None)[0][0]
    assert (stopped.token_ids, stopped.finish_reason) == (free[:1], "stop")


def test_audio_is_in_the_models_own_form(subject):
    policy, prompt = subject.policy, subject.prompts[0]
    audio = policy.audio_inputs(prompt)
    assert bool(audio) == (prompt.waveform is not None)
    assert all(isinstance(value, torch.Tensor) and value.numel() for value in audio.values())
    if audio:
        own = subject.policy.audio_inputs(subject.prompts[1])
        assert any(audio[name].shape != own[name].shape or not audio[name].equal(own[name]) for name in audio)
