"""MWER by hand and against the paper's formula: renormalized posterior, merged duplicates, dropped completions."""

from math import log

import pytest
import torch
from loss_inputs import double, leaf, learned, outcomes, scores
from torch import Tensor

from antiphon.algorithms import mwer
from antiphon.algorithms.terms import token_weights

SETTINGS = mwer.Settings()


def minibatch(logprobs: Tensor, mask: Tensor, rewards: list[list[float]], first: list[bool], valid=None):
    """Whole groups as the trainer hands them to the loss."""
    flat, shape = torch.tensor(first), (len(rewards), len(rewards[0]))
    valid = torch.ones(shape, dtype=torch.bool) if valid is None else torch.tensor(valid)
    given = mwer.advantages(outcomes(rewards, first=flat.view(shape), valid=valid), SETTINGS).double()
    weights = token_weights(mask * valid.view(-1, 1), "sequence", 8).double()
    return scores(logprobs, advantages=given.view(-1, 1) * mask, weights=weights, group_size=shape[1], first=flat)


# p = 0.4, 0.1 and the first one again: p̂ = 0.8, 0.2. Rewards −1, 0 have the mean −1/2, so the advantages are −1/2 and
# 1/2, E = −0.8/2 + 0.2/2 = −0.3; the loss is −E, and its slope in log p_i is −p̂_i (A_i − E).
def test_duplicates_are_merged_in_value_and_gradient():
    given = minibatch(
        leaf([[log(0.4)], [log(0.1)], [log(0.4)]]), torch.ones(3, 1), [[-1.0, 0.0, -1.0]], [True, True, False]
    )
    loss, gradient, metrics = learned(mwer, SETTINGS, given)
    assert loss == pytest.approx(0.3, abs=1e-6)
    assert gradient.flatten().tolist() == pytest.approx([0.8 * 0.2, -0.2 * 0.8, 0.0], abs=1e-6)
    assert metrics["distinct_share"] == pytest.approx(2 / 3)


def test_a_dropped_hypothesis_has_no_part_in_the_posterior():
    two = minibatch(leaf([[log(0.4)], [log(0.1)]]), torch.ones(2, 1), [[-1.0, 0.0]], [True, True])
    three = minibatch(
        leaf([[log(0.4)], [log(0.1)], [log(0.3)]]),
        torch.ones(3, 1),
        [[-1.0, 0.0, 99.0]],
        [True, True, True],
        [[True, True, False]],
    )
    without, gradient, _ = learned(mwer, SETTINGS, two)
    loss, slopes, _ = learned(mwer, SETTINGS, three)
    assert loss == pytest.approx(without, abs=1e-6)
    assert slopes.flatten().tolist() == pytest.approx([*gradient.flatten().tolist(), 0.0], abs=1e-6)


def test_it_is_the_papers_formula():
    """Eqs. 3 to 5: Σ p̂_i (W_i − mean W) by prompt, over sequences of several tokens, with minus the edits as reward."""
    generator = torch.Generator().manual_seed(0)
    edits = double([[2.0, 0.0, 5.0], [1.0, 1.0, 4.0]])
    mask = (torch.arange(4) < torch.tensor([[1], [2], [4], [3], [3], [2]])).double()
    values = -torch.rand(6, 4, generator=generator, dtype=torch.float64) * mask

    own = leaf(values)
    posterior = (own * mask).sum(-1).view(2, 3).softmax(-1)
    expected = (posterior * (edits - edits.mean(-1, keepdim=True))).sum(-1).mean()
    (slope,) = torch.autograd.grad(expected, own)

    given = minibatch(leaf(values), mask, (-edits).tolist(), [True] * 6)
    loss, gradient, _ = learned(mwer, SETTINGS, given)
    assert loss == pytest.approx(expected.item(), abs=1e-6)
    torch.testing.assert_close(gradient, slope, atol=1e-6, rtol=1e-5)


# All three labels of a classifier: p = (1/2, 1/4, 1/4) sums to 1, so the loss is mean(r) − E[r] = 1/3 − 1/4.
def test_over_every_label_it_is_the_expected_reward():
    logits = double([0.5, 0.25, 0.25]).log().requires_grad_()
    logprobs = logits.log_softmax(-1).view(3, 1)
    given = minibatch(logprobs, torch.ones(3, 1), [[0.0, 1.0, 0.0]], [True] * 3)
    loss, _ = mwer.loss(given, SETTINGS)
    loss.backward()
    assert loss.item() == pytest.approx(1 / 3 - 1 / 4, abs=1e-6)
    # −dE[r]/dz_i = −p_i (r_i − E[r]).
    assert logits.grad is not None
    assert logits.grad.tolist() == pytest.approx([0.5 * 0.25, -0.25 * 0.75, 0.25 * 0.25], abs=1e-6)
    assert mwer.needs(mwer.Settings(hypotheses="all")).source == "all"


def test_a_group_of_which_nothing_counts_is_finite_and_silent():
    given = minibatch(leaf([[-1.0], [-2.0]]), torch.ones(2, 1), [[-1.0, 0.0]], [True, True], [[False, False]])
    loss, gradient, _ = learned(mwer, SETTINGS, given)
    assert loss == 0
    assert not gradient.any()
