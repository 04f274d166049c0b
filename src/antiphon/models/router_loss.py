"""The load-balancing loss of a mixture of experts (Fedus et al. 2021, arXiv 2101.03961, equations 4 to 6).

Experts · Σ_e f_e · P_e over the tokens of a batch: f_e is how often a token was routed to expert e, P_e the mean
probability that the routers gave it. A prompt's tokens are routed once for its G completions and count G times, so a
shared prefix has the loss and the gradient of the expanded batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from antiphon.errors import ModelError
from antiphon.models.internals import load_balancing_loss_func, recorded_outputs

_LOGITS = "router_logits"
"""What transformers calls them among the outputs that a model can record."""


class RouterLoss:
    """Records the routers of a model while a batch is scored, and computes their load-balancing loss."""

    def __init__(self, model: Any) -> None:
        """Raises `ModelError` for a model without routers that transformers could record."""
        recorded = [recorded_outputs(module) for module in model.modules()]
        kinds = tuple({outputs[_LOGITS].target_class for outputs in recorded if _LOGITS in outputs})
        self._routers = [module for module in model.modules() if isinstance(module, kinds)]
        if not self._routers:
            raise ModelError(
                f"{type(model).__name__} has no experts to balance; leave router_aux_loss_coef at 0 for this model"
            )
        self._top_k: int = model.config.get_text_config().num_experts_per_tok
        self._passes: list[list[Tensor]] = []

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Within the block, one `encode` and one scoring of its completions are watched."""
        self._passes = [[] for _ in self._routers]
        hooks = [
            router.register_forward_hook(lambda module, inputs, output, kept=kept: kept.append(output[0]))
            for router, kept in zip(self._routers, self._passes, strict=True)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def loss(self, prompt_mask: Tensor, mask: Tensor) -> Tensor:
        """The loss of what was recorded, with its graph; even use makes it the number of experts a token is routed to.

        `prompt_mask` [P, L] is the prefix's and `mask` [N, T] the completions'. A token counts if a completion's token
        is predicted from it or from a later one, so a completion's last does not.
        """
        group = len(mask) // len(prompt_mask)
        weights = torch.cat([group * prompt_mask.flatten(), mask[:, 1:].to(prompt_mask).flatten()])
        logits: Any = tuple(torch.cat(rows) for rows in self._passes)
        if any(len(rows) != len(weights) for rows in logits):
            raise ModelError(
                f"{len(logits[0])} tokens were routed where {len(weights)} were expected: "
                "record one `encode` and one `logprobs` at a time"
            )
        loss = load_balancing_loss_func(logits, logits[0].shape[-1], self._top_k, weights)
        assert isinstance(loss, Tensor)
        return loss
