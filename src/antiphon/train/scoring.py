"""Log-probabilities of a whole rollout, portion by portion."""

from __future__ import annotations

import torch
from torch import Tensor

from antiphon.models.policy import Policy
from antiphon.train.batch import Batch


@torch.no_grad()
def rollout_logprobs(policy: Policy, batch: Batch, temperature: float, max_tokens: int) -> Tensor:
    """`policy`'s log-probabilities [N, A] of the batch's tokens, 0 on padding, no portion above `max_tokens`."""
    values, size = torch.zeros_like(batch.engine_logprobs), batch.group_size
    for portion in batch.within(max_tokens, [policy.size(prompt) for prompt in batch.prompts]):
        micro = batch.groups(portion).trimmed()
        scored = policy.logprobs(policy.encode(micro.prompts), micro.tokens, micro.token_mask, temperature)
        rows = [p * size + i for p in portion for i in range(size)]
        values[rows, : scored.shape[1]] = scored
    return values
