"""What every algorithm module promises the trainer."""

import importlib
import pkgutil

import pytest
import torch

import antiphon.algorithms
from antiphon.algorithms.terms import token_weights

MODULES = [
    importlib.import_module(f"antiphon.algorithms.{module.name}")
    for module in pkgutil.iter_modules(antiphon.algorithms.__path__)
    if module.name != "terms"
]


@pytest.fixture(params=MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def algorithm(request):
    return request.param


def inputs(settings, rows=4, length=3):
    generator = torch.Generator().manual_seed(0)
    old = -torch.rand(rows, length, generator=generator)
    logprobs = (old + 0.1 * torch.randn(rows, length, generator=generator)).requires_grad_()
    advantages = torch.randn(rows, 1, generator=generator).expand(rows, length)
    mask = torch.ones(rows, length)
    mask[0, 2:] = 0
    weights = token_weights(mask, settings.normalisation, max_new_tokens=8)
    return logprobs, old, advantages, weights, -torch.rand(rows, length, generator=generator)


def test_defaults_need_no_argument(algorithm):
    assert algorithm.Settings() == algorithm.Settings.model_validate({})


def test_advantages_keep_the_shape_and_favour_the_better_answer(algorithm):
    rewards = torch.tensor([[0.0, -1.0, -0.5, -0.5], [-1.0, -1.0, -1.0, 0.0]])
    advantages = algorithm.advantages(rewards, algorithm.Settings())
    assert advantages.shape == rewards.shape
    assert advantages[0].argmax() == 0
    assert advantages[1].argmax() == 3


def test_loss_is_a_finite_scalar_whose_gradient_stays_off_the_padding(algorithm):
    settings = algorithm.Settings()
    logprobs, old, advantages, weights, reference = inputs(settings)
    loss, metrics = algorithm.loss(logprobs, old, advantages, weights, reference, settings)
    loss.backward()
    assert loss.shape == ()
    assert torch.isfinite(loss)
    assert logprobs.grad[0, 2] == 0
    assert logprobs.grad[1:].abs().min(-1).values.max() > 0
    assert all(value.shape == () and not value.requires_grad for value in metrics.values())


def test_micro_batches_add_up_to_the_whole_batch(algorithm):
    settings = algorithm.Settings()
    logprobs, old, advantages, weights, reference = inputs(settings)
    whole, _ = algorithm.loss(logprobs, old, advantages, weights, reference, settings)
    parts = [
        algorithm.loss(*(t[rows] for t in (logprobs, old, advantages, weights, reference)), settings)[0]
        for rows in (slice(0, 1), slice(1, 4))
    ]
    assert torch.allclose(whole, sum(parts), atol=1e-7)


def test_a_better_answer_is_made_more_probable(algorithm):
    settings = algorithm.Settings()
    _, old, _, weights, reference = inputs(settings)
    on_policy = old.clone().requires_grad_()
    advantages = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]]).expand(4, 3)
    loss, _ = algorithm.loss(on_policy, old, advantages, weights, reference, settings)
    loss.backward()
    assert (on_policy.grad[:2] <= 0).all()
    assert (on_policy.grad[2:] >= 0).all()
