"""What every architecture promises, from raw waveforms of unequal length through processor and policy."""

import numpy as np
import pytest
import torch
from helpers import relative_difference, take_gradients
from subjects import SUBJECTS, make

from antiphon.config import load_config
from antiphon.models.lora import add_adapter, merged, without_adapter
from antiphon.models.policy import Policy, Sampling
from antiphon.models.submodules import freeze, linear_layers
from antiphon.rollout.engines.in_process import InProcessEngine
from antiphon.train.checkpoint import load_checkpoint, save_checkpoint
from antiphon.train.objectives import load_objectives
from antiphon.train.trainer import Trainer
from antiphon.types import Example, Group, Reward

TOKENS = 12


@pytest.fixture(scope="module", params=SUBJECTS)
def subject(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        yield make(request.param, tmp_path_factory.mktemp("subject"), patch)


def logprobs(policy: Policy, prompts, tokens, mask, temperature: float = 1.0) -> torch.Tensor:
    return policy.logprobs(policy.encode(prompts), tokens, mask, temperature)


def gradients(policy: Policy, values: torch.Tensor) -> dict[str, torch.Tensor]:
    """Of a random weighting of `values`."""
    weights = torch.randn(values.shape, generator=torch.Generator().manual_seed(2))
    (values * weights).sum().backward()
    return take_gradients(policy.model)


@pytest.mark.parametrize(("group", "temperature"), [(1, 1.0), (4, 0.7), (16, 1.0)])
def test_a_shared_prefix_equals_transformers_own_forward_over_the_expanded_batch(subject, group, temperature):
    tokens, mask = subject.completions(group)
    shared = logprobs(subject.policy, subject.prompts, tokens, mask, temperature)
    ours = gradients(subject.policy, shared)
    expanded = subject.expanded_logprobs(tokens, mask, temperature)
    assert shared.shape == expanded.shape == (len(tokens), tokens.shape[1] if subject.policy.token_level else 1)
    assert torch.allclose(shared, expanded, rtol=1e-7, atol=1e-5)
    assert relative_difference(ours, gradients(subject.policy, expanded)) <= 1e-5


def test_every_parameter_learns(subject):
    ours = gradients(subject.policy, logprobs(subject.policy, subject.prompts, *subject.completions(16)))
    trained = [name for name, parameter in subject.policy.model.named_parameters() if parameter.requires_grad]
    silent = [name for name in trained if name not in ours or not ours[name].abs().max() > 0]
    assert [name for name in silent if not any(part in name for part in subject.idle)] == []


def test_a_prompt_alone_and_in_a_batch_gives_the_same_numbers(subject):
    tokens, mask = subject.completions(2)
    with torch.no_grad():
        together = logprobs(subject.policy, subject.prompts, tokens, mask)
        for i, prompt in enumerate(subject.prompts):
            rows = slice(2 * i, 2 * i + 2)
            alone = logprobs(subject.policy, [prompt], tokens[rows], mask[rows])
            assert torch.allclose(alone, together[rows], rtol=1e-7, atol=1e-5)


def test_clips_are_heard(subject):
    """Guards the tests above against a model whose answers do not depend on its audio."""
    tokens, mask = subject.completions(2)
    moved = [*subject.prompts[1:], subject.prompts[0]]
    with torch.no_grad():
        heard, other = (logprobs(subject.policy, prompts, tokens, mask) for prompts in (subject.prompts, moved))
    both = heard.isfinite() & other.isfinite()  # a shorter clip may have too few frames for the labels
    assert (heard - other)[both].abs().max() > 1e-2


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_sampling_reports_the_logprobs_that_training_computes(subject, temperature):
    policy, n = subject.policy, 5
    uniforms = np.random.default_rng(0).random((len(subject.prompts) * n, TOKENS))
    with torch.no_grad():
        groups = policy.sample(policy.encode(subject.prompts), n, Sampling(temperature, TOKENS), uniforms)
        rows = [completion for group in groups for completion in group]
        tokens, mask = torch.zeros(len(rows), 64, dtype=torch.long), torch.zeros(len(rows), 64)
        for i, row in enumerate(rows):
            tokens[i, : len(row.token_ids)] = torch.tensor(row.token_ids)
            mask[i, : len(row.token_ids)] = 1
        longest = max(len(row.token_ids) for row in rows)
        trained = logprobs(policy, subject.prompts, tokens[:, :longest], mask[:, :longest], temperature)
    assert [len(group) for group in groups] == [n] * len(subject.prompts)
    for row, values in zip(rows, trained, strict=True):
        assert row.logprobs == pytest.approx(values[: len(row.logprobs)].tolist(), rel=1e-5, abs=1e-5)
        assert not policy.blocked[list(row.token_ids)].any()
        stopped = not policy.token_level or row.token_ids[-1] in policy.stop_ids
        assert row.finish_reason == ("stop" if stopped else "length")
    assert len({row.token_ids for row in rows}) > 2


def test_greedy_equals_transformers_own(subject):
    with torch.no_grad():
        for prompt, ours in zip(
            subject.prompts, InProcessEngine(subject.policy).greedy(subject.prompts, 8), strict=True
        ):
            assert list(ours.token_ids) == subject.own_greedy(prompt, 8)


def test_the_size_of_a_prompt_is_what_it_takes_in_the_model(subject):
    with torch.no_grad():
        sizes = [subject.own_size(prompt) for prompt in subject.prompts]
    assert [subject.policy.size(prompt) for prompt in subject.prompts] == sizes


def test_a_frozen_part_has_no_gradient_and_the_others_keep_theirs(subject):
    policy, completions = subject.copied(), subject.completions(4)
    every = gradients(policy, logprobs(policy, subject.prompts, *completions))
    freeze(policy.model, subject.freezable)
    frozen = {name for name, parameter in policy.model.named_parameters() if not parameter.requires_grad}
    left = gradients(policy, logprobs(policy, subject.prompts, *completions))
    assert frozen & every.keys()
    assert left.keys() == every.keys() - frozen
    assert relative_difference(left, {name: every[name] for name in left}) <= 1e-5


def test_adapters_alone_learn_and_off_they_leave_the_model_as_it_was(subject):
    policy, completions = subject.copied(), subject.completions(2)

    def values(one: Policy) -> torch.Tensor:
        with torch.no_grad():
            return logprobs(one, subject.prompts, *completions)

    before = values(policy)
    add_adapter(policy.model, linear_layers(policy.model), rank=2, alpha=4, seed=0)
    assert torch.equal(values(policy), before)
    ours = gradients(policy, logprobs(policy, subject.prompts, *completions))
    assert all("lora_" in name for name in ours)
    assert any(gradient.abs().max() > 0 for gradient in ours.values())
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
    adapted = values(policy)
    assert (adapted - before)[before.isfinite()].abs().max() > 1e-3
    assert torch.equal(values(without_adapter(policy)), before)
    with merged(policy.model):
        assert torch.allclose(values(policy), adapted, rtol=1e-7, atol=1e-5)


def test_saving_and_loading_changes_no_number(subject, tmp_path):
    again = subject.reload(tmp_path)
    assert type(again) is type(subject.policy)
    assert torch.equal(again.blocked, subject.policy.blocked)
    tokens, mask = subject.completions(2)
    with torch.no_grad():
        before, after = (logprobs(one, subject.prompts, tokens, mask) for one in (subject.policy, again))
    assert torch.allclose(before, after, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_run_resumed_from_its_checkpoint_learns_the_same_bit_for_bit(subject, tmp_path):
    config = load_config(overrides=[f"rollout.prompts_per_step={len(subject.prompts)}", "rollout.max_new_tokens=4"])
    objectives = load_objectives({"name": "grpo"})

    def step(trainer: Trainer, number: int) -> None:
        rows = InProcessEngine(trainer.policy).rollout(subject.prompts, 4, Sampling(1.0, 4), seed=0, step=number)
        trainer.step([rewarded(*one) for one in zip(subject.prompts, rows, strict=True)], number)

    begun, checkpoint = tmp_path / "begun", tmp_path / "checkpoint"
    checkpoint.mkdir()
    whole = Trainer(subject.reload(begun), objectives, config)
    step(whole, 0)
    save_checkpoint(checkpoint, whole, 1)
    step(whole, 1)
    again = Trainer(subject.reloaded(checkpoint), objectives, config)
    assert load_checkpoint(checkpoint, again) == 1
    step(again, 1)
    ours, theirs = (dict(one.policy.model.named_parameters()) for one in (again, whole))
    assert ours.keys() == theirs.keys()
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []


def rewarded(prompt, completions) -> Group:
    """By the place in the group, so that some are better than others."""
    rewards = [Reward(float(place % 2)) for place in range(len(completions))]
    return Group(Example(prompt.id, "asr", None, ""), prompt, completions, rewards=rewards)


@pytest.mark.slow
def test_a_few_steps_of_grpo_raise_a_simple_reward(subject):
    """From rollouts of the policy itself, through the trainer that every family uses: tokens of an even id."""
    policy, prompts = subject.copied(), subject.prompts
    overrides = ["optimizer.lr=0.02", f"rollout.prompts_per_step={len(prompts)}", "rollout.max_new_tokens=6"]
    trainer = Trainer(policy, load_objectives({"name": "grpo"}), load_config(overrides=overrides))
    engine, means = InProcessEngine(policy), []
    for step in range(10):
        groups = []
        for prompt, row in zip(prompts, engine.rollout(prompts, 16, Sampling(1.0, 6), seed=0, step=step), strict=True):
            even = [Reward(np.mean([token % 2 == 0 for token in one.token_ids] or [0])) for one in row]
            groups.append(Group(Example(prompt.id, "asr", None, ""), prompt, row, rewards=even))
        means.append(np.mean([reward.value for group in groups for reward in group.rewards]))
        _, metrics = trainer.step(groups, step)
        assert metrics.get("engine_difference_max", 0.0) <= 1e-4
    assert np.mean(means[-3:]) > means[0] + 0.1
