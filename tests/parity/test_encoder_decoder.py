"""Whisper, Moonshine and Cohere-ASR: how a group shares its clip, and how many tokens fit."""

import copy

import pytest
from tiny_encoder_decoder import BUILDERS, POSITIONS, completions, decoder_prompt, english_prompts

from antiphon.errors import ModelError
from antiphon.models.encoder_decoder import EncoderDecoder
from antiphon.models.policy import Sampling


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
    for ours, theirs in zip(
        prefix.cache.repeat(4).cross_attention_cache, prefix.cache.cross_attention_cache, strict=True
    ):
        assert ours[0].data_ptr() == theirs[0].data_ptr()
        assert len(ours[0]) == len(prompts)


def test_more_tokens_than_positions_are_refused(policy, prompts):
    prefix, room = policy.encode(prompts), POSITIONS - len(decoder_prompt(policy))
    policy.sample(prefix, 1, Sampling(0.0, room))
    with pytest.raises(ModelError, match=f"max_new_tokens be {room} at most"):
        policy.sample(prefix, 1, Sampling(0.0, room + 1))


def test_a_second_policy_over_a_copy_of_the_model_changes_nothing(policy, prompts):
    again = EncoderDecoder(copy.deepcopy(policy.model), policy.processor)
    tokens, mask = completions(3, 5, policy)
    first, second = (one.logprobs(one.encode(prompts), tokens, mask) for one in (policy, again))
    assert (first - second).abs().max() <= 1e-6
