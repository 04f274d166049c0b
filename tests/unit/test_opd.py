"""On-policy distillation: values worked by hand, gradients against autograd of the written formulas in float64."""

from math import log

import pytest
import torch

from antiphon.algorithms import grpo, opd
from antiphon.algorithms.inputs import Scores
from antiphon.errors import ConfigError
from antiphon.train.objectives import load_objectives

STUDENT = torch.tensor([[1 / 2, 1 / 4, 1 / 8, 1 / 8]], dtype=torch.float64)
TEACHER = torch.tensor([[1 / 8, 1 / 8, 1 / 4, 1 / 2]], dtype=torch.float64)
LOSSES = ("forward_kl", "reverse_kl", "js")


def by_hand(loss: str) -> tuple[float, float]:
    """Over the whole vocabulary, and on {first, last} with the two others (3/8 of each side) as one event."""
    if loss != "js":
        return {"forward_kl": (0.875 * log(2), 0.75 * log(2)), "reverse_kl": (0.875 * log(2), 0.75 * log(2))}[loss]
    halves = [(1 / 2, 1 / 8), (1 / 8, 1 / 2)]
    inner = [(1 / 4, 1 / 8), (1 / 8, 1 / 4)]
    share = lambda pairs: sum(0.5 * (p * log(2 * p / (p + q)) + q * log(2 * q / (p + q))) for p, q in pairs)  # noqa: E731
    return share(halves + inner), share(halves)


def logits(*shape: int, seed: int) -> torch.Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def written(loss: str, p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """The definitions in probabilities [m, K] of student and teacher."""
    mean = (p + q) / 2
    kl = lambda a, b: (a * (a / b).log()).sum(-1)  # noqa: E731
    return {"forward_kl": kl(q, p), "reverse_kl": kl(p, q), "js": (kl(q, mean) + kl(p, mean)) / 2}[loss]


def lumped(p: torch.Tensor, q: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Row by row: the union of both top-k sets, and one event for the rest."""
    rows = []
    for mine, theirs in zip(p, q, strict=True):
        support = sorted({*mine.topk(k).indices.tolist(), *theirs.topk(k).indices.tolist()})
        rest = [i for i in range(len(mine)) if i not in support]
        empty = mine.new_zeros(len(mine) - len(support))
        rows.append([torch.cat([one[support], one[rest].sum()[None], empty]) for one in (mine, theirs)])
    mine, theirs = (torch.stack([row[side] for row in rows]) for side in (0, 1))
    return mine.clamp(min=1e-40), theirs.clamp(min=1e-40)


@pytest.mark.parametrize("loss", LOSSES)
def test_values_by_hand(loss):
    full, lumped_value = by_hand(loss)
    whole = opd.divergence(STUDENT.log(), TEACHER.log(), opd.Settings(loss=loss, top_k=None))
    top = opd.divergence(STUDENT.log(), TEACHER.log(), opd.Settings(loss=loss, top_k=1))
    assert whole.tolist() == [[pytest.approx(full), 4]]
    assert top.tolist() == [[pytest.approx(lumped_value), 2]]


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("top_k", [1, 3, 7, None])
@pytest.mark.parametrize("loss", LOSSES)
def test_values_and_gradients_are_those_of_the_written_formula(loss, top_k, temperature):
    given, teacher = logits(6, 7, seed=0).requires_grad_(), logits(6, 7, seed=1)
    settings = opd.Settings(loss=loss, top_k=top_k, temperature=temperature)
    ours = opd.divergence(given.log_softmax(-1), teacher.log_softmax(-1), settings)[:, 0]
    (gradient,) = torch.autograd.grad(ours.sum(), given)

    p, q = ((side / temperature).softmax(-1) for side in (given, teacher))
    expected = written(loss, *(lumped(p, q, top_k) if top_k else (p, q))) * temperature**2
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected.sum(), given)[0])


@pytest.mark.parametrize("loss", LOSSES)
def test_a_small_tail_is_exact_in_fp32(loss):
    """The student leaves 4e-9 to the tail: one minus the sum of the others would be 0, or noise."""
    given = torch.tensor([[20.0, 0.5, 0.0, -0.5]])
    teacher = torch.tensor([[0.0, 1.0, 2.0, 1.0]])
    settings = opd.Settings(loss=loss, top_k=1)

    def gradient(dtype: torch.dtype) -> torch.Tensor:
        student = given.to(dtype).requires_grad_()
        value = opd.divergence(student.log_softmax(-1), teacher.to(dtype).log_softmax(-1), settings)[0, 0]
        return torch.autograd.grad(value, student)[0]

    torch.testing.assert_close(gradient(torch.float32).double(), gradient(torch.float64), rtol=1e-4, atol=5e-7)


@pytest.mark.parametrize("loss", LOSSES)
def test_top_k_bounds_the_whole_from_below_and_reaches_it(loss):
    student, teacher = (logits(5, 9, seed=seed).log_softmax(-1) for seed in (2, 3))
    whole = opd.divergence(student, teacher, opd.Settings(loss=loss, top_k=None))[:, 0]
    values = [opd.divergence(student, teacher, opd.Settings(loss=loss, top_k=k))[:, 0] for k in range(1, 10)]
    assert all((value <= whole + 1e-12).all() for value in values)
    torch.testing.assert_close(values[-1], whole)


@pytest.mark.parametrize("top_k", [2, None])
@pytest.mark.parametrize("loss", LOSSES)
def test_tokens_blocked_on_both_sides_do_not_count(loss, top_k):
    given, teacher = logits(4, 6, seed=4), logits(4, 6, seed=5)
    blocked = torch.tensor([False, True, False, False, True, False])
    settings = opd.Settings(loss=loss, top_k=top_k)

    def value(columns: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        leaf = given.clone().requires_grad_()
        sides = [leaf[:, columns] if columns is not None else leaf.masked_fill(blocked, -torch.inf)]
        sides.append(teacher[:, columns] if columns is not None else teacher.masked_fill(blocked, -torch.inf))
        result = opd.divergence(*(side.log_softmax(-1) for side in sides), settings)
        return result, torch.autograd.grad(result[:, 0].sum(), leaf)[0]

    for ours, expected in zip(value(None), value(~blocked), strict=True):
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_token_that_one_side_alone_rules_out_costs_a_finite_amount(loss):
    student = torch.tensor([[0.0, 0.0, -torch.inf]]).log_softmax(-1).requires_grad_()
    teacher = torch.tensor([[0.0, -torch.inf, 0.0]]).log_softmax(-1)
    for top_k in (2, 3, None):  # either's best token alone may be the one that both allow
        value = opd.divergence(student, teacher, opd.Settings(loss=loss, top_k=top_k))[0, 0]
        (gradient,) = torch.autograd.grad(value, student)
        assert value.isfinite()
        assert value > 0
        assert gradient.isfinite().all()


@pytest.mark.parametrize("loss", LOSSES)
def test_a_teacher_that_tells_its_top_alone_is_compared_on_that(loss):
    """Two of seven tokens told, a third place padded with a repeated id: all else is one event of each side."""
    given, teacher = logits(3, 7, seed=6).requires_grad_(), logits(3, 7, seed=7).log_softmax(-1)
    values, ids = teacher.topk(2)
    padded_ids = torch.cat([ids, ids[:, :1]], -1)
    padded = torch.cat([values, torch.full((3, 1), -torch.inf)], -1)
    ours = opd.divergence_from_top(given.log_softmax(-1), padded_ids, padded, opd.Settings(loss=loss))
    (gradient,) = torch.autograd.grad(ours[:, 0].sum(), given)

    p, q = given.softmax(-1), teacher.exp()
    rest = torch.ones_like(p).scatter(-1, ids, 0.0)
    p, q = (torch.cat([side.gather(-1, ids), (side * rest).sum(-1, keepdim=True)], -1) for side in (p, q))
    torch.testing.assert_close(ours[:, 0], written(loss, p, q))
    assert ours[:, 1].tolist() == [2, 2, 2]
    torch.testing.assert_close(gradient, torch.autograd.grad(written(loss, p, q).sum(), given)[0])


def scores(logprobs: torch.Tensor, old: torch.Tensor, teacher: torch.Tensor, weights: torch.Tensor) -> Scores:
    return Scores(
        logprobs=logprobs,
        old_logprobs=old,
        engine_logprobs=old,
        advantages=torch.tensor([[1.0, 1.0], [-1.0, 0.0]]),
        weights=weights,
        group_size=2,
        first=torch.tensor([True, True]),
        teacher_logprobs=teacher,
    )


OLD = torch.tensor([[-1.0, -2.0], [-0.5, 0.0]])
OPINION = torch.tensor([[-1.5, -0.5], [-2.5, 0.0]])
MEAN = torch.tensor([[1 / 3, 1 / 3], [1 / 3, 0.0]])


def test_sampled_reverse_kl_by_hand():
    """Disagreements 0.5, −1.5 and 2 over three tokens, the last of four padding; its gradient is each over three."""
    own = OLD.clone().requires_grad_()
    total, metrics = opd.loss(scores(own, OLD, OPINION, MEAN), opd.Settings(loss="sampled"))
    (gradient,) = torch.autograd.grad(total, own)
    assert total.item() == pytest.approx((0.5 - 1.5 + 2.0) / 3)
    assert metrics["divergence"].item() == pytest.approx((0.5 - 1.5 + 2.0) / 3)
    torch.testing.assert_close(gradient, torch.tensor([[0.5, -1.5], [2.0, 0.0]]) / 3)


def test_the_mean_gradient_of_sampled_is_that_of_the_reverse_kl():
    student, teacher = logits(1, 4, seed=8).requires_grad_(), logits(1, 4, seed=9).log_softmax(-1)
    exact = opd.divergence(student.log_softmax(-1), teacher, opd.Settings(loss="reverse_kl", top_k=None))[0, 0]
    (expected,) = torch.autograd.grad(exact, student)
    own = student.log_softmax(-1).T  # each token sampled once, weighted by its probability
    given = Scores(own, own.detach(), own.detach(), own, own.detach().exp(), 4, torch.ones(4), None, teacher.T)
    total, _ = opd.loss(given, opd.Settings(loss="sampled"))
    torch.testing.assert_close(torch.autograd.grad(total, student)[0], expected)
    torch.testing.assert_close(total.detach(), exact.detach())


def test_the_teachers_log_ratio_is_added_to_the_advantages():
    """A + ½ (log p_teacher − log p_student) on policy: 0.75, 1.75 and −2, and −1/3 of each is the gradient."""
    own = OLD.clone().requires_grad_()
    settings = grpo.Settings(teacher_coefficient=0.5)
    total, _ = grpo.loss(scores(own, OLD, OPINION, MEAN), settings)
    (gradient,) = torch.autograd.grad(total, own)
    torch.testing.assert_close(gradient, -torch.tensor([[0.75, 1.75], [-2.0, 0.0]]) / 3)


def test_summed_losses_are_weighted():
    own = OLD.clone().requires_grad_()
    given = scores(own, OLD, OPINION, MEAN)
    listed = load_objectives([{"name": "grpo"}, {"name": "opd", "loss": "sampled", "weight": 0.5}])
    (together,) = torch.autograd.grad(sum(one.loss(given)[0] for one in listed), own)
    torch.testing.assert_close(together, torch.tensor([[-1.0 + 0.25, -1.0 - 0.75], [1.0 + 1.0, 0.0]]) / 3)


def test_sampled_has_no_temperature():
    with pytest.raises(ConfigError, match="'temperature' softens distributions"):
        load_objectives({"name": "opd", "loss": "sampled", "temperature": 2.0})
