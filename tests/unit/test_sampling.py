"""Drawing tokens, the uniforms they are drawn with, and their log-probabilities in chunks."""

from math import inf, log

import numpy as np
import pytest
import torch
from torch import nn

from antiphon.errors import ModelError
from antiphon.models import logits
from antiphon.models.draw import inverse_cdf_sample
from antiphon.models.logits import Predictions, log_softmax
from antiphon.models.policy import uniforms_for

LARGEST = 1 - 2**-53
"""The largest number that numpy's generators return."""


def draw(probabilities: list[float], uniforms: list[float]) -> list[int]:
    logprobs = torch.tensor(probabilities).log().expand(len(uniforms), -1)
    return inverse_cdf_sample(logprobs, torch.tensor(uniforms, dtype=torch.float64)).tolist()


def test_a_token_is_taken_where_the_cumulative_probability_first_exceeds_the_uniform():
    # Cumulative 0.25, 0.5, 1: exact in binary, so that the borders belong to the next token.
    assert draw([0.25, 0.25, 0.5], [0.0, 0.2499, 0.25, 0.4999, 0.5, 0.99]) == [0, 0, 1, 1, 2, 2]


def test_frequencies_are_the_probabilities():
    grid = [(i + 0.5) / 1000 for i in range(1000)]
    assert np.bincount(draw([0.1, 0.2, 0.3, 0.4], grid)).tolist() == [100, 200, 300, 400]


def test_each_row_is_drawn_from_its_own_distribution():
    logprobs = torch.tensor([[0.9, 0.1], [0.1, 0.9]]).log()
    assert inverse_cdf_sample(logprobs, torch.tensor([0.5, 0.5])).tolist() == [0, 1]


@pytest.mark.parametrize("uniform", [0.0, 0.3, 0.5, 0.7, LARGEST])
def test_a_token_of_probability_zero_is_never_taken(uniform: float):
    assert draw([0.0, 0.0, 0.5, 0.0, 0.5, 0.0, 0.0], [uniform])[0] in (2, 4)


def test_probabilities_that_rounding_left_short_of_one_still_sum_up():
    # fp32 log-softmax over many tokens is off by some 1e-7; the last token with mass takes what is missing.
    logprobs = torch.tensor([[0.5, 0.4999, 0.0]]).log()
    assert inverse_cdf_sample(logprobs, torch.tensor([LARGEST], dtype=torch.float64)).tolist() == [1]


def test_the_tail_of_a_large_vocabulary_is_reached():
    # Each tail token has 0.001 / 150000 = 6.7e-9, less than half a step of fp32 near one.
    size, share = 150_000, 1e-3
    probabilities = torch.full((size + 1,), share / size, dtype=torch.float64)
    probabilities[0] = 1 - share
    wanted = torch.tensor([0, 1, 74_999, 149_998])
    uniforms = 1 - share + share * (wanted.double() + 0.5) / size
    drawn = inverse_cdf_sample(probabilities.log().expand(4, -1), uniforms)
    assert drawn.tolist() == (wanted + 1).tolist()


def test_uniforms_depend_on_the_sample_alone_and_not_on_its_company():
    together = uniforms_for(0, 3, "utterance", range(4), 6)
    assert together.shape == (4, 6)
    for sample in (3, 0, 2, 1):
        assert np.array_equal(uniforms_for(0, 3, "utterance", range(sample, sample + 1), 6)[0], together[sample])
    assert np.array_equal(uniforms_for(0, 3, "utterance", range(4), 2), together[:, :2])


def test_uniforms_are_the_same_in_every_process_and_release():
    # Philox4x64-10 of the paper, worked out apart from numpy: the key is BLAKE2b-128 of "7/3/utterance/2", the
    # counter starts at 1, each word's upper 53 bits are the fraction. A resumed run must draw the same again.
    drawn = uniforms_for(7, 3, "utterance", range(2, 3), 4)[0].tolist()
    assert drawn == [0.3185574830333868, 0.5000734455763772, 0.7085792346646873, 0.5418897648717199]


def test_uniforms_differ_by_seed_step_example_and_sample():
    keys = [(0, 0, "a", 0), (1, 0, "a", 0), (0, 1, "a", 0), (0, 0, "b", 0), (0, 0, "a", 1), (0, 0, "0/a", 0)]
    rows = [tuple(uniforms_for(seed, step, name, range(i, i + 1), 8)[0]) for seed, step, name, i in keys]
    assert len(set(rows)) == len(keys)


def test_uniforms_are_uniform():
    # The mean of 20000 draws has a deviation of 0.289 / sqrt(20000) = 0.002; tenths have 0.0021.
    values = uniforms_for(0, 0, "utterance", range(200), 100).ravel()
    assert values.min() >= 0
    assert values.max() < 1
    assert abs(values.mean() - 0.5) < 0.01
    shares = np.bincount((values * 10).astype(int), minlength=10) / len(values)
    assert np.abs(shares - 0.1).max() < 0.01


def identity_head(size: int) -> nn.Linear:
    head = nn.Linear(size, size, bias=False)
    nn.init.eye_(head.weight)
    return head


def test_log_softmax_leaves_blocked_tokens_out_and_divides_by_the_temperature():
    hidden = torch.tensor([[0.5, 0.3, 0.2]]).log()
    # Without token 0: 0.3 and 0.2 of 0.5.
    blocked = torch.tensor([True, False, False])
    assert log_softmax(identity_head(3), hidden, blocked, 1.0)[0].tolist() == pytest.approx([-inf, log(0.6), log(0.4)])
    # At temperature 1/2 probabilities are squared: 9 and 4 of 13.
    assert log_softmax(identity_head(3), hidden, blocked, 0.5)[0].tolist() == pytest.approx(
        [-inf, log(9 / 13), log(4 / 13)]
    )


def test_log_probabilities_are_fp32_even_of_a_bf16_model():
    head = identity_head(4).to(torch.bfloat16)
    scores = log_softmax(head, torch.randn(2, 4, dtype=torch.bfloat16), torch.zeros(4, dtype=torch.bool), 0.7)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores.exp().sum(-1), torch.ones(2))


BLOCKED = torch.tensor([[True] + [False] * 6, [True, True] + [False] * 5])


def predictions(head: nn.Module, hidden: torch.Tensor, temperature: float = 0.8) -> Predictions:
    """Of ten tokens, of which the first and the sixth open their completions."""
    first = torch.zeros(10, dtype=torch.long)
    first[[0, 5]] = 1
    return Predictions(head, hidden, first, BLOCKED, temperature)


@pytest.fixture
def hidden() -> torch.Tensor:
    return torch.randn(10, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def heads() -> tuple[nn.Linear, nn.Linear]:
    torch.manual_seed(1)
    return nn.Linear(4, 7), nn.Linear(4, 7)


TARGETS = torch.tensor([2, 1, 2, 3, 4, 5, 6, 1, 2, 3])


def test_first_positions_have_their_own_blocked_tokens(heads, hidden):
    scores = predictions(heads[0], hidden).map(lambda logprobs: logprobs)
    assert scores[:, 0].isneginf().all()
    assert scores[:, 1].isneginf().tolist() == [True, *[False] * 4, True, *[False] * 4]
    expected = (heads[0](hidden) / 0.8)[1:5, 1:].log_softmax(-1)
    torch.testing.assert_close(scores[1:5, 1:], expected)


@pytest.mark.parametrize(("elements", "largest"), [(7 * 3, 3), (7 * 10, 10), (1, 1)])
def test_chunks_change_neither_values_nor_gradients(monkeypatch, heads, hidden, elements: int, largest: int):
    weights = torch.randn(10, generator=torch.Generator().manual_seed(2))
    rows_at_once: list[int] = []
    heads[0].register_forward_hook(lambda _module, _inputs, output: rows_at_once.append(len(output)))

    def values_and_gradients() -> tuple[torch.Tensor, ...]:
        inputs = hidden.clone().requires_grad_()
        values = predictions(heads[0], inputs).tokens(TARGETS)
        gradients = torch.autograd.grad((values * weights).sum(), [inputs, *heads[0].parameters()])
        return values.detach(), *gradients

    whole = values_and_gradients()
    assert rows_at_once == [10]
    rows_at_once.clear()
    monkeypatch.setattr(logits, "CHUNK_ELEMENTS", elements)
    for one, other in zip(whole, values_and_gradients(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
    assert max(rows_at_once) == largest


@pytest.mark.parametrize("elements", [1 << 20, 14 * 3])
def test_a_divergence_from_another_model_sees_the_same_rows_of_both(monkeypatch, heads, hidden, elements: int):
    """KL(teacher ‖ student) over the whole vocabulary, weighted row by row; the teacher learns nothing."""
    monkeypatch.setattr(logits, "CHUNK_ELEMENTS", elements)
    student, teacher = heads
    allowed, weights = ~BLOCKED[predictions(student, hidden).first], torch.arange(10.0)

    def divergence(own, others, scale):
        return (others.exp() * (others - own).nan_to_num(0.0)).sum(-1) * scale

    inputs = hidden.clone().requires_grad_()
    ours = predictions(student, inputs).map(divergence, weights, beside=predictions(teacher, hidden + 1, 1.0))
    expected = []
    for row in range(10):
        own = (student(inputs[row]) / 0.8)[allowed[row]].log_softmax(-1)
        other = teacher(hidden[row] + 1)[allowed[row]].log_softmax(-1)
        expected.append(nn.functional.kl_div(own, other.detach(), reduction="sum", log_target=True) * weights[row])
    torch.testing.assert_close(ours, torch.stack(expected))
    learners = [inputs, student.weight, teacher.weight]
    own, others = (torch.autograd.grad(one.sum(), learners, allow_unused=True) for one in (ours, torch.stack(expected)))
    torch.testing.assert_close(own[:2], others[:2])
    assert own[2] is None


@pytest.mark.parametrize("elements", [1 << 20, 7 * 3])
def test_the_most_probable_tokens_come_first_and_carry_gradients(monkeypatch, heads, hidden, elements: int):
    monkeypatch.setattr(logits, "CHUNK_ELEMENTS", elements)
    every = predictions(heads[0], hidden).map(lambda logprobs: logprobs)
    values, ids = predictions(heads[0], hidden).top(3)
    torch.testing.assert_close(values, every.gather(-1, ids))
    assert (values.diff() <= 0).all()
    rest = every.scatter(-1, ids, -inf)
    assert (rest.amax(-1) <= values[:, -1]).all()
    assert torch.autograd.grad(values.sum(), heads[0].weight)[0].abs().max() > 0


def test_more_most_probable_tokens_than_the_vocabulary_has_are_refused(heads, hidden):
    assert predictions(heads[0], hidden).top(7)[0].shape == (10, 7)
    with pytest.raises(ModelError, match="8 most probable tokens of a vocabulary of 7"):
        predictions(heads[0], hidden).top(8)


def test_rows_that_do_not_belong_together_are_refused(heads, hidden):
    with pytest.raises(ValueError, match="must have 10 rows"):
        predictions(heads[0], hidden).tokens(TARGETS[:9])


def test_chunks_need_no_gradient_and_no_rows(monkeypatch, heads, hidden):
    with torch.no_grad():
        whole = predictions(heads[0], hidden).tokens(TARGETS)
        monkeypatch.setattr(logits, "CHUNK_ELEMENTS", 14)
        torch.testing.assert_close(predictions(heads[0], hidden).tokens(TARGETS), whole)
        none = Predictions(heads[0], hidden[:0], TARGETS[:0], BLOCKED)
        assert none.tokens(TARGETS[:0]).shape == (0,)
