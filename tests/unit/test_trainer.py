"""The trainer on a tiny real recognizer: portions change nothing, nor do zero-variance groups, metrics add up."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import tiny_ctc
import torch
from helpers import audible, noise_prompts

from antiphon.algorithms import dapo, grpo, raft
from antiphon.builtin.architecture import Size, build_model, build_processor
from antiphon.config import Config, load_config
from antiphon.models.audio_lm import AudioPrefixLM
from antiphon.models.ctc import CTC
from antiphon.models.policy import Sampling, uniforms_for
from antiphon.train.objectives import Objective
from antiphon.train.trainer import Trainer
from antiphon.types import Example, Group, Prompt, Reward

TINY = Size(width=16, audio_layers=1, text_layers=1, heads=2, feed_forward=32, conv_channels=4)
SECONDS = (0.5, 0.31, 0.42, 0.2)
NEW_TOKENS = 5
LR = 1e-3
REWARDS = [[0.0, -1.0, -0.5], [-1.0, -0.25, 0.0], [-0.5, -0.5, -1.0], [0.0, -0.75, -1.0]]
CONSTANT = [[-0.5] * 3] * 4


@pytest.fixture(scope="module")
def initial() -> AudioPrefixLM:
    torch.manual_seed(0)
    processor = build_processor()
    model = build_model(TINY, processor)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    policy = AudioPrefixLM(model, processor)
    with torch.no_grad():
        policy.model.lm_head.weight[sorted(policy.stop_ids)] *= 4  # stops often, so that lengths differ
    return policy


@pytest.fixture(scope="module")
def sampled(initial: AudioPrefixLM) -> list[Group]:
    """Three real completions of each of four clips, of differing lengths, without rewards."""
    rng = np.random.default_rng(0)
    prompts = [
        Prompt(f"p{i}", 0.1 * rng.standard_normal(int(s * 16000)).astype(np.float32), 16000)
        for i, s in enumerate(SECONDS)
    ]
    uniforms = np.concatenate([uniforms_for(0, 0, prompt.id, range(3), NEW_TOKENS) for prompt in prompts])
    with torch.no_grad():
        rows = initial.sample(initial.encode(prompts), 3, Sampling(1.0, NEW_TOKENS), uniforms)
    groups = [Group(Example(p.id, "asr", None, ""), p, row) for p, row in zip(prompts, rows, strict=True)]
    assert len({len(c.token_ids) for group in groups for c in group.completions}) > 1
    return groups


def rewarded(groups: list[Group], rewards: list[list[float]]) -> list[Group]:
    return [
        Group(group.example, group.prompt, group.completions, rewards=[Reward(value) for value in values])
        for group, values in zip(groups, rewards, strict=True)
    ]


def config(*overrides: str) -> Config:
    defaults = (f"optimizer.lr={LR}", "rollout.prompts_per_step=4", f"rollout.max_new_tokens={NEW_TOKENS}")
    return load_config(overrides=[*defaults, *overrides])


def clone(policy: AudioPrefixLM) -> AudioPrefixLM:
    return AudioPrefixLM(copy.deepcopy(policy.model), policy.processor)


def trainer(initial: AudioPrefixLM, *overrides: str, reference: AudioPrefixLM | None = None, **settings) -> Trainer:
    """A trainer of a copy of the initial policy."""
    return Trainer(clone(initial), [Objective("grpo", grpo, grpo.Settings(**settings))], config(*overrides), reference)


def weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in trainer.policy.model.parameters()])


def first_moments(trainer: Trainer) -> torch.Tensor:
    """After one optimizer step: a tenth of the clipped gradient."""
    tensors = trainer.optimizer.state_tensors()
    return torch.cat([tensors[name].flatten() for name in sorted(tensors) if name.startswith("exp_avg.")])


def optimizer_steps(trainer: Trainer) -> set[float]:
    return {value.item() for name, value in trainer.optimizer.state_tensors().items() if name.startswith("step.")}


@pytest.mark.parametrize("normalization", ["token", "sequence", "constant"])
def test_micro_batches_add_up_to_the_whole_batch(initial, sampled, normalization):
    groups = rewarded(sampled, REWARDS)
    whole = trainer(initial, normalization=normalization)
    _, together = whole.step(groups, 0)
    for most in (1, 100):
        portions = trainer(initial, f"train.max_tokens_per_batch={most}", normalization=normalization)
        _, apart = portions.step(groups, 0)
        gradient = first_moments(whole)
        assert (first_moments(portions) - gradient).norm() <= 1e-5 * gradient.norm()
        assert apart["loss"] == pytest.approx(together["loss"], abs=1e-6)
        assert apart["grad_norm"] == pytest.approx(together["grad_norm"], rel=1e-5)
        assert optimizer_steps(portions) == {1}


def test_loss_and_metrics_on_policy_by_hand(initial, sampled):
    """With ratios of one the loss is −Σ A·T / Σ T over completions of T tokens, and nothing is clipped."""
    groups = rewarded(sampled, REWARDS)
    lengths = np.array([[len(c.token_ids) for c in group.completions] for group in groups])
    centered = np.array(REWARDS) - np.mean(REWARDS, axis=1, keepdims=True)
    one = trainer(initial, "optimizer.warmup_steps=4")
    advantages, metrics = one.step(groups, 0)
    np.testing.assert_allclose(advantages[:, 0].view(4, 3).numpy(), centered, atol=1e-6)
    assert metrics["loss"] == pytest.approx(-(centered * lengths).sum() / lengths.sum(), abs=1e-5)
    assert abs(metrics["loss"]) > 1e-3
    assert metrics["clip_low_share"] == metrics["clip_high_share"] == metrics["zero_variance_share"] == 0
    assert metrics["engine_difference_max"] < 1e-5
    assert 0 <= metrics["kl_old"] < 1e-8
    assert metrics["lr"] == LR / 4
    # AdamW's first step is at most the rate, and very nearly that for weights with a gradient to speak of.
    moved = (weights(one) - weights(trainer(initial))).abs().max().item()
    assert moved == pytest.approx(LR / 4, rel=1e-2)


def test_raft_is_the_mean_over_the_tokens_of_what_it_keeps(initial, sampled):
    one = Trainer(clone(initial), [Objective("raft", raft, raft.Settings())], config())
    advantages, metrics = one.step(rewarded(sampled, REWARDS), 0)
    rows = [completion.logprobs for group in sampled for completion in group.completions]
    kept = [row for row, given in zip(rows, advantages.any(-1).tolist(), strict=True) if given]
    assert len(kept) == 4
    assert metrics["loss"] == pytest.approx(-sum(map(sum, kept)) / sum(map(len, kept)), abs=1e-5)
    assert metrics["learned_share"] == pytest.approx(4 / 12)


def test_better_answers_become_more_probable(initial, sampled):
    groups = rewarded(sampled, REWARDS)
    one = trainer(initial)

    def preference() -> float:
        tokens, mask = torch.zeros(12, NEW_TOKENS, dtype=torch.long), torch.zeros(12, NEW_TOKENS)
        for row, completion in enumerate(c for group in groups for c in group.completions):
            tokens[row, : len(completion.token_ids)] = torch.tensor(completion.token_ids)
            mask[row, : len(completion.token_ids)] = 1
        with torch.no_grad():
            values = one.policy.logprobs(one.policy.encode([g.prompt for g in groups]), tokens, mask, 1.0)
        rewards = torch.tensor(REWARDS)
        return ((rewards - rewards.mean(-1, keepdim=True)).flatten() * values.sum(-1)).sum().item()

    before = preference()
    for step in range(3):
        one.step(groups, step)
    assert preference() > before + 0.01


def test_minibatches_are_successive_updates(initial, sampled):
    groups = rewarded(sampled, REWARDS)
    both, halves = trainer(initial, "train.minibatches=2"), trainer(initial)
    _, metrics = both.step(groups, 0)
    _, first = halves.step(groups[:2], 0)
    _, second = halves.step(groups[2:], 0)
    assert torch.equal(weights(both), weights(halves))
    assert optimizer_steps(both) == {2}
    assert metrics["loss"] == pytest.approx((first["loss"] + second["loss"]) / 2, abs=1e-6)
    assert metrics["grad_norm"] == pytest.approx((first["grad_norm"] + second["grad_norm"]) / 2, rel=1e-6)
    assert second["engine_difference_max"] > 1e-4
    assert metrics["engine_difference_max"] == first["engine_difference_max"], "before the weights have moved"


def test_epochs_repeat_the_rollout_with_the_engines_logprobs(initial, sampled):
    groups = rewarded(sampled, REWARDS)
    twice, by_hand = trainer(initial, "train.epochs=2"), trainer(initial)
    _, metrics = twice.step(groups, 0)
    by_hand.step(groups, 0)
    _, second = by_hand.step(groups, 0)
    assert torch.equal(weights(twice), weights(by_hand))
    assert optimizer_steps(twice) == {2}
    assert second["kl_old"] > 1e-7
    assert metrics["engine_difference_max"] < 1e-5


def test_zero_variance_groups_are_dropped_and_counted(initial, sampled):
    rewards = [REWARDS[0], [-1.0] * 3, REWARDS[2], [0.0] * 3]
    groups = rewarded(sampled, rewards)
    mixed, only_varied = trainer(initial), trainer(initial)
    advantages, metrics = mixed.step(groups, 0)
    only_varied.step([groups[0], groups[2]], 0)
    assert torch.equal(weights(mixed), weights(only_varied))
    assert metrics["zero_variance_share"] == 0.5
    assert len(advantages) == 12
    assert not advantages[3:6].any()
    assert not advantages[9:].any()


def test_a_step_of_zero_variance_groups_leaves_the_weights_as_they_were(initial, sampled):
    one = trainer(initial, "optimizer.weight_decay=0.1")
    before = weights(one)
    advantages, metrics = one.step(rewarded(sampled, CONSTANT), 6)
    assert torch.equal(weights(one), before)
    assert not advantages.any()
    assert metrics["zero_variance_share"] == 1.0
    assert optimizer_steps(one) == set()
    assert one.policy.version == 7


def test_with_a_reference_zero_variance_groups_still_feel_its_pull(initial, sampled):
    reference = clone(initial)
    with torch.no_grad():
        for parameter in reference.model.model.language_model.parameters():
            parameter.mul_(1.3)
    frozen = [parameter.clone() for parameter in reference.model.parameters()]
    one = trainer(initial, reference=reference, beta=1.0)
    before = weights(one)
    groups = rewarded(sampled, CONSTANT)
    history = [one.step(groups, step)[1] for step in range(4)]
    assert not torch.equal(weights(one), before)
    assert history[0]["zero_variance_share"] == 1.0
    assert history[0]["kl_reference"] > 1e-3
    assert history[0]["loss"] == pytest.approx(history[0]["kl_reference"], rel=1e-5)
    assert history[-1]["kl_reference"] < history[0]["kl_reference"]
    assert all(torch.equal(p, q) for p, q in zip(reference.model.parameters(), frozen, strict=True))
    assert all(parameter.grad is None for parameter in reference.model.parameters())


@pytest.mark.parametrize("algorithm", [grpo, raft, dapo])
def test_truncated_completions_may_be_left_out_of_the_loss(initial, sampled, algorithm):
    """Their rewards count in the group's mean, and their tokens nowhere; RAFT selects others."""
    groups = rewarded(sampled, REWARDS)
    cut = {(0, 0), (1, 2), (3, 0)}  # The best of three groups.
    for p, group in enumerate(groups):
        group.completions = [
            replace(one, finish_reason="length" if (p, i) in cut else "stop") for i, one in enumerate(group.completions)
        ]
    made = {}
    for truncated in ("keep", "mask"):
        objective = Objective("one", algorithm, algorithm.Settings())
        learner = Trainer(clone(initial), [objective], config(f"rollout.truncated={truncated}"))
        made[truncated] = learner.step(groups, 0)
    masked = made["mask"][0].any(-1).view(4, 3)
    assert not any(masked[place] for place in cut)
    if algorithm is raft:
        assert masked.tolist() == [
            [False, False, True],
            [False, True, False],
            [True, False, False],
            [False, True, False],
        ]
        return
    rest = torch.tensor([(p, i) not in cut for p in range(4) for i in range(3)])
    assert torch.equal(made["mask"][0][rest], made["keep"][0][rest])
    assert made["mask"][1]["learned_share"] == made["keep"][1]["learned_share"] - 3 / 12
    assert made["mask"][1]["advantage_share"] == pytest.approx(int(masked.sum()) / 12)


def test_a_trainer_without_what_its_losses_need_is_refused(initial):
    with pytest.raises(ValueError, match="the losses need a reference model, but the trainer was given none"):
        trainer(initial, beta=1.0)


def test_equal_losses_are_as_one_of_their_weights_together(initial, sampled):
    """Places tell them apart: neither metrics nor advantages are counted twice."""
    groups = rewarded(sampled, REWARDS)
    one = trainer(initial, weight=1.0)
    halves = [Objective("grpo", grpo, grpo.Settings(weight=0.5)) for _ in range(2)]
    both = Trainer(clone(initial), halves, config())
    alone, metrics = one.step(groups, 0)
    joint, together = both.step(groups, 0)
    torch.testing.assert_close(joint, alone)
    assert together["loss"] == pytest.approx(metrics["loss"], rel=1e-5)
    for name in ("kl_old", "clip_low_share"):
        assert together[f"grpo/{name}"] == together[f"grpo_2/{name}"] == metrics[name]
    gradient = first_moments(one)
    assert (first_moments(both) - gradient).norm() <= 1e-5 * gradient.norm()


def test_the_same_step_twice_is_the_same_bit_for_bit(initial, sampled):
    groups = rewarded(sampled, REWARDS)
    one, other = trainer(initial), trainer(initial)
    assert one.step(groups, 0)[1] == other.step(groups, 0)[1]
    assert torch.equal(weights(one), weights(other))


def test_labelings_that_nothing_cuts_are_not_punished_for_their_length(tmp_path):
    """CTC has no longest completion, so that DAPO leaves equal rewards equal, whatever `rollout.max_new_tokens` is."""
    model, processor = tiny_ctc.wav2vec2_layer(tmp_path)
    policy, prompts = CTC(audible(model), processor), noise_prompts((0.6, 0.8))
    uniforms = np.concatenate([uniforms_for(0, 0, prompt.id, range(3), NEW_TOKENS) for prompt in prompts])
    with torch.no_grad():
        rows = policy.sample(policy.encode(prompts), 3, Sampling(1.0, NEW_TOKENS), uniforms)
    groups = [Group(Example(p.id, "asr", None, ""), p, row) for p, row in zip(prompts, rows, strict=True)]
    lengths = {len(completion.token_ids) for group in groups for completion in group.completions}
    assert len(lengths) > 1
    objective = Objective("dapo", dapo, dapo.Settings(overlong_share=1.0))
    learner = Trainer(policy, [objective], config(f"rollout.max_new_tokens={max(lengths)}"))
    advantages, metrics = learner.step(rewarded(groups, CONSTANT[:2]), 0)
    assert not advantages.any()
    assert metrics["learned_share"] == 0
