"""AdamW with fp32 master weights, gradient accumulation in fp32, and a learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from antiphon.config.training import Optimizer
from antiphon.errors import ModelError

_MOMENTS = ("exp_avg", "exp_avg_sq")


def schedule_factor(step: int, steps: int, optimizer: Optimizer) -> float:
    """Learning-rate factor at `step` (0-based): linear warm-up, then the schedule, never below `min_lr_ratio`."""
    if step < optimizer.warmup_steps:
        return (step + 1) / optimizer.warmup_steps
    since, floor = step - optimizer.warmup_steps, optimizer.min_lr_ratio
    if optimizer.schedule == "constant":
        return 1.0
    if optimizer.schedule == "exponential":
        return max(optimizer.decay**since, floor)
    progress = min(since / max(steps - optimizer.warmup_steps, 1), 1.0)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


class MasterAdamW:
    """AdamW (Loshchilov & Hutter 2019) on fp32 master copies of lower-precision parameters.

    bf16 updates vanish: a bf16 weight near 1 cannot represent a step of 1e-3. Parameters that are fp32 already are
    their own masters. Each backward pass moves gradients of lower-precision parameters into fp32 at once, so gradient
    accumulation over micro-batches loses no precision.
    """

    def __init__(
        self,
        named_parameters: Iterable[tuple[str, nn.Parameter]],
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
    ) -> None:
        self.parameters = {name: p for name, p in named_parameters if p.requires_grad}
        self.masters = {
            name: p if p.dtype == torch.float32 else p.detach().float().requires_grad_()
            for name, p in self.parameters.items()
        }
        self.base_lr = lr
        self.adam = torch.optim.AdamW(
            self.masters.values(), lr=lr, betas=betas, weight_decay=weight_decay, foreach=True
        )
        for name, parameter in self.parameters.items():
            if parameter is not self.masters[name]:
                parameter.register_post_accumulate_grad_hook(self._accumulate_into(self.masters[name]))

    @staticmethod
    def _accumulate_into(master: Tensor):
        def hook(parameter: Tensor) -> None:
            assert parameter.grad is not None
            gradient = parameter.grad.float()
            master.grad = gradient if master.grad is None else master.grad.add_(gradient)
            parameter.grad = None

        return hook

    def step(self, factor: float, max_norm: float) -> float:
        """One update at learning rate `base_lr × factor`. Returns the gradient norm before clipping.

        Raises `ModelError` if the norm is not finite.
        """
        norm = float(nn.utils.clip_grad_norm_(self.masters.values(), max_norm if max_norm > 0 else math.inf))
        if not math.isfinite(norm):
            raise ModelError(
                f"the gradient is {norm}: training has diverged; lower optimizer.lr, or resume from an earlier "
                "checkpoint (antiphon checkpoints RUN)"
            )
        for group in self.adam.param_groups:
            group["lr"] = self.base_lr * factor
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                if parameter is not self.masters[name]:
                    parameter.copy_(self.masters[name])
        return norm

    def state_tensors(self) -> dict[str, Tensor]:
        """The optimizer state of a checkpoint, by name: moments, and masters that are not the weights themselves."""
        tensors: dict[str, Tensor] = {}
        for name, master in self.masters.items():
            if master is not self.parameters[name]:
                tensors[f"master.{name}"] = master.detach()
            for key, value in self.adam.state.get(master, {}).items():
                tensors[f"{key}.{name}"] = value
        return tensors

    def _require_own(self, tensors: dict[str, Tensor]) -> set[str]:
        """The names of the parameters that `tensors` hold moments of; a parameter without a gradient so far has none.

        Raises `KeyError` if the tensors are of other parameters, or of other shapes.
        """
        begun = {name.removeprefix("step.") for name in tensors if name.startswith("step.")}
        shapes = {f"{key}.{name}": self.masters[name].shape for name in begun & set(self.masters) for key in _MOMENTS}
        shapes |= {f"step.{name}": torch.Size() for name in begun & set(self.masters)}
        copies = {f"master.{name}": m.shape for name, m in self.masters.items() if m is not self.parameters[name]}
        found = {name: tensor.shape for name, tensor in tensors.items()}
        if wrong := found.items() ^ (shapes | copies).items():
            raise KeyError(f"its tensors are of other parameters, such as {min(name for name, _ in wrong)!r}")
        return begun

    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of `state_tensors`. Raises `KeyError` or `RuntimeError` if they belong to another model."""
        begun = self._require_own(tensors)
        with torch.no_grad():
            for name, master in self.masters.items():
                if master is not self.parameters[name]:
                    master.copy_(tensors[f"master.{name}"])
                if name in begun:
                    moments = {key: tensors[f"{key}.{name}"].to(master.device) for key in _MOMENTS}
                    self.adam.state[master] = {"step": tensors[f"step.{name}"].cpu(), **moments}
