"""GRPO by hand: the loss and its gradient at clipped and unclipped ratios, each KL, each mean, zero-variance groups."""

from math import log

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from antiphon.algorithms import grpo
from antiphon.algorithms.grpo import Settings
from antiphon.algorithms.inputs import Outcomes, Scores
from antiphon.algorithms.terms import has_variance, kl_estimate, token_weights

LN2 = log(2)


def scores(
    logprobs: Tensor, old: Tensor, advantages: Tensor, weights: Tensor, reference: Tensor | None = None
) -> Scores:
    return Scores(
        logprobs=logprobs,
        old_logprobs=old,
        engine_logprobs=old,
        advantages=advantages,
        weights=weights,
        group_size=1,
        first=torch.ones(len(logprobs), dtype=torch.bool),
        reference_logprobs=reference,
    )


def advantages_of(rewards: Tensor, settings: Settings, valid: Tensor | None = None) -> Tensor:
    everything = torch.ones_like(rewards, dtype=torch.bool)
    valid = everything if valid is None else valid
    return grpo.advantages(
        Outcomes(rewards, valid, everything, torch.ones_like(rewards), 8, torch.ones(*rewards.shape, 1)), settings
    )


def one_token(
    ratio: float, advantage: float, reference_ratio: float | None = None, **settings
) -> tuple[float, float, dict[str, float]]:
    """Loss, d loss / d log-probability and metrics of a single token of weight 1.

    `ratio` is p / p_engine and `reference_ratio` is p_reference / p.
    """
    logprobs = torch.tensor([[-1.0]], requires_grad=True)
    old = torch.tensor([[-1.0 - log(ratio)]])
    reference = None if reference_ratio is None else torch.tensor([[-1.0 + log(reference_ratio)]])
    given = scores(logprobs, old, torch.tensor([[advantage]]), torch.ones(1, 1), reference)
    loss, metrics = grpo.loss(given, Settings(**settings))
    loss.backward()
    assert logprobs.grad is not None
    return loss.item(), logprobs.grad.item(), {name: value.item() for name, value in metrics.items()}


# With ρ = exp(logp − old), dρ/dlogp = ρ. Where the surrogate is ρA, loss = −ρA and its gradient is −ρA as well;
# where the clip is chosen, loss = −(bound)A and the gradient is 0. The bounds are 0.8 and 1.28.
@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        pytest.param(1.0, 2.0, -2.0, -2.0, id="on policy, good"),
        pytest.param(1.0, -2.0, 2.0, 2.0, id="on policy, bad"),
        pytest.param(1.5, 2.0, -2.56, 0.0, id="far up, good: clipped at 1.28"),
        pytest.param(1.5, -2.0, 3.0, 3.0, id="far up, bad: pulled back"),
        pytest.param(0.5, -2.0, 1.6, 0.0, id="far down, bad: clipped at 0.8"),
        pytest.param(0.5, 2.0, -1.0, -1.0, id="far down, good: pulled back"),
        pytest.param(1.25, 2.0, -2.5, -2.5, id="above 1.2 yet within 1.28"),
        pytest.param(1.30, 2.0, -2.56, 0.0, id="just above 1.28"),
        pytest.param(0.85, -2.0, 1.7, 1.7, id="within the lower bound"),
        pytest.param(0.75, -2.0, 1.6, 0.0, id="within 0.28 yet below 0.8"),
    ],
)
def test_clipping_by_default_is_asymmetric(ratio: float, advantage: float, loss: float, gradient: float):
    value, slope, _ = one_token(ratio, advantage)
    assert value == pytest.approx(loss, rel=1e-6)
    assert slope == pytest.approx(gradient, rel=1e-6)
    if gradient == 0:
        assert slope == 0


def test_clip_range_follows_the_settings():
    assert one_token(1.5, 2.0, clip_high=0.6)[1] == pytest.approx(-3.0, rel=1e-6)
    assert one_token(1.5, 2.0, clip_high=0.1)[0] == pytest.approx(-2.2, rel=1e-6)
    assert one_token(0.5, -2.0, clip_low=0.6)[1] == pytest.approx(1.0, rel=1e-6)
    assert one_token(0.5, -2.0, clip_low=0.1)[0] == pytest.approx(1.8, rel=1e-6)


def test_a_clip_range_of_zero_still_learns_on_policy():
    assert one_token(1.0, 2.0, clip_low=0, clip_high=0)[1] == -2.0
    assert one_token(1.0, -2.0, clip_low=0, clip_high=0)[1] == 2.0


@pytest.mark.parametrize("wrong", [{"clip_low": 1.0}, {"clip_high": -0.1}, {"beta": -1.0}, {"clip": 0.2}])
def test_settings_out_of_range_or_unknown_are_refused(wrong: dict[str, float]):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Settings.model_validate(wrong)


def test_metrics_count_a_token_as_clipped_only_where_its_gradient_is_lost():
    # (ratio, advantage): high-clipped, high kept, low-clipped, low kept; a share of 1/4 for each clipped one.
    ratios, advantages = torch.tensor([[1.5, 1.5, 0.5, 0.5]]), torch.tensor([[1.0, -1.0, -1.0, 1.0]])
    logprobs = torch.full((1, 4), -1.0)
    _, metrics = grpo.loss(scores(logprobs, logprobs - ratios.log(), advantages, torch.full((1, 4), 0.25)), Settings())
    assert metrics["clip_high_share"].item() == 0.25
    assert metrics["clip_low_share"].item() == 0.25
    # k3 of KL(engine ‖ policy) is ρ − 1 − ln ρ: 0.5 − ln 1.5 twice and −0.5 + ln 2 twice, over four.
    assert metrics["kl_old"].item() == pytest.approx((0.5 - log(1.5) - 0.5 + LN2) / 2, rel=1e-5)
    assert "kl_reference" not in metrics


# r = ln(p_ref / p). k1 = −r, gradient 1; k2 = r²/2, gradient −r; k3 = eʳ − 1 − r, gradient 1 − eʳ.
@pytest.mark.parametrize(
    ("kl", "reference_ratio", "value", "gradient"),
    [
        ("k1", 2.0, -LN2, 1.0),
        ("k1", 0.5, LN2, 1.0),
        ("k2", 2.0, LN2**2 / 2, -LN2),
        ("k2", 0.5, LN2**2 / 2, LN2),
        ("k3", 2.0, 1 - LN2, -1.0),
        ("k3", 0.5, LN2 - 0.5, 0.5),
    ],
)
def test_kl_to_the_reference_in_value_and_gradient(kl: str, reference_ratio: float, value: float, gradient: float):
    loss, slope, metrics = one_token(1.0, 0.0, reference_ratio, kl=kl, beta=0.1)
    assert loss == pytest.approx(0.1 * value, rel=1e-5)
    assert slope == pytest.approx(0.1 * gradient, rel=1e-5)
    assert metrics["kl_reference"] == pytest.approx(value, rel=1e-5)

    # Beside a surrogate with ρ = 1.1 and A = 3, both are simply added.
    loss, slope, _ = one_token(1.1, 3.0, reference_ratio, kl=kl, beta=0.1)
    assert loss == pytest.approx(-3.3 + 0.1 * value, rel=1e-5)
    assert slope == pytest.approx(-3.3 + 0.1 * gradient, rel=1e-5)


def test_kl_still_acts_where_the_surrogate_is_clipped():
    assert one_token(1.5, 2.0, 0.5, kl="k3", beta=1.0)[1] == pytest.approx(0.5, rel=1e-5)


def test_the_default_kl_is_k3_and_without_beta_there_is_none():
    assert one_token(1.0, 0.0, 2.0, beta=1.0)[0] == pytest.approx(1 - LN2, rel=1e-5)
    assert one_token(1.0, 2.0, 2.0)[:2] == (-2.0, -2.0)
    assert not grpo.needs(Settings()).reference
    assert grpo.needs(Settings(beta=0.01)).reference


# Over p = (1/2, 1/4, 1/4) and q = (1/4, 1/2, 1/4): KL(p ‖ q) = 1/2 ln 2 − 1/4 ln 2 = 1/4 ln 2.
P, Q = torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0.25, 0.5, 0.25])


@pytest.mark.parametrize(("kl", "mean"), [("k1", LN2 / 4), ("k2", 3 / 8 * LN2**2), ("k3", LN2 / 4)])
def test_k1_and_k3_average_to_the_kl(kl, mean: float):
    assert (P * kl_estimate(P.log(), Q.log(), kl)).sum().item() == pytest.approx(mean, rel=1e-5)


# d KL / d logit_i = p_i (ln(p_i / q_i) − KL), here ln 2 · (3/8, −5/16, −1/16).
# k3's is E_p[(1 − q/p) ∇ ln p] = p − q, that is the gradient of KL(q ‖ p).
@pytest.mark.parametrize(
    ("kl", "gradient"),
    [("k1", [0, 0, 0]), ("k2", [3 / 8 * LN2, -5 / 16 * LN2, -1 / 16 * LN2]), ("k3", [0.25, -0.25, 0])],
)
def test_expected_gradient_of_each_estimator(kl, gradient: list[float]):
    logits = P.log().requires_grad_()
    (P * kl_estimate(logits.log_softmax(-1), Q.log(), kl)).sum().backward()
    torch.testing.assert_close(logits.grad, torch.tensor(gradient, dtype=torch.float32), atol=1e-7, rtol=1e-5)


def test_advantages_are_centered_on_their_own_group():
    rewards = torch.tensor([[0.0, -1.0, -0.5, -0.5], [4.0, 0.0, 0.0, 0.0]])
    expected = torch.tensor([[0.5, -0.5, 0.0, 0.0], [3.0, -1.0, -1.0, -1.0]])
    assert torch.equal(advantages_of(rewards, Settings()), expected)


def test_std_normalization_divides_by_the_deviation_of_a_sample():
    # Deviations: sqrt(0.5 / 3) = 1 / sqrt 6, and sqrt((9 + 3) / 3) = 2.
    rewards = torch.tensor([[0.0, -1.0, -0.5, -0.5], [4.0, 0.0, 0.0, 0.0]])
    expected = torch.tensor([[1.5**0.5, -(1.5**0.5), 0.0, 0.0], [1.5, -0.5, -0.5, -0.5]])
    torch.testing.assert_close(advantages_of(rewards, Settings(std_normalization=True)), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("std_normalization", [False, True])
def test_a_group_of_equal_rewards_has_no_advantage(std_normalization: bool):
    settings = Settings(std_normalization=std_normalization)
    assert torch.equal(advantages_of(torch.tensor([[-0.5] * 8, [0.0] * 8]), settings), torch.zeros(2, 8))


def test_equal_rewards_that_binary_cannot_hold_have_no_advantage_either():
    advantages = advantages_of(torch.full((1, 8), -0.7), Settings(std_normalization=True))
    assert advantages.abs().max() < 1e-6


def test_variance_is_a_matter_of_each_group():
    rewards = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.99], [0.0, 0.0, 0.0], [-1.0, 1.0, 0.0]])
    assert has_variance(rewards, torch.ones(4, 3, dtype=torch.bool)).tolist() == [False, True, False, True]


# Two completions of 3 and 1 tokens with A = +1/2 and −1/2, on policy, so that the loss is −Σ w A.
#   token:    w = 1/4 everywhere             −(3/8 − 1/8) = −1/4
#   sequence: w = 1/6 thrice, then 1/2       −(1/4 − 1/4) = 0
#   constant: w = 1/(2·5) with 5 new tokens  −(3/20 − 1/20) = −1/10
MASK = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
ADVANTAGES = torch.tensor([[0.5], [-0.5]]).expand(2, 3) * MASK


@pytest.mark.parametrize(
    ("normalization", "weights", "loss"),
    [
        ("token", [[1 / 4, 1 / 4, 1 / 4], [1 / 4, 0, 0]], -1 / 4),
        ("sequence", [[1 / 6, 1 / 6, 1 / 6], [1 / 2, 0, 0]], 0.0),
        ("constant", [[1 / 10, 1 / 10, 1 / 10], [1 / 10, 0, 0]], -1 / 10),
    ],
)
def test_normalization_in_value_and_gradient(normalization, weights: list[list[float]], loss: float):
    expected = torch.tensor(weights)
    made = token_weights(MASK, normalization, max_new_tokens=5)
    torch.testing.assert_close(made, expected)
    logprobs = torch.full((2, 3), -1.0, requires_grad=True)
    value, _ = grpo.loss(scores(logprobs, logprobs.detach(), ADVANTAGES, made), Settings())
    value.backward()
    assert value.item() == pytest.approx(loss, abs=1e-7)
    torch.testing.assert_close(logprobs.grad, -expected * ADVANTAGES)


@pytest.mark.parametrize("normalization", ["token", "sequence", "constant"])
def test_a_batch_without_tokens_weighs_nothing(normalization):
    assert torch.equal(token_weights(torch.zeros(2, 3), normalization, 5), torch.zeros(2, 3))


def whole_batch() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Four completions of 1, 2, 4 and 4 tokens: logprobs, engine's, advantages, reference's, mask."""
    generator = torch.Generator().manual_seed(0)
    mask = (torch.arange(4) < torch.tensor([[1], [2], [4], [4]])).float()
    old, reference = (-torch.rand(4, 4, generator=generator) for _ in range(2))
    logprobs = old + 0.4 * torch.randn(4, 4, generator=generator)
    advantages = torch.tensor([[1.0], [-1.0], [2.0], [-0.5]]).expand(4, 4)
    return logprobs, old, advantages, reference, mask


def test_micro_batches_add_up_to_the_mean_over_all_tokens():
    logprobs, old, advantages, reference, mask = whole_batch()
    settings = Settings(beta=0.3, kl="k2")
    weights = token_weights(mask, "token", max_new_tokens=4)
    parts, gradients, divergence = [], [], []
    for rows in (slice(0, 1), slice(1, 2), slice(2, 4)):
        part = logprobs[rows].clone().requires_grad_()
        loss, metrics = grpo.loss(scores(part, old[rows], advantages[rows], weights[rows], reference[rows]), settings)
        loss.backward()
        parts.append(loss.item())
        gradients.append(part.grad)
        divergence.append(metrics["kl_reference"].item())

    # The plain formula, token by token, over 11 tokens.
    values, slopes = torch.zeros(4, 4), torch.zeros(4, 4)
    for i, j in mask.nonzero().tolist():
        ratio, a = (logprobs[i, j] - old[i, j]).exp().item(), advantages[i, j].item()
        lost = (a > 0 and ratio > 1.28) or (a < 0 and ratio < 0.8)
        r = (reference[i, j] - logprobs[i, j]).item()
        values[i, j] = -(1.28 if a > 0 else 0.8) * a if lost else -ratio * a
        values[i, j] += 0.3 * r * r / 2
        slopes[i, j] = (0.0 if lost else -ratio * a) - 0.3 * r
    assert sum(parts) == pytest.approx(values.sum().item() / 11, rel=1e-5)
    torch.testing.assert_close(torch.cat(gradients), slopes / 11, atol=1e-6, rtol=1e-5)
    expected = ((reference - logprobs) ** 2 / 2 * mask).sum().item() / 11
    assert sum(divergence) == pytest.approx(expected, rel=1e-5)
    means = [(values[rows].sum() / mask[rows].sum()).item() for rows in (slice(0, 1), slice(1, 2), slice(2, 4))]
    assert abs(sum(means) / 3 - sum(parts)) > 0.01, "a mean of means must differ, or this shows nothing"


def test_padding_has_neither_value_nor_gradient():
    logprobs, old, advantages, reference, mask = whole_batch()
    weights = token_weights(mask, "token", max_new_tokens=4)
    values = []
    for filler in (0.0, 7.0):
        filled = torch.where(mask.bool(), logprobs, filler).requires_grad_()
        loss, _ = grpo.loss(scores(filled, old, advantages, weights, reference), Settings(beta=0.1))
        loss.backward()
        assert filled.grad is not None
        assert torch.equal(filled.grad[~mask.bool()], torch.zeros(5))
        values.append(loss.item())
    assert values[0] == values[1]
