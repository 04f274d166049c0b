"""Drawing tokens: filters on a distribution, and the inverse of its cumulative sum."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from antiphon.models.policy import Sampling


def filtered(logprobs: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    """`logprobs` [N, V], −inf where a row's filters exclude a token; the most probable token always stays.

    `samplings` has N entries, or one for all rows. Filters apply in the usual order: `top_k` tokens by probability;
    of these the smallest set with `top_p` of their mass; of these the ones with at least `min_p` times the largest
    probability.
    """
    if not any(one.filters for one in samplings):
        return logprobs

    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, device=logprobs.device)[:, None]

    top_k = column([one.top_k or logprobs.shape[-1] for one in samplings])
    # Rounding of the sum must not cut the tail of a row without top_p.
    top_p = column([2.0 if one.top_p in (None, 1.0) else one.top_p for one in samplings])
    min_p = column([one.min_p or 0.0 for one in samplings])
    ordered, order = logprobs.sort(dim=-1, descending=True, stable=True)
    kept = torch.arange(logprobs.shape[-1], device=logprobs.device) < top_k
    mass = (ordered.double().exp() * kept).cumsum(-1)
    before = mass - ordered.double().exp()
    kept = kept & (before < top_p * mass[:, -1:]) & (ordered >= ordered[:, :1] + min_p.log())
    kept[:, 0] = True
    return logprobs.masked_fill(~torch.zeros_like(kept).scatter(-1, order, kept), -torch.inf)


def inverse_cdf_sample(logprobs: Tensor, uniforms: Tensor) -> Tensor:
    """Token ids [N] whose cumulative probability first exceeds `uniforms` [N]; `logprobs` is [N, V].

    Sums are in float64, so that a vocabulary of 150k tokens keeps its tail. A token of probability zero is never drawn,
    because `u < 1` scales to below the total.
    """
    cumulative = logprobs.exp().cumsum(-1, dtype=torch.float64)
    targets = uniforms.to(cumulative)[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, targets, right=True).squeeze(-1).clamp_(max=logprobs.shape[-1] - 1)
