"""Groups of completions as tensors: what the trainer portions and the algorithms learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import torch
from torch import Tensor

from antiphon.types import Group, Prompt


@dataclass(frozen=True)
class Batch:
    """P prompts with G completions each; rows p·G … p·G+G−1 of the [N, ·] tensors are those of prompt p.

    U is the longest completion in tokens and A in actions, the units that have a log-probability: A = U for models
    that emit token by token, A = 1 where the whole sequence is one action (CTC labellings, class labels). O is the
    number of losses that are summed.
    """

    prompts: list[Prompt]
    tokens: Tensor
    """[N, U] token ids, 0 on padding."""
    token_mask: Tensor
    """[N, U] 1 on tokens, the stop token included."""
    mask: Tensor
    """[N, A] 1 on actions."""
    engine_logprobs: Tensor
    """[N, A] fp32, 0 on padding, as are all below."""
    first: Tensor
    """[N] True for the first of equal completions in its group."""
    rows: Tensor | None = None
    """[N] the place of each completion in the step's rollout."""
    aligned: Tensor | None = None
    """[N, A] 1 on actions that the teacher judges."""
    old_logprobs: Tensor | None = None
    reference_logprobs: Tensor | None = None
    teacher_logprobs: Tensor | None = None
    advantages: Tensor | None = None
    """[N, A, O]"""
    counted: Tensor | None = None
    """[N, A, O] 1 on actions that count in each loss's mean."""
    weights: Tensor | None = None
    """[N, A, O], made for a whole minibatch."""

    @property
    def group_size(self) -> int:
        return len(self.tokens) // len(self.prompts)

    def split(self, parts: int) -> list[Batch]:
        """Into at most `parts` batches of whole groups, sizes as even as can be."""
        parts = min(parts, len(self.prompts))
        bounds = [round(i * len(self.prompts) / parts) for i in range(parts + 1)]
        return [self.groups(range(start, end)) for start, end in pairwise(bounds)]

    def groups(self, chosen: Sequence[int]) -> Batch:
        """The groups of these prompts, in this order."""
        size = self.group_size
        rows = torch.tensor([p * size + i for p in chosen for i in range(size)], device=self.tokens.device)
        tensors = {name: value[rows] for name, value in self._tensors().items()}
        return replace(self, prompts=[self.prompts[p] for p in chosen], **tensors)

    def within(self, max_tokens: int, prompt_sizes: Sequence[int]) -> list[list[int]]:
        """Prompts portioned so that each portion, padded, is within `max_tokens` positions of prompts and completions.

        Prompts of similar length go together, the longest first; a group that is too long for itself goes alone.
        """
        longest = self.token_mask.sum(-1).view(len(self.prompts), -1).amax(-1).tolist()
        needs = [(prompt_sizes[p], self.group_size * int(longest[p])) for p in range(len(self.prompts))]
        order = sorted(range(len(self.prompts)), key=lambda p: (-sum(needs[p]), p))
        portions: list[list[int]] = [[]]
        for p in order:
            inside = [*portions[-1], p]
            padded = sum(max(needs[q][part] for q in inside) for part in (0, 1)) * len(inside)
            if portions[-1] and padded > max_tokens:
                portions.append([p])
            else:
                portions[-1].append(p)
        return portions

    def trimmed(self) -> Batch:
        """Without the columns that are padding in every row."""
        tokens, actions = (max(int(mask.sum(-1).max()), 1) for mask in (self.token_mask, self.mask))
        widths = {"tokens": tokens, "token_mask": tokens}
        tensors = {
            name: value if value.dim() == 1 else value[:, : widths.get(name, actions)]
            for name, value in self._tensors().items()
        }
        return replace(self, **tensors)

    def _tensors(self) -> dict[str, Tensor]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def make_batch(groups: Sequence[Group], device: torch.device) -> Batch:
    """Pad the groups' completions into one batch."""
    completions = [completion for group in groups for completion in group.completions]
    tokens, token_mask = padded([completion.token_ids for completion in completions], torch.long)
    logprobs, mask = padded([completion.logprobs for completion in completions], torch.float32)
    first = torch.tensor([new for group in groups for new in _first(group)])
    tensors = (one.to(device) for one in (tokens, token_mask, mask, logprobs, first))
    rows = torch.arange(len(completions), device=device)
    return Batch([group.prompt for group in groups], *tensors, rows=rows)


def _first(group: Group) -> list[bool]:
    """Of each completion, whether it is new; one whose reward was dropped makes no later one old."""
    known: set[tuple[int, ...]] = set()
    new = []
    for completion, reward in zip(group.completions, group.rewards or [None] * len(group.completions), strict=True):
        new.append(completion.token_ids not in known)
        if reward is not None or not group.rewards:
            known.add(tuple(completion.token_ids))
    return new


def padded(rows: Sequence[Sequence[float]], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Rows of unequal length as one tensor, 0 on padding, and its mask."""
    width = max(1, *(len(row) for row in rows))
    values, mask = torch.zeros(len(rows), width, dtype=dtype), torch.zeros(len(rows), width)
    for i, row in enumerate(rows):
        values[i, : len(row)] = torch.tensor(row, dtype=dtype)
        mask[i, : len(row)] = 1
    return values, mask
