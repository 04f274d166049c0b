"""The losses of the policy-gradient family in value and gradient, by hand or against the paper's formula in float64."""

from math import exp, log, sqrt

import pytest
import torch
from loss_inputs import double, leaf, learned, scores

from antiphon.algorithms import cispo, dr_grpo, grpo, gspo, opd
from antiphon.algorithms.terms import token_weights

LN2 = log(2)


def ratios(values: list[float], **given):
    """One completion of log-probability −1 a token whose p / p_old are `values`."""
    logprobs = leaf([[-1.0] * len(values)])
    return scores(logprobs, old_logprobs=-1.0 - double([values]).log(), **given)


def near(expected, absolute: float = 1e-9):
    return pytest.approx(expected, abs=absolute)


# s = sqrt(1.2 · 0.9) for both tokens, each of weight 1/2 and with half of the gradient of s A.
def test_gspo_has_one_ratio_a_completion():
    s = sqrt(1.08)
    given = ratios([1.2, 0.9], advantages=double([[2.0, 2.0]]))
    loss, gradient, _ = learned(gspo, gspo.Settings(clip_high=0.5), given)
    assert loss == near(-2 * s)
    assert gradient.flatten().tolist() == near([-s, -s])


# 1.0392 is beyond 1.0004: an advantage above 0 loses its gradient at the bound, one below 0 keeps it.
def test_gspo_clips_completions_as_a_whole():
    loss, gradient, metrics = learned(gspo, gspo.Settings(), ratios([1.2, 0.9], advantages=double([[2.0, 2.0]])))
    assert loss == near(-2 * 1.0004)
    assert not gradient.any()
    assert (metrics["clip_high_share"], metrics["clip_low_share"]) == (1, 0)
    loss, gradient, metrics = learned(gspo, gspo.Settings(), ratios([1.2, 0.9], advantages=double([[-2.0, -2.0]])))
    assert loss == near(2 * sqrt(1.08))
    assert gradient.flatten().tolist() == near([sqrt(1.08)] * 2)
    assert metrics["clip_high_share"] == 0


def test_gspo_is_the_papers_formula_where_a_completion_has_one_advantage():
    """Eq. 5: (1/G) Σ min(s A, clip(s) A) with the gradient through s itself, for completions of 1, 2 and 4 tokens."""
    generator = torch.Generator().manual_seed(0)
    mask = (torch.arange(4) < torch.tensor([[1], [2], [4]])).double()
    old = -torch.rand(3, 4, generator=generator, dtype=torch.float64) * mask
    moved = old + 0.3 * torch.randn(3, 4, generator=generator, dtype=torch.float64) * mask
    advantages = double([[1.0], [-2.0], [0.5]])
    settings = gspo.Settings(clip_low=0.1, clip_high=0.1)

    own = leaf(moved)
    s = (((own - old) * mask).sum(-1) / mask.sum(-1)).exp()
    a = advantages.flatten()
    expected = -torch.minimum(s * a, s.clamp(0.9, 1.1) * a).mean()
    (slope,) = torch.autograd.grad(expected, own)

    weights = token_weights(mask, "sequence", 4).double()
    given = scores(leaf(moved), old_logprobs=old, advantages=advantages * mask, weights=weights)
    loss, gradient, _ = learned(gspo, settings, given)
    assert loss == near(expected.item(), 1e-6)
    torch.testing.assert_close(gradient, slope, atol=1e-6, rtol=1e-6)


# Eq. 14: where tokens have advantages of their own, each answers for its own. On policy, −w A = −1/2 and +1/2.
def test_gspo_keeps_the_credit_of_single_tokens():
    loss, gradient, _ = learned(gspo, gspo.Settings(), ratios([1.0, 1.0], advantages=double([[1.0, -1.0]])))
    assert loss == near(0)
    assert gradient.flatten().tolist() == near([-0.5, 0.5])


# Weights 1.5, 0.5 and 3 cut to 2; loss −Σ w · weight · A · log p with log p = −1, gradient −w · weight · A.
def test_cispo_clips_the_weight_and_keeps_the_gradient():
    weights = double([[0.25, 0.25, 0.5]])
    given = ratios([1.5, 0.5, 3.0], advantages=double([[1.0, 1.0, -1.0]]), weights=weights)
    loss, gradient, metrics = learned(cispo, cispo.Settings(), given)
    assert loss == near(0.375 + 0.125 - 1.0)
    assert gradient.flatten().tolist() == near([-0.375, -0.125, 1.0])
    assert (metrics["clip_low_share"], metrics["clip_high_share"]) == (0, 0.5)


def test_cispo_may_have_a_lower_bound():
    given = ratios([1.5, 0.5], advantages=double([[1.0, 1.0]]))
    _, gradient, metrics = learned(cispo, cispo.Settings(clip_low=0.2, clip_high=0.28), given)
    assert gradient.flatten().tolist() == near([-0.5 * 1.28, -0.5 * 0.8])
    assert (metrics["clip_low_share"], metrics["clip_high_share"]) == (0.5, 0.5)


# Two completions of 3 and 1 tokens with 5 new ones allowed: w = 1 / (2 · 5) for each token, whatever its completion.
def test_dr_grpo_divides_by_a_constant():
    settings = dr_grpo.Settings()
    mask = double([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    weights = token_weights(mask, settings.normalization, 5).double()
    given = scores(leaf(torch.zeros(2, 3)), advantages=double([[0.5], [-0.5]]) * mask, weights=weights)
    loss, gradient, _ = learned(dr_grpo, settings, given)
    assert loss == near(-(3 * 0.5 - 0.5) / 10, 1e-7)
    torch.testing.assert_close(gradient, double([[-0.05, -0.05, -0.05], [0.05, 0, 0]]), atol=1e-7, rtol=0)
    assert settings.clip_high == 0.2


# p = (1/2, 1/4, 1/4): H = 3/2 ln 2, and dH/dz_i = −p_i (ln p_i + H) = (−1/4, 1/8, 1/8) ln 2.
def test_the_entropy_bonus_flattens_the_distribution():
    logits = double([0.5, 0.25, 0.25]).log().requires_grad_()
    logprobs = logits.log_softmax(-1)
    entropy = -(logprobs.exp() * logprobs).sum().view(1, 1)
    given = scores(logprobs[:1].view(1, 1), entropy=entropy, weights=double([[0.5]]))
    loss, _ = grpo.loss(given, grpo.Settings(entropy_bonus=0.3))
    loss.backward()
    assert loss.item() == near(-0.3 * 0.5 * 1.5 * LN2)
    assert logits.grad is not None
    assert logits.grad.tolist() == near([0.15 * LN2 / 4, -0.15 * LN2 / 8, -0.15 * LN2 / 8])
    assert grpo.loss(given, grpo.Settings())[0].item() == 0


# p_old / p_engine of three tokens and what becomes of it with a cap of 2; by sequence it is their product.
@pytest.mark.parametrize(
    ("correction", "level", "mismatch", "expected"),
    [
        ("none", "token", [3.0, 0.5, 1 / 3], [1.0, 1.0, 1.0]),
        ("truncate", "token", [3.0, 0.5, 1 / 3], [2.0, 0.5, 1 / 3]),
        ("mask", "token", [3.0, 0.5, 1 / 3], [0.0, 0.5, 0.0]),
        ("truncate", "sequence", [3.0, 0.5, 1 / 3], [0.5, 0.5, 0.5]),
        ("mask", "sequence", [3.0, 0.6, 1 / 3], [0.6, 0.6, 0.6]),
        ("truncate", "sequence", [3.0, 0.5, 2.0], [2.0, 2.0, 2.0]),
        ("mask", "sequence", [3.0, 0.5, 2.0], [0.0, 0.0, 0.0]),
    ],
)
def test_correction_of_what_the_engine_scored_differently(correction, level, mismatch, expected):
    settings = grpo.Settings(correction=correction, correction_level=level)
    given = scores(
        leaf([[-1.0] * 3]), engine_logprobs=-1.0 - double([mismatch]).log(), advantages=double([[1.0, 1.0, 1.0]])
    )
    loss, gradient, metrics = learned(grpo, settings, given)
    assert loss == near(-sum(expected) / 3)
    assert gradient.flatten().tolist() == near([-one / 3 for one in expected])
    assert metrics.get("correction_mean", 1.0) == near(sum(expected) / 3)
    assert grpo.needs(settings).recomputed_old == (correction != "none")


def test_the_correction_of_a_sequence_stays_off_its_padding():
    """The second token is padding, with nonsense in it."""
    given = scores(
        leaf([[-1.0, 0.0]]),
        engine_logprobs=double([[-1.0 - log(1.5), 9.0]]),
        advantages=double([[1.0, 0.0]]),
        weights=double([[1.0, 0.0]]),
    )
    settings = grpo.Settings(correction="truncate", correction_level="sequence")
    loss, gradient, _ = learned(grpo, settings, given)
    assert loss == near(-1.5)
    assert gradient.flatten().tolist() == near([-1.5, 0.0])


# A + c (log p_teacher − log p_old) = 1 + 1/2 · 0.4 and 1 − 1/2 · 0.6; off policy it is weighted by ρ = 1.1 as A is.
def test_the_teacher_adds_to_the_advantage_of_each_token():
    settings = grpo.Settings(teacher_coefficient=0.5)
    given = ratios([1.0, 1.1], advantages=double([[1.0, 1.0]]))
    teacher = given.old_logprobs + double([[0.4, -0.6]])
    given = scores(
        given.logprobs, old_logprobs=given.old_logprobs, advantages=given.advantages, teacher_logprobs=teacher
    )
    loss, gradient, metrics = learned(grpo, settings, given)
    assert loss == near(-(1.2 + 1.1 * 0.7) / 2)
    assert gradient.flatten().tolist() == near([-0.6, -0.385])
    assert metrics["teacher_advantage"] == near((0.4 - 0.6) / 2)
    assert learned(grpo, grpo.Settings(), given)[0] == near(-(1 + 1.1) / 2)


def test_a_kl_in_the_reward_is_measured_and_not_in_the_loss():
    given = scores(leaf([[-1.0]]), reference_logprobs=double([[-1.0 - LN2]]), advantages=double([[1.0]]))
    settings = {"beta": 0.1, "kl": "k1"}
    loss, gradient, metrics = learned(grpo, grpo.Settings(kl_in="reward", **settings), given)
    assert (loss, gradient.item()) == (near(-1), near(-1))
    assert metrics["kl_reference"] == near(LN2)
    loss, gradient, _ = learned(grpo, grpo.Settings(kl_in="loss", **settings), given)
    assert (loss, gradient.item()) == (near(-1 + 0.1 * LN2), near(-0.9))


# ρ = e^±20 at ±100, and k3 10. Where the bound, the clip or the dual clip holds, there is no gradient.
E20 = exp(20)


@pytest.mark.parametrize(
    ("log_ratio", "advantage", "settings", "loss", "slope"),
    [
        pytest.param(100.0, 1.0, {}, -1.28, 0.0, id="+100, good: the clip"),
        pytest.param(100.0, -1.0, {}, E20, 0.0, id="+100, bad: the bound"),
        pytest.param(100.0, -1.0, {"dual_clip": 3.0}, 3.0, 0.0, id="+100, bad: the dual clip"),
        pytest.param(-100.0, 1.0, {}, -1 / E20, 0.0, id="-100, good: the bound"),
        pytest.param(-100.0, -1.0, {}, 0.8, 0.0, id="-100, bad: the clip"),
        pytest.param(1994.0, -0.5, {"dual_clip": 3.0}, 1.5, 0.0, id="a whole transcript as one action"),
        pytest.param(log(2), -1.0, {"dual_clip": 3.0}, 2.0, 2.0, id="below the dual clip nothing changes"),
        pytest.param(log(4), -1.0, {"dual_clip": 3.0}, 3.0, 0.0, id="beyond it there is no gradient"),
        pytest.param(log(4), 1.0, {"dual_clip": 3.0}, -1.28, 0.0, id="it is not for good answers"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_losses_and_gradients_are_finite_however_far_the_weights_moved(
    log_ratio, advantage, settings, loss, slope, dtype
):
    own = torch.tensor([[-1.0]], dtype=dtype, requires_grad=True)
    given = scores(own, old_logprobs=own.detach() - log_ratio, advantages=torch.tensor([[advantage]], dtype=dtype))
    made, gradient, metrics = learned(grpo, grpo.Settings(**settings), given)
    assert made == pytest.approx(loss, rel=1e-6)
    assert gradient.item() == pytest.approx(slope, rel=1e-5)
    assert metrics["kl_old"] <= 10
    assert metrics.get("clip_dual_share", 0) == float(loss == 3.0 or loss == 1.5)


@pytest.mark.parametrize(("log_ratio", "loss"), [(100.0, -1.28), (-100.0, -1 / E20), (1994.0, -1.28)])
def test_gspo_is_finite_too(log_ratio, loss):
    given = scores(
        leaf([[-1.0]]), old_logprobs=double([[-1.0 - log_ratio]]), advantages=double([[1.0]]), weights=double([[1.0]])
    )
    made, gradient, _ = learned(gspo, gspo.Settings(clip_high=0.28), given)
    assert made == pytest.approx(loss)
    assert gradient.item() == 0


@pytest.mark.parametrize("mismatch", [100.0, -100.0, 1000.0])
@pytest.mark.parametrize("level", ["token", "sequence"])
def test_a_masked_token_is_worth_nothing_however_far_off_it_is(mismatch, level):
    """The engine's log-probability is off by so much that the ratio is no number in fp32."""
    own = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    given = scores(
        own,
        old_logprobs=own.detach(),
        engine_logprobs=own.detach() - torch.tensor([[mismatch, 0.0]]),
        advantages=torch.ones(1, 2),
    )
    loss, gradient, metrics = learned(grpo, grpo.Settings(correction="mask", correction_level=level), given)
    assert loss == (-0.5 if level == "token" else 0)
    assert gradient.flatten().tolist() == ([0.0, -0.5] if level == "token" else [0.0, 0.0])
    assert metrics["correction_mean"] == (0.5 if level == "token" else 0)


# r = log p_reference − log p = 99 and −99; k3 is bounded by 10, and below that it is what it was: e − 2 at r = 1.
@pytest.mark.parametrize(
    ("reference", "k3", "slope"), [(98.0, 10.0, 0.0), (-100.0, 10.0, 0.0), (0.0, exp(1) - 2, 1 - exp(1))]
)
def test_k3_is_bounded(reference, k3, slope):
    given = scores(leaf([[-1.0]]), reference_logprobs=double([[reference]]))
    loss, gradient, metrics = learned(grpo, grpo.Settings(beta=0.5), given)
    assert (loss, metrics["kl_reference"]) == (near(0.5 * k3), near(k3))
    assert gradient.item() == near(0.5 * slope)


@pytest.mark.parametrize("disagreement", [100.0, -100.0, 1000.0])
def test_distillation_of_what_was_sampled_is_finite_too(disagreement):
    given = scores(
        leaf([[-1.0]]), old_logprobs=double([[-1.0 - disagreement]]), teacher_logprobs=double([[-2.0 - disagreement]])
    )
    loss, gradient, _ = learned(opd, opd.Settings(loss="sampled"), given)
    assert loss == pytest.approx(exp(max(min(disagreement, 20), -20)))
    assert gradient.item() == 0


def test_cispo_has_no_dual_clip():
    with pytest.raises(ValueError, match="dual_clip"):
        cispo.Settings(dual_clip=3.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("algorithm", [grpo, cispo, gspo])
def test_kl_and_correction_are_alike_in_all_of_them(algorithm):
    """On policy the surrogates have one gradient, −A; k2 adds β · (log p − log p_reference)."""
    given = scores(
        leaf([[-1.0]]),
        engine_logprobs=double([[-1.0 - log(1.5)]]),
        reference_logprobs=double([[-1.2]]),
        advantages=double([[2.0]]),
    )
    settings = algorithm.Settings(beta=0.5, kl="k2", correction="truncate")
    _, gradient, metrics = learned(algorithm, settings, given)
    assert gradient.item() == near(-1.5 * 2 + 0.5 * 0.2)
    assert metrics["correction_mean"] == near(1.5)
    assert exp(metrics["kl_old"]) == near(1)
