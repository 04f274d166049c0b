"""Groups of completions as tensors: what is portioned, scored and learned from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Self, TypeVar

import torch
from torch import Tensor

from antiphon.types import Completion, Group, Prompt

T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """P prompts with G completions each; rows p·G … p·G+G−1 of the [N, ·] tensors are those of prompt p.

    U is the longest completion in positions and A in actions, the units that have a log-probability: A = U for models
    that emit position by position, A = 1 where the whole sequence is one action (CTC labelings, class labels). K is
    the number of token ids of a position: 1 for text, the codebooks of a frame for audio.
    """

    prompts: list[Prompt]
    tokens: Tensor
    """[N, U] token ids, [N, U, K] where K > 1; 0 on padding."""
    token_mask: Tensor
    """[N, U] 1 on positions, the stop token included."""
    mask: Tensor
    """[N, A] 1 on actions."""
    engine_logprobs: Tensor
    """[N, A] fp32, 0 on padding, as are all tensors of actions."""
    old_logprobs: Tensor
    """[N, A] of the weights that the step begins with: the trainer's own where it computes them, else the engine's."""
    first: Tensor
    """[N] True for the first of equal completions in its group."""
    rows: Tensor
    """[N] the place of each completion in the step's rollout."""

    @property
    def group_size(self) -> int:
        return len(self.tokens) // max(len(self.prompts), 1)

    def groups(self, chosen: Sequence[int]) -> Self:
        """The groups of these prompts, in this order."""
        size = self.group_size
        rows = torch.tensor(
            [p * size + i for p in chosen for i in range(size)], dtype=torch.long, device=self.tokens.device
        )
        return self._mapped(lambda name, value: value[rows], prompts=[self.prompts[p] for p in chosen])

    def within(self, max_tokens: int, prompt_sizes: Sequence[int]) -> list[list[int]]:
        """Prompts portioned so that each portion, padded, is within `max_tokens` positions of prompts and completions.

        Prompts of similar length go together, the longest first; a group that is too long for itself goes alone.
        """
        longest = self.token_mask.sum(-1).view(len(self.prompts), self.group_size).tolist()
        needs = [(prompt_sizes[p], self.group_size * int(max(longest[p]))) for p in range(len(self.prompts))]
        order = sorted(range(len(self.prompts)), key=lambda p: (-sum(needs[p]), p))
        portions: list[list[int]] = []
        for p in order:
            inside = [*portions[-1], p] if portions else [p]
            padded = sum(max(needs[q][part] for q in inside) for part in (0, 1)) * len(inside)
            if portions and padded <= max_tokens:
                portions[-1].append(p)
            else:
                portions.append([p])
        return portions

    def trimmed(self) -> Self:
        """Without the columns that are padding in every row."""
        tokens, actions = (max(int(mask.sum(-1).max()), 1) for mask in (self.token_mask, self.mask))
        widths = {"tokens": tokens, "token_mask": tokens}
        return self._mapped(lambda name, value: value if value.dim() == 1 else value[:, : widths.get(name, actions)])

    def _mapped(self, function: Callable[[str, Tensor], Tensor], **changes: object) -> Self:
        """With `function(name, tensor)` in place of each tensor, those within mappings included."""
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if isinstance(value, Tensor):
                changes[name] = function(name, value)
            elif isinstance(value, Mapping):
                changes[name] = {key: function(key, one) for key, one in value.items()}
        return replace(self, **changes)


@dataclass(frozen=True)
class Prepared(Batch):
    """A batch with what each of the O losses learns from it."""

    others: Mapping[str, Tensor]
    """[N, A] what other models say of the actions, by its name in `Scores`: `reference_logprobs`, `teacher_logprobs`;
    only what the losses ask for."""
    advantages: Tensor
    """[N, A, O]"""
    counted: Tensor
    """[N, A, O] 1 on actions that count in each loss's mean."""


@dataclass(frozen=True)
class Weighted(Prepared):
    """A minibatch, or a part of one, with the weights that make sums over the whole minibatch means."""

    weights: Tensor
    """[N, A, O]"""


def split_evenly(items: Sequence[T], parts: int) -> list[Sequence[T]]:
    """Into at most `parts` sequences, sizes as even as can be."""
    parts = min(parts, len(items))
    bounds = [round(i * len(items) / parts) for i in range(parts + 1)]
    return [items[start:end] for start, end in pairwise(bounds)]


def make_batch(groups: Sequence[Group], device: torch.device) -> Batch:
    """Pad the groups' completions into one batch; the engine's log-probabilities are the old ones, too."""
    completions = [completion for group in groups for completion in group.completions]
    tokens, token_mask = _positions(completions)
    logprobs, mask = padded([completion.logprobs for completion in completions], torch.float32)
    first = torch.tensor([new for group in groups for new in _first(group)], dtype=torch.bool)
    tokens, token_mask, mask, logprobs, first = (one.to(device) for one in (tokens, token_mask, mask, logprobs, first))
    rows = torch.arange(len(completions), device=device)
    return Batch([group.prompt for group in groups], tokens, token_mask, mask, logprobs, logprobs, first, rows)


def _positions(completions: Sequence[Completion]) -> tuple[Tensor, Tensor]:
    """Token ids [N, U] or [N, U, K], and the mask [N, U]. Raises `ValueError` for completions of several widths."""
    widths = {completion.width for completion in completions}
    if len(widths) > 1:
        raise ValueError(f"the completions of one batch have {min(widths)} and {max(widths)} ids a position")
    width = widths.pop() if widths else 1
    tokens, mask = padded([completion.token_ids for completion in completions], torch.long, least=width)
    if width == 1:
        return tokens, mask
    return tokens.unflatten(-1, (-1, width)), mask[:, ::width]


def _first(group: Group) -> list[bool]:
    """Of each completion, whether it is new; one whose reward was dropped makes no later one old."""
    known: set[tuple[int, ...]] = set()
    new = []
    for completion, reward in zip(group.completions, group.rewards or [None] * len(group.completions), strict=True):
        new.append(completion.token_ids not in known)
        if reward is not None or not group.rewards:
            known.add(tuple(completion.token_ids))
    return new


def padded(rows: Sequence[Sequence[float]], dtype: torch.dtype, least: int = 1) -> tuple[Tensor, Tensor]:
    """Rows of unequal length as one tensor, at least `least` wide and 0 on padding, and its mask."""
    width = max([least, *(len(row) for row in rows)])
    values, mask = torch.zeros(len(rows), width, dtype=dtype), torch.zeros(len(rows), width)
    for i, row in enumerate(rows):
        values[i, : len(row)] = torch.tensor(row, dtype=dtype)
        mask[i, : len(row)] = 1
    return values, mask
