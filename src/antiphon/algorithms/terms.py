"""Terms that losses share: token weights, KL estimators, group statistics. Tensors only.

Shapes: P prompts, G completions each, N = P·G, A actions; `mask` [N, A] is 1 on actions, stop token included.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Normalization = Literal["token", "sequence", "constant"]
NORMALIZATION = (
    "token: mean over all tokens of the minibatch (DAPO); sequence: mean over completions of their token means (GRPO); "
    "constant: mean over completions of their token sums / max_new_tokens (Dr.GRPO)"
)
"""What the options of `Normalization` are, as settings describe them."""
KLEstimator = Literal["k1", "k2", "k3"]
Deviation = Literal["sample", "population"]
"""Whether a variance divides by one less than the number of values, or by the number."""

MAX_LOG_RATIO = 20.0
"""Bound of a log-ratio before it is exponentiated, as in verl and NeMo-RL: exp(20) is 4.9e8, and fp32 holds its square.
A whole transcript as one action, as in CTC, can differ from its old log-probability by hundreds of nats."""
MAX_K3 = 10.0
"""Bound of the k3 estimator per action, as in verl and NeMo-RL; it has no gradient beyond."""


def token_weights(
    mask: Tensor, normalization: Normalization, max_new_tokens: int, totals: tuple[float, float] | None = None
) -> Tensor:
    """Weights [N, A] that make a loss the plain sum of weight × token loss over the whole minibatch.

    token     1 / (all tokens): every token counts the same (DAPO, 2503.14476, eq. 12)
    sequence  1 / (N · its tokens): every completion counts the same (GRPO, 2402.03300, eq. 3)
    constant  1 / (N · max_new_tokens): no length in the denominator (Dr.GRPO, 2503.20783, section 3)

    N excludes completions whose mask is all 0. If `mask` is a shard of the minibatch, `totals` are the tokens and
    completions of the whole minibatch.
    """
    mask = mask.float()
    tokens, completions = totals or counts(mask)
    if normalization == "token":
        return mask / max(tokens, 1)
    if normalization == "sequence":
        return mask / (max(completions, 1) * mask.sum(-1, keepdim=True).clamp(min=1))
    return mask / (max(completions, 1) * max_new_tokens)


def counts(mask: Tensor) -> tuple[float, float]:
    """Numbers of tokens and of completions that `mask` [N, A] counts."""
    return float(mask.sum()), float((mask.sum(-1) > 0).sum())


def kl_estimate(logprobs: Tensor, reference: Tensor, estimator: KLEstimator) -> Tensor:
    """Per-token estimate [N, A] of KL(policy ‖ reference) from tokens sampled by the policy (Schulman 2020).

    With r = log p_reference − log p_policy:  k1 = −r,  k2 = r²/2,  k3 = min(exp(r) − 1 − r, MAX_K3).
    As an on-policy loss, k2 has the gradient of the KL; k1's gradient is zero in expectation.
    """
    ratio = reference - logprobs
    if estimator == "k1":
        return -ratio
    if estimator == "k2":
        return 0.5 * ratio**2
    ratio = ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return (torch.expm1(ratio) - ratio).clamp(max=MAX_K3)


def importance_ratio(log_ratio: Tensor) -> Tensor:
    """exp(log_ratio) [N, A] within exp(±MAX_LOG_RATIO), and without a gradient beyond."""
    return log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()


def has_variance(rewards: Tensor, valid: Tensor, tolerance: float = 1e-8) -> Tensor:
    """[P] bool: True for groups with reward variance, whose valid rewards [P, G] differ by more than `tolerance`."""
    highest = rewards.masked_fill(~valid, -torch.inf).amax(-1)
    lowest = rewards.masked_fill(~valid, torch.inf).amin(-1)
    return highest - lowest > tolerance


def group_mean(values: Tensor, valid: Tensor) -> Tensor:
    """[P, 1] mean of the valid values [P, G] of each group."""
    return (values * valid).sum(-1, keepdim=True) / valid.sum(-1, keepdim=True).clamp(min=1)


def group_std(values: Tensor, valid: Tensor, deviation: Deviation = "sample") -> Tensor:
    """[P, 1] standard deviation of the valid values [P, G] of each group; 0 for a single value."""
    squares = ((values - group_mean(values, valid)) ** 2 * valid).sum(-1, keepdim=True)
    count = valid.sum(-1, keepdim=True) - (1 if deviation == "sample" else 0)
    return (squares / count.clamp(min=1)).sqrt()


def sequence_sums(values: Tensor, weights: Tensor) -> Tensor:
    """[N, 1] sum of `values` [N, A] over the actions with a nonzero weight."""
    return torch.where(weights > 0, values, 0.0).sum(-1, keepdim=True)
