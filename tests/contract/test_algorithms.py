"""What every algorithm module promises the trainer."""

from dataclasses import fields, replace

import pytest
import torch

from antiphon.algorithms.inputs import Outcomes, Scores
from antiphon.algorithms.policy_gradient import PolicyGradientSettings
from antiphon.algorithms.terms import counts, token_weights
from antiphon.train.objectives import ALGORITHM

GROUPS, SIZE, LENGTH = 3, 4, 5
ROWS = GROUPS * SIZE
EVERYTHING = {
    "beta": 0.1,
    "entropy_bonus": 0.1,
    "teacher_coefficient": 0.5,
    "correction": "truncate",
    "correction_level": "sequence",
    "dual_clip": 3.0,
}
"""Every term of a policy gradient at once."""


@pytest.fixture(params=ALGORITHM.names())
def algorithm(request):
    return ALGORITHM.load(request.param)


def cases():
    """Each algorithm with its defaults, and with every option of its loss."""
    for name in ALGORITHM.names():
        module = ALGORITHM.load(name)
        yield pytest.param(module, module.Settings(), id=name)
        if issubclass(module.Settings, PolicyGradientSettings):
            given = {k: v for k, v in EVERYTHING.items() if (name, k) != ("cispo", "dual_clip")}
            yield pytest.param(module, module.Settings(**given), id=f"{name} with every term")
    sampled = ALGORITHM.load("opd")
    yield pytest.param(sampled, sampled.Settings(loss="sampled"), id="opd of what was sampled")


with_options = pytest.mark.parametrize(("algorithm", "settings"), list(cases()))


def outcomes() -> Outcomes:
    rewards = torch.tensor([[0.0, -1.0, -0.5, -0.5], [-1.0, -1.0, -1.0, 0.0], [-0.2, -0.2, -0.2, -0.2]])
    everything = torch.ones_like(rewards, dtype=torch.bool)
    lengths = torch.tensor([[2, 5, 1, 3], [5, 4, 3, 2], [1, 1, 2, 2]])
    mask = (torch.arange(LENGTH) < lengths[..., None]).float()
    greedy = torch.tensor([-0.5, -1.0, -0.2])
    return Outcomes(rewards, everything, everything, lengths, 8, mask, greedy, torch.zeros(3, 4, LENGTH))


def by_action(given: torch.Tensor) -> torch.Tensor:
    """Advantages [P, G, A] from those, or from one of each completion."""
    return given if given.dim() == 3 else given[..., None].expand(GROUPS, SIZE, LENGTH)


def scores(settings, algorithm) -> tuple[Scores, torch.Tensor]:
    """A minibatch of three groups with every input an algorithm may ask for, and its mask."""
    generator = torch.Generator().manual_seed(0)

    def logprobs() -> torch.Tensor:
        return -torch.rand(ROWS, LENGTH, generator=generator)

    mask = (torch.arange(LENGTH) < outcomes().lengths.reshape(-1, 1)).float()
    old = logprobs() * mask
    own = ((old + 0.05 * torch.randn(ROWS, LENGTH, generator=generator)) * mask).requires_grad_()
    given = by_action(algorithm.advantages(outcomes(), settings)).view(ROWS, LENGTH) * mask
    return Scores(
        logprobs=own,
        old_logprobs=old,
        engine_logprobs=old - 0.01 * mask,
        advantages=given,
        weights=token_weights(mask, settings.normalization, max_new_tokens=8),
        group_size=SIZE,
        first=torch.ones(ROWS, dtype=torch.bool),
        reference_logprobs=logprobs() * mask,
        teacher_logprobs=logprobs() * mask,
        entropy=torch.rand(ROWS, LENGTH, generator=generator) * mask,
        divergence=own.square(),
        compared=mask,
    ), mask


def rows_of(given: Scores, rows) -> Scores:
    """These rows of every tensor; the leaf keeps collecting the gradient."""
    cut = {
        f.name: getattr(given, f.name)[rows] for f in fields(given) if isinstance(getattr(given, f.name), torch.Tensor)
    }
    return replace(given, **cut)


def gradient(algorithm, settings, given: Scores, pieces) -> tuple[float, torch.Tensor]:
    """The losses of `pieces` of the minibatch, summed, and the gradient in its log-probabilities."""
    given.logprobs.grad = None
    total = 0.0
    for piece in pieces:
        loss, _ = algorithm.loss(piece, settings)
        loss.backward(retain_graph=True)
        total += loss.item()
    assert given.logprobs.grad is not None
    return total, given.logprobs.grad.clone()


def test_defaults_need_no_argument(algorithm):
    settings = algorithm.Settings()
    assert settings == algorithm.Settings.model_validate({})
    assert algorithm.needs(settings).source in ("samples", "labels", "all")


def test_advantages_keep_the_shape_and_never_favor_the_worse_answer(algorithm):
    made = algorithm.advantages(outcomes(), algorithm.Settings())
    assert made.shape in ((GROUPS, SIZE), (GROUPS, SIZE, LENGTH))
    given = by_action(made)[..., 0]
    rewards = outcomes().rewards
    for row in (0, 1):
        better, worse = rewards[row].argmax(), rewards[row].argmin()
        assert given[row, better] >= given[row, worse]


def test_what_is_not_valid_counts_nowhere(algorithm):
    settings = algorithm.Settings()
    valid = torch.ones(GROUPS, SIZE, dtype=torch.bool)
    valid[0, 1] = False
    spoilt = outcomes().rewards.clone()
    spoilt[0, 1] = 100.0
    left_out = algorithm.advantages(replace(outcomes(), rewards=spoilt, valid=valid), settings)
    other = spoilt.clone()
    other[0, 1] = -100.0
    again = algorithm.advantages(replace(outcomes(), rewards=other, valid=valid), settings)
    assert torch.equal(left_out[valid], again[valid])


@with_options
def test_loss_is_a_finite_scalar_whose_gradient_stays_off_the_padding(algorithm, settings):
    given, mask = scores(settings, algorithm)
    loss, metrics = algorithm.loss(given, settings)
    loss.backward()
    assert loss.shape == ()
    assert torch.isfinite(loss)
    assert given.logprobs.grad is not None
    assert not given.logprobs.grad[mask == 0].any()
    assert given.logprobs.grad[mask == 1].any()
    assert all(value.shape == () and not value.requires_grad for value in metrics.values())


@with_options
def test_micro_batches_add_up_to_the_whole_batch(algorithm, settings):
    given, _ = scores(settings, algorithm)
    whole = gradient(algorithm, settings, given, [given])
    cuts = (slice(0, SIZE), slice(SIZE, None))
    parts = gradient(algorithm, settings, given, [rows_of(given, rows) for rows in cuts])
    assert parts[0] == pytest.approx(whole[0], abs=1e-6)
    torch.testing.assert_close(parts[1], whole[1])


@with_options
def test_shards_with_global_counts_add_up_to_the_whole_batch(algorithm, settings):
    given, mask = scores(settings, algorithm)
    whole = gradient(algorithm, settings, given, [given])
    shards = []
    for rows in (slice(0, SIZE), slice(SIZE, None)):
        weights = token_weights(mask[rows], settings.normalization, max_new_tokens=8, totals=counts(mask))
        shards.append(replace(rows_of(given, rows), weights=weights))
    apart = gradient(algorithm, settings, given, shards)
    assert apart[0] == pytest.approx(whole[0], abs=1e-6)
    torch.testing.assert_close(apart[1], whole[1])


@with_options
def test_the_order_of_groups_and_of_their_completions_does_not_matter(algorithm, settings):
    given, _ = scores(settings, algorithm)
    whole = gradient(algorithm, settings, given, [given])
    order = torch.tensor([8, 11, 10, 9, 3, 1, 0, 2, 4, 5, 7, 6])
    permuted = gradient(algorithm, settings, given, [rows_of(given, order)])
    assert permuted[0] == pytest.approx(whole[0], abs=1e-6)
    torch.testing.assert_close(permuted[1], whole[1])


@with_options
def test_further_padding_changes_nothing(algorithm, settings):
    given, _ = scores(settings, algorithm)
    whole = gradient(algorithm, settings, given, [given])
    wider = {
        f.name: torch.nn.functional.pad(getattr(given, f.name), (0, 2))
        for f in fields(given)
        if isinstance(getattr(given, f.name), torch.Tensor) and getattr(given, f.name).dim() == 2
    }
    padded = gradient(algorithm, settings, given, [replace(given, **wider)])
    assert padded[0] == pytest.approx(whole[0], abs=1e-6)
    torch.testing.assert_close(padded[1], whole[1])
