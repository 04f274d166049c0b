"""Whisper, Moonshine and Cohere-ASR: shared equals expanded, from raw waveforms through their own processors."""

import copy

import numpy as np
import pytest
import torch
from helpers import relative_difference, take_gradients
from tiny_encoder_decoder import BUILDERS, POSITIONS, completions, decoder_prompt, english_prompts, heard

from antiphon.algorithms import grpo
from antiphon.config import load_config
from antiphon.errors import ModelError
from antiphon.models.encoder_decoder import EncoderDecoder
from antiphon.models.load import load_policy
from antiphon.models.policy import Sampling
from antiphon.rollout.engine import InProcessEngine
from antiphon.train.trainer import Trainer
from antiphon.types import Example, Group, Reward


@pytest.fixture(scope="module", params=BUILDERS)
def policy(request):
    return BUILDERS[request.param]()


@pytest.fixture(scope="module")
def prompts():
    return english_prompts()


def expanded_logprobs(policy, prompts, tokens, mask, temperature=1.0) -> torch.Tensor:
    """The plain way: transformers' own forward over every (prompt, completion) pair by itself."""
    group, values = len(tokens) // len(prompts), []
    for row in range(len(tokens)):
        size = int(mask[row].sum())
        ids = torch.tensor([decoder_prompt(policy) + tokens[row, :size].tolist()])
        logits = policy.model(**heard(policy, prompts[row // group]), decoder_input_ids=ids, use_cache=False).logits
        logits = (logits[0, -size - 1 : -1].float() / temperature).masked_fill(policy.blocked, -torch.inf)
        logits[0, policy.blocked_first] = -torch.inf
        values.append(logits.log_softmax(-1).gather(-1, tokens[row, :size, None]).squeeze(-1))
    return torch.zeros(mask.shape).masked_scatter(mask.bool(), torch.cat(values))


@pytest.mark.parametrize(("group", "temperature"), [(1, 1.0), (4, 0.7), (16, 1.0)])
def test_logprobs_and_gradients_equal_the_expanded_batch(policy, prompts, group, temperature):
    tokens, mask = completions(group, 6, policy)
    weights = torch.randn(mask.shape, generator=torch.Generator().manual_seed(2)) * mask

    shared = policy.logprobs(policy.encode(prompts), tokens, mask, temperature)
    (shared * weights).sum().backward()
    shared_gradient = take_gradients(policy.model)

    expanded = expanded_logprobs(policy, prompts, tokens, mask, temperature)
    (expanded * weights).sum().backward()
    expanded_gradient = take_gradients(policy.model)

    assert (shared - expanded).abs().max() <= 1e-5
    assert relative_difference(shared_gradient, expanded_gradient) <= 1e-5


def test_a_clip_alone_and_in_a_batch_gives_the_same_numbers(policy, prompts):
    tokens, mask = completions(2, 5, policy)
    together = policy.logprobs(policy.encode(prompts), tokens, mask)
    for i, prompt in enumerate(prompts):
        rows = slice(2 * i, 2 * i + 2)
        alone = policy.logprobs(policy.encode([prompt]), tokens[rows], mask[rows])
        assert (alone - together[rows]).abs().max() <= 1e-5


def test_clips_are_heard(policy, prompts):
    """Guards the tests above against a model whose answers do not depend on its audio."""
    tokens, mask = completions(2, 5, policy)
    right = policy.logprobs(policy.encode(prompts), tokens, mask)
    swapped = policy.logprobs(policy.encode(prompts[1:] + prompts[:1]), tokens, mask)
    assert (right - swapped).abs().max() > 1e-2


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_sampling_reports_the_logprobs_that_training_computes(policy, prompts, temperature):
    """Completions end at different steps, whole groups before others, so the shared clips are thinned out."""
    n, length = 5, 30
    uniforms = np.random.default_rng(0).random((len(prompts) * n, length))
    with torch.no_grad():
        groups = policy.sample(policy.encode(prompts), n, Sampling(temperature, length), uniforms)
        rows = [c for group in groups for c in group]
        tokens, mask = torch.zeros(len(rows), length, dtype=torch.long), torch.zeros(len(rows), length)
        for i, row in enumerate(rows):
            tokens[i, : len(row.token_ids)] = torch.tensor(row.token_ids)
            mask[i, : len(row.token_ids)] = 1
        trained = policy.logprobs(policy.encode(prompts), tokens, mask, temperature)
    for i, row in enumerate(rows):
        assert np.abs(trained[i, : len(row.token_ids)].numpy() - np.array(row.logprobs)).max() <= 1e-5
        assert not policy.blocked[list(row.token_ids)].any()
        assert not policy.blocked_first[row.token_ids[0]]
        assert row.finish_reason == ("stop" if row.token_ids[-1] in policy.stop_ids else "length")
    ends = [max(len(c.token_ids) for c in group) for group in groups]
    assert len(set(ends)) > 1


def test_greedy_equals_transformers_generate(policy, prompts):
    ours = InProcessEngine(policy).greedy(prompts, 8)
    for prompt, completion in zip(prompts, ours, strict=True):
        options = {
            "whisper": {"language": "en", "task": "transcribe"},
            "moonshine": {},
            "cohere_asr": {"decoder_input_ids": torch.tensor([decoder_prompt(policy)])},
        }
        theirs = policy.model.generate(
            **heard(policy, prompt),
            **options[policy.model.config.model_type],
            max_new_tokens=8,
            do_sample=False,
            suppress_tokens=policy.blocked.nonzero().squeeze(-1).tolist(),
        )[0].tolist()
        prefix = decoder_prompt(policy)
        theirs = theirs[len(prefix) :] if theirs[: len(prefix)] == prefix else theirs
        assert tuple(theirs) == completion.token_ids


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


def test_saving_and_loading_changes_no_number(policy, prompts, tmp_path):
    policy.save(tmp_path)
    again = load_policy(str(tmp_path), torch.device("cpu"), torch.float32)
    before, after = (InProcessEngine(one).greedy(prompts, 8) for one in (policy, again))
    assert [one.text for one in before] == [one.text for one in after]
    for one, other in zip(before, after, strict=True):
        assert np.abs(np.array(one.logprobs) - np.array(other.logprobs)).max() <= 1e-5


def test_more_tokens_than_positions_are_refused(policy, prompts):
    prefix, room = policy.encode(prompts), POSITIONS - len(decoder_prompt(policy))
    policy.sample(prefix, 1, Sampling(0.0, room))
    with pytest.raises(ModelError, match=f"max_new_tokens be {room} at most"):
        policy.sample(prefix, 1, Sampling(0.0, room + 1))


def test_every_trained_weight_has_a_gradient(policy, prompts):
    policy.logprobs(policy.encode(prompts), *completions(2, 5, policy)).sum().backward()
    trained = {name: p.grad for name, p in policy.model.named_parameters() if p.requires_grad}
    policy.model.zero_grad(set_to_none=True)
    # Softmax does not see what is added to every score alike.
    dead = [n for n, g in trained.items() if not n.endswith("k_proj.bias") and (g is None or not g.abs().max() > 0)]
    assert dead == []


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_it_learns_what_is_rewarded(build, prompts):
    """A few steps of GRPO on the share of one word among the first four tokens."""
    policy, wanted = build(), "c"
    overrides = ["optimizer.lr=0.01", "optimizer.warmup_steps=0", "train.steps=12", "rollout.max_new_tokens=4"]
    config = load_config(overrides=[*overrides, "optimizer.weight_decay=0"])
    trainer, engine = Trainer(policy, grpo, grpo.Settings(), config), InProcessEngine(policy)
    token, means, differences = policy.tokenizer.convert_tokens_to_ids(wanted), [], []
    for step in range(config.train.steps):
        rows = engine.rollout(prompts, 8, Sampling(1.0, 4), seed=0, step=step)
        groups = [
            Group(
                Example(p.id, "asr", None, wanted), p, row, rewards=[Reward(c.token_ids.count(token) / 4) for c in row]
            )
            for p, row in zip(prompts, rows, strict=True)
        ]
        means.append(np.mean([reward.value for group in groups for reward in group.rewards]))
        differences.append(trainer.step(groups, step)[1].get("engine_difference_max", 0.0))
    assert means[-1] > means[0] + 0.4
    assert max(differences) <= 1e-4


def test_a_second_policy_over_a_copy_of_the_model_changes_nothing(policy, prompts):
    again = EncoderDecoder(copy.deepcopy(policy.model), policy.processor)
    tokens, mask = completions(3, 5, policy)
    first, second = (one.logprobs(one.encode(prompts), tokens, mask) for one in (policy, again))
    assert (first - second).abs().max() <= 1e-6
