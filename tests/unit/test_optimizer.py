"""The optimizer by hand: the schedule, AdamW's first steps, fp32 masters of bf16 weights, clipping, resuming."""

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from antiphon.config.training import Optimizer
from antiphon.train.optimizer import MasterAdamW, schedule_factor

BETAS = (0.9, 0.95)


def parameter(*values: float, dtype: torch.dtype = torch.float32) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values, dtype=dtype))


def optimizer(lr: float = 1e-3, weight_decay: float = 0.0, **parameters: nn.Parameter) -> MasterAdamW:
    return MasterAdamW(parameters.items(), lr, BETAS, weight_decay)


def give_gradient(weight: nn.Parameter, *values: float) -> None:
    """Through a backward pass, as the trainer does."""
    (weight * torch.tensor(values, dtype=weight.dtype)).sum().backward()


def factor(step: int, steps: int, warmup: int, schedule: str, floor: float) -> float:
    settings = {"warmup_steps": warmup, "schedule": schedule, "min_lr_ratio": floor, "decay": 0.5}
    return schedule_factor(step, steps, Optimizer.model_validate(settings))


def test_warm_up_is_linear_and_reaches_one_on_its_last_step():
    assert [factor(s, 100, 4, "constant", 0.0) for s in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_constant_stays_at_one():
    assert [factor(s, 10, 0, "constant", 0.3) for s in (0, 5, 9, 50)] == [1.0] * 4


def test_cosine_falls_from_one_to_the_floor():
    # After 2 steps of warm-up, steps 2 to 10 are the phases 0, 1/8 ... 1 of half a turn;
    # cos(pi/4) = 0.7071 at step 4. With a floor f: f + (1 − f)(1 + cos) / 2.
    def factors(floor: float) -> list[float]:
        return [factor(s, 10, 2, "cosine", floor) for s in (0, 1, 2, 4, 6, 10, 11)]

    assert factors(0.0) == pytest.approx([0.5, 1.0, 1.0, 0.853553, 0.5, 0.0, 0.0], abs=1e-6)
    assert factors(0.2) == pytest.approx([0.5, 1.0, 1.0, 0.882843, 0.6, 0.2, 0.2], abs=1e-6)


def test_cosine_shorter_than_its_warm_up_has_no_division_by_zero():
    assert [factor(s, 2, 2, "cosine", 0.0) for s in range(3)] == [0.5, 1.0, 1.0]


def test_exponential_falls_by_its_decay_to_the_floor():
    assert [factor(s, 10, 1, "exponential", 0.2) for s in range(5)] == [1.0, 1.0, 0.5, 0.25, 0.2]


def test_the_first_step_is_the_learning_rate_against_the_gradients_sign():
    # Bias-corrected, m̂ = g and v̂ = g², so that the step is lr · g / |g| up to eps.
    weight = parameter(1.0, -2.0, 0.5)
    adam = optimizer(lr=0.01, w=weight)
    give_gradient(weight, 3.0, -0.2, 0.0)
    adam.step(1.0, max_norm=0)
    torch.testing.assert_close(weight.detach(), torch.tensor([0.99, -1.99, 0.5]))


def test_the_second_step_by_hand():
    # g = 1, then −1. m = 0.9·0.1 − 0.1 = −0.01, m̂ = −0.01 / (1 − 0.81) = −0.0526316; v̂ = 1 either way.
    weight = parameter(0.0)
    adam = optimizer(lr=0.1, w=weight)
    give_gradient(weight, 1.0)
    adam.step(1.0, max_norm=0)
    give_gradient(weight, -1.0)
    adam.step(1.0, max_norm=0)
    assert weight.item() == pytest.approx(-0.1 + 0.1 * 0.0526316, abs=1e-7)


def test_the_factor_scales_each_steps_rate_and_does_not_build_up():
    weight = parameter(0.0)
    adam = optimizer(lr=0.1, w=weight)
    for factor in (0.5, 0.5, 1.0):
        give_gradient(weight, 1.0)
        adam.step(factor, max_norm=0)
    assert weight.item() == pytest.approx(-0.1 * (0.5 + 0.5 + 1.0), abs=1e-6)


def test_weight_decay_is_decoupled():
    # Without a gradient to speak of the weight shrinks by lr · decay; the moments stay free of it.
    weight = parameter(2.0)
    adam = optimizer(lr=0.1, weight_decay=0.5, w=weight)
    give_gradient(weight, 0.0)
    adam.step(1.0, max_norm=0)
    assert weight.item() == pytest.approx(2.0 * (1 - 0.05), abs=1e-7)
    assert adam.state_tensors()["exp_avg.w"].item() == 0.0


def test_bf16_weights_move_by_steps_below_their_resolution():
    # bf16 has 8 significant bits: just below 1 the grid is 2⁻⁸ = 0.0039, so a step of 0.001 rounds back to 1.
    # Eight steps make 0.992, whose nearest bf16 is 1 − 2·2⁻⁸ = 0.9921875.
    weight, plain = parameter(1.0, dtype=torch.bfloat16), parameter(1.0, dtype=torch.bfloat16)
    adam = optimizer(lr=1e-3, w=weight)
    stuck = torch.optim.AdamW([plain], lr=1e-3, betas=BETAS, weight_decay=0.0)
    seen = []
    for _ in range(8):
        give_gradient(weight, 1.0)
        adam.step(1.0, max_norm=0)
        seen.append(weight.item())
        give_gradient(plain, 1.0)
        stuck.step()
        stuck.zero_grad()
    assert plain.item() == 1.0
    assert weight.dtype == torch.bfloat16
    assert seen[0] == 1.0
    assert seen[-1] == 0.9921875
    assert adam.state_tensors()["master.w"].item() == pytest.approx(0.992, abs=1e-6)


def test_fp32_weights_are_their_own_masters():
    weight = parameter(1.0)
    adam = optimizer(w=weight)
    assert adam.masters["w"] is weight
    assert "master.w" not in adam.state_tensors()


def test_gradients_of_bf16_weights_are_summed_in_fp32():
    # 1 + 2⁻⁹ is not a bf16 number (its neighbors are 1 and 1 + 2⁻⁷), so a bf16 sum would stay at 1.
    weight = parameter(1.0, dtype=torch.bfloat16)
    adam = optimizer(w=weight)
    for gradient in (1.0, 2**-9, 2**-9):
        give_gradient(weight, gradient)
        assert weight.grad is None
    assert adam.step(1.0, max_norm=0) == 1 + 2**-8


def test_gradients_do_not_outlive_their_step():
    half, full = parameter(1.0, dtype=torch.bfloat16), parameter(1.0)
    adam = optimizer(half=half, full=full)
    norms = []
    for _ in range(2):
        give_gradient(half, 3.0)
        give_gradient(full, 4.0)
        norms.append(adam.step(1.0, max_norm=0))
    assert norms == [5.0, 5.0]


def test_the_norm_is_global_reported_before_clipping_and_clipped_to_its_limit():
    # (3, 4) has norm 5. Clipped to 1 it is (0.6, 0.8), and exp_avg = (1 − 0.9) · gradient.
    half, full = parameter(1.0, dtype=torch.bfloat16), parameter(1.0)
    adam = optimizer(half=half, full=full)
    give_gradient(half, 3.0)
    give_gradient(full, 4.0)
    assert adam.step(1.0, max_norm=1.0) == 5.0
    state = adam.state_tensors()
    assert state["exp_avg.half"].item() == pytest.approx(0.06, rel=1e-5)
    assert state["exp_avg.full"].item() == pytest.approx(0.08, rel=1e-5)


@pytest.mark.parametrize("max_norm", [0.0, 6.0])
def test_gradients_within_the_limit_or_without_one_are_left_alone(max_norm: float):
    weight = parameter(1.0, 1.0)
    adam = optimizer(w=weight)
    give_gradient(weight, 3.0, 4.0)
    adam.step(1.0, max_norm)
    torch.testing.assert_close(adam.state_tensors()["exp_avg.w"], torch.tensor([0.3, 0.4]))


def test_frozen_parameters_are_left_alone():
    weight, frozen = parameter(1.0), parameter(1.0)
    frozen.requires_grad_(False)
    adam = optimizer(lr=0.1, weight_decay=0.5, w=weight, frozen=frozen)
    give_gradient(weight, 1.0)
    adam.step(1.0, max_norm=0)
    assert frozen.item() == 1.0
    assert not any(name.endswith(".frozen") for name in adam.state_tensors())


def mixed_weights(seed: int) -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "half.weight": nn.Parameter(torch.randn(4, 3, generator=generator).to(torch.bfloat16)),
        "full.weight": nn.Parameter(torch.randn(5, generator=generator)),
    }


def train(adam: MasterAdamW, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for weight in adam.parameters.values():
            (weight * torch.randn(weight.shape, generator=generator).to(weight.dtype)).sum().backward()
        adam.step(1 / (step + 1), max_norm=1.0)


def resumed(adam: MasterAdamW, keep: str) -> MasterAdamW:
    """A new optimizer from the weights and, of the state, the tensors whose name starts with one of `keep`."""
    state = load(save(adam.state_tensors()))
    weights = {name: nn.Parameter(weight.detach().clone()) for name, weight in adam.parameters.items()}
    other = MasterAdamW(weights.items(), 0.01, BETAS, weight_decay=0.1)
    if keep:
        other.load_state_tensors({name: tensor for name, tensor in state.items() if name.startswith(tuple(keep))})
    return other


def test_a_resumed_optimizer_takes_the_same_steps_bit_for_bit():
    unbroken = MasterAdamW(mixed_weights(0).items(), 0.01, BETAS, weight_decay=0.1)
    train(unbroken, range(3))
    assert sorted(unbroken.state_tensors()) == [
        "exp_avg.full.weight",
        "exp_avg.half.weight",
        "exp_avg_sq.full.weight",
        "exp_avg_sq.half.weight",
        "master.half.weight",
        "step.full.weight",
        "step.half.weight",
    ]
    again, only_masters, bare = (resumed(unbroken, keep) for keep in ("mes", "m", ""))
    for adam in (unbroken, again, only_masters, bare):
        train(adam, range(3, 6))
    for name, tensor in unbroken.state_tensors().items():
        assert torch.equal(tensor, again.state_tensors()[name]), name
    for name, weight in unbroken.parameters.items():
        assert torch.equal(weight, again.parameters[name]), name
        assert not torch.equal(weight, only_masters.parameters[name]), "the moments must matter"
        assert not torch.equal(weight, bare.parameters[name])
