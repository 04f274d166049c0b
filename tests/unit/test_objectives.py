"""What summed losses share, and how their metrics are told apart."""

from contextlib import nullcontext
from dataclasses import dataclass, fields
from types import SimpleNamespace

import pytest
import torch

from antiphon.algorithms.inputs import MERGE, Needs, asked_for
from antiphon.errors import ConfigError
from antiphon.train.auxiliary import Auxiliary, auxiliary_sum
from antiphon.train.objectives import Objective, combined_needs, joint_advantages, load_objectives, metric_prefixes


def objective(needs: Needs, name: str = "loss", weight: float = 1.0) -> Objective:
    module = SimpleNamespace(needs=lambda settings: needs)
    return Objective(name, module, SimpleNamespace(weight=weight))  # type: ignore[arg-type]


def combined(*needs: Needs) -> Needs:
    return combined_needs([objective(one) for one in needs])


def test_a_sum_needs_what_any_loss_needs():
    one = Needs(rewards=False, reference=True, dynamic_sampling=2, mean_over="aligned", teacher="logprobs")
    other = Needs(rewards=True, entropy=True, dynamic_sampling=5, teacher="distributions")
    together = combined(one, other, Needs(rewards=False))
    assert together == Needs(
        rewards=True,
        reference=True,
        entropy=True,
        dynamic_sampling=5,
        teacher="distributions",
        mean_over=together.mean_over,
    )
    assert combined(one) == one


def test_every_field_says_how_losses_share_it():
    assert all(callable(field.metadata[MERGE]) for field in fields(Needs))


def test_a_field_that_does_not_say_it_is_refused():
    @dataclass(frozen=True)
    class More(Needs):
        critic: bool = False

    with pytest.raises(TypeError, match=r"Needs\.critic does not say how summed losses share it"):
        combined(More(), More())


def test_losses_of_different_completions_are_refused():
    with pytest.raises(ConfigError, match=r"grpo and sft, which learn from different completions \(labels, sa"):
        combined_needs(load_objectives([{"name": "grpo"}, {"name": "sft"}]))


def test_metrics_are_named_by_place():
    assert metric_prefixes([objective(Needs(), "opd")]) == [""]
    named = [objective(Needs(), name) for name in ("opd", "grpo", "opd", "opd_2", "opd")]
    assert metric_prefixes(named) == ["opd/", "grpo/", "opd_2/", "opd_2_2/", "opd_3/"]


def test_joint_advantages_are_the_weighted_sum_and_those_of_one_loss_its_own():
    advantages = torch.tensor([[[2.0, -1.0]], [[0.0, 4.0]]])
    both = [objective(Needs(), weight=weight) for weight in (0.5, 2.0)]
    assert joint_advantages(both, advantages).tolist() == [[-1.0], [8.0]]
    assert torch.equal(joint_advantages(both[:1], advantages[..., :1]), advantages[..., 0])


def test_auxiliary_losses_are_averaged_over_what_every_loss_counts():
    """Two losses, one of the first row and one of both: the mean of their means, the second's weighing three times."""
    weights = torch.tensor([[[1.0, 0.5]], [[0.0, 0.5]]])
    both = [objective(Needs(), weight=weight) for weight in (0.5, 1.5)]
    scales = [one.sum() for one in weights.unbind(-1)]
    one = Auxiliary("ctc", 0.1, lambda: nullcontext(), lambda batch, prefix: torch.zeros(2))
    added, metrics = auxiliary_sum([one], [torch.tensor([2.0, 6.0])], weights, scales, both)
    assert metrics["ctc"].item() == pytest.approx(0.25 * 2 + 0.75 * 4)
    assert added.item() == pytest.approx(0.1 * 3.5)
    alone, metrics = auxiliary_sum([one], [torch.tensor([2.0, 6.0])], weights[..., 1:], scales[1:], both[1:])
    assert (alone.item(), metrics["ctc"].item()) == (pytest.approx(0.4), 4.0)


def test_a_tensor_that_needs_did_not_ask_for_is_named():
    with pytest.raises(ValueError, match=r"reads 'greedy_rewards', .* `needs` do not ask for it"):
        asked_for(None, "greedy_rewards")
