"""Groups of completions as tensors: what the algorithms and the trainer work on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from antiphon.types import Group, Prompt


@dataclass(frozen=True)
class Batch:
    """P prompts with G completions each; rows p·G … p·G+G−1 of the [N, ·] tensors are those of prompt p.

    U is the longest completion in tokens and A in actions, the units that have a log-probability: A = U for models
    that emit token by token, A = 1 where the whole sequence is one action (CTC labellings, class labels).
    """

    prompts: list[Prompt]
    tokens: Tensor
    """[N, U] token ids, 0 on padding."""
    token_mask: Tensor
    """[N, U] 1 on tokens, the stop token included."""
    mask: Tensor
    """[N, A] 1 on actions."""
    old_logprobs: Tensor
    """[N, A] the engine's, fp32, 0 on padding."""
    advantages: Tensor
    """[N, A] fp32, 0 on padding."""

    @property
    def group_size(self) -> int:
        return len(self.tokens) // len(self.prompts)

    def split(self, parts: int) -> list[Batch]:
        """Into at most `parts` batches of whole groups, sizes as even as can be."""
        parts = min(parts, len(self.prompts))
        bounds = [round(i * len(self.prompts) / parts) for i in range(parts + 1)]
        return [self._groups(start, end) for start, end in pairwise(bounds)]

    def _groups(self, start: int, end: int) -> Batch:
        rows = slice(start * self.group_size, end * self.group_size)
        return replace(self, prompts=self.prompts[start:end], **{name: getattr(self, name)[rows] for name in _TENSORS})

    def trimmed(self) -> Batch:
        """Without the columns that are padding in every row."""
        tokens, actions = (max(int(mask.sum(-1).max()), 1) for mask in (self.token_mask, self.mask))
        widths = dict.fromkeys(_TENSORS, actions) | {"tokens": tokens, "token_mask": tokens}
        return replace(self, **{name: getattr(self, name)[:, :width] for name, width in widths.items()})


_TENSORS = ("tokens", "token_mask", "mask", "old_logprobs", "advantages")


def make_batch(groups: Sequence[Group], advantages: Tensor, device: torch.device) -> Batch:
    """Pad the groups' completions into one batch; `advantages` is [P, G] or [P, G, A]."""
    completions = [completion for group in groups for completion in group.completions]
    tokens, token_mask = _padded([completion.token_ids for completion in completions], torch.long)
    logprobs, mask = _padded([completion.logprobs for completion in completions], torch.float32)
    spread = advantages.float().reshape(len(completions), -1).expand(-1, mask.shape[1])
    fields = (tokens, token_mask, mask, logprobs, spread * mask)
    return Batch([group.prompt for group in groups], *(field.to(device) for field in fields))


def _padded(rows: Sequence[Sequence[float]], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Rows of unequal length as one tensor, 0 on padding, and its mask."""
    width = max(1, *(len(row) for row in rows))
    values, mask = torch.zeros(len(rows), width, dtype=dtype), torch.zeros(len(rows), width)
    for i, row in enumerate(rows):
        values[i, : len(row)] = torch.tensor(row, dtype=dtype)
        mask[i, : len(row)] = 1
    return values, mask
