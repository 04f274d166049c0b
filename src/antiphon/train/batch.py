"""Groups of completions as tensors: what the algorithms and the trainer work on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from antiphon.types import Group, Prompt


@dataclass(frozen=True)
class Batch:
    """P prompts with G completions each; rows p·G … p·G+G−1 of the [N, T] tensors are those of prompt p."""

    prompts: list[Prompt]
    tokens: Tensor
    """[N, T] token ids, 0 on padding."""
    mask: Tensor
    """[N, T] 1 on tokens, the stop token included."""
    old_logprobs: Tensor
    """[N, T] the engine's, fp32, 0 on padding."""
    advantages: Tensor
    """[N, T] fp32."""

    @property
    def group_size(self) -> int:
        return len(self.tokens) // len(self.prompts)

    def split(self, parts: int) -> list[Batch]:
        """Into at most `parts` batches of whole groups, sizes as even as can be."""
        parts = min(parts, len(self.prompts))
        bounds = [round(i * len(self.prompts) / parts) for i in range(parts + 1)]
        return [self._rows(start, end) for start, end in pairwise(bounds)]

    def _rows(self, start: int, end: int) -> Batch:
        rows = slice(start * self.group_size, end * self.group_size)
        fields = (self.tokens, self.mask, self.old_logprobs, self.advantages)
        return Batch(self.prompts[start:end], *(field[rows] for field in fields))

    def trimmed(self) -> Batch:
        """Without the columns that are padding in every row."""
        longest = int(self.mask.sum(-1).max())
        fields = (self.tokens, self.mask, self.old_logprobs, self.advantages)
        return Batch(self.prompts, *(field[:, :longest] for field in fields))


def make_batch(groups: Sequence[Group], advantages: Tensor, device: torch.device) -> Batch:
    """Pad the groups' completions into one batch; `advantages` is [P, G] or [P, G, T]."""
    completions = [completion for group in groups for completion in group.completions]
    longest = max(len(completion.token_ids) for completion in completions)
    tokens = torch.zeros(len(completions), longest, dtype=torch.long)
    logprobs = torch.zeros(len(completions), longest)
    mask = torch.zeros(len(completions), longest)
    for row, completion in enumerate(completions):
        length = len(completion.token_ids)
        tokens[row, :length] = torch.tensor(completion.token_ids)
        logprobs[row, :length] = torch.tensor(completion.logprobs)
        mask[row, :length] = 1
    spread = advantages.reshape(len(completions), -1).expand(-1, longest)
    fields = (tokens, mask, logprobs, (spread * mask).float())
    return Batch([group.prompt for group in groups], *(field.to(device) for field in fields))
