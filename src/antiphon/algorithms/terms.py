"""Pieces that policy-gradient losses share: token weights, KL estimators, group statistics. Tensors only.

Shapes: P prompts, G completions each, N = P·G, T completion tokens; `mask` [N, T] is 1 on tokens, stop included.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Normalisation = Literal["token", "sequence", "constant"]
KLEstimator = Literal["k1", "k2", "k3"]


def token_weights(mask: Tensor, normalisation: Normalisation, max_new_tokens: int) -> Tensor:
    """Weights [N, T] such that a loss is the plain sum of weight × token loss over the whole batch.

    token     1 / (all tokens): every token counts the same (DAPO, 2503.14476, eq. 12)
    sequence  1 / (N · its tokens): every completion counts the same (GRPO, 2402.03300, eq. 3)
    constant  1 / (N · max_new_tokens): no length in the denominator (Dr.GRPO, 2503.20783, section 3)

    The weights are made once for a minibatch, so that the sum over its micro-batches is the global mean.
    """
    mask = mask.float()
    if normalisation == "token":
        return mask / mask.sum().clamp(min=1)
    if normalisation == "sequence":
        return mask / (len(mask) * mask.sum(-1, keepdim=True).clamp(min=1))
    return mask / (len(mask) * max_new_tokens)


def kl_estimate(logprobs: Tensor, reference: Tensor, estimator: KLEstimator) -> Tensor:
    """Per-token estimate of KL(policy ‖ reference) from tokens sampled by the policy (Schulman 2020).

    With r = log p_reference − log p_policy:  k1 = −r,  k2 = r²/2,  k3 = exp(r) − 1 − r.
    As a loss, k2 has the gradient of the KL on policy; k1's gradient is zero in expectation.
    """
    ratio = reference - logprobs
    if estimator == "k1":
        return -ratio
    if estimator == "k2":
        return 0.5 * ratio**2
    return torch.expm1(ratio) - ratio


def has_spread(rewards: Tensor, tolerance: float = 1e-8) -> Tensor:
    """[P] True where the rewards [P, G] of a group differ; a constant group teaches nothing."""
    return (rewards.amax(-1) - rewards.amin(-1)) > tolerance
