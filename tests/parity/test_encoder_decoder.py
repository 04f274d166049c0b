"""Whisper, Moonshine and Cohere-ASR: how a group shares its clip, and how many tokens fit."""

import copy

import pytest
import torch
from tiny_encoder_decoder import BUILDERS, POSITIONS, completions, decoder_prompt, english_prompts

from antiphon.errors import ModelError
from antiphon.models.encoder_decoder import EncoderDecoder
from antiphon.models.fold import Fold
from antiphon.models.policy import Sampling
from antiphon.models.prefix import repeat


@pytest.fixture(scope="module", params=BUILDERS)
def policy(request):
    return BUILDERS[request.param]()


@pytest.fixture(scope="module")
def prompts():
    return english_prompts()


def test_each_clip_is_encoded_once_and_its_cross_attention_keys_are_not_copied(policy, prompts):
    sizes = []
    handle = policy.encoder.register_forward_hook(lambda module, args, output: sizes.append(len(output[0])))
    prefix = policy.encode(prompts)
    policy.logprobs(prefix, *completions(4, 5, policy))
    handle.remove()
    assert sum(sizes) == len(prompts)
    groups = Fold(torch.arange(len(prompts)).repeat_interleave(4))
    past = policy.attach(repeat(prefix.cache, 4), prefix, groups)
    assert len(past.self_attention_cache.layers[0].keys) == 4 * len(prompts)
    for ours, theirs in zip(past.cross_attention_cache, prefix.clips, strict=True):
        assert ours[0].data_ptr() == theirs[0].data_ptr()
        assert len(ours[0]) == len(prompts)


def test_more_tokens_than_positions_are_refused(policy, prompts):
    prefix, room = policy.encode(prompts), POSITIONS - len(decoder_prompt(policy))
    policy.sample(prefix, 1, Sampling(0.0, room))
    with pytest.raises(ModelError, match=f"max_new_tokens to at most {room}"):
        policy.sample(prefix, 1, Sampling(0.0, room + 1))


def test_a_second_policy_over_a_copy_of_the_model_changes_nothing(policy, prompts):
    again = EncoderDecoder(copy.deepcopy(policy.model), policy.processor)
    tokens, mask = completions(3, 5, policy)
    first, second = (one.logprobs(one.encode(prompts), tokens, mask) for one in (policy, again))
    assert (first - second).abs().max() <= 1e-6
