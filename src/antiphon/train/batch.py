"""Groups of completions as tensors, from the rollout to minibatches and micro-batches."""

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
    """P prompts with G completions each; prompt p has rows p·G … p·G+G−1 of the [N, ·] tensors.

    U is the length of the longest completion in positions, A in actions, the units that have a log-probability: A = U
    for autoregressive models, A = 1 if the whole sequence is one action (CTC label sequences, class labels). K is the
    number of token ids per position: 1 for text, the codebooks of a frame for audio.
    """

    prompts: list[Prompt]
    tokens: Tensor
    """[N, U] token ids, [N, U, K] where K > 1; 0 on padding."""
    token_mask: Tensor
    """[N, U] 1 on positions, including the stop token."""
    mask: Tensor
    """[N, A] 1 on actions."""
    engine_logprobs: Tensor
    """[N, A] fp32, 0 on padding like all per-action tensors."""
    old_logprobs: Tensor
    """[N, A] under the weights that the step begins with: the trainer's own if it computes them, else the engine's."""
    first: Tensor
    """[N] True for the first of equal completions in its group."""
    rows: Tensor
    """[N] index of each completion in the step's rollout."""

    @property
    def group_size(self) -> int:
        return len(self.tokens) // max(len(self.prompts), 1)

    def unaugmented(self) -> Self:
        """The same with the clips as they were recorded, for models that are not trained."""
        if all(prompt.clean is None for prompt in self.prompts):
            return self
        return replace(self, prompts=[prompt.unaugmented() for prompt in self.prompts])

    def groups(self, chosen: Sequence[int]) -> Self:
        """The groups of these prompts, in this order."""
        size = self.group_size
        rows = torch.tensor(
            [p * size + i for p in chosen for i in range(size)], dtype=torch.long, device=self.tokens.device
        )
        return self._mapped(lambda name, value: value[rows], prompts=[self.prompts[p] for p in chosen])

    def within(self, max_tokens: int, prompt_sizes: Sequence[int]) -> list[list[int]]:
        """Prompts split into micro-batches of at most `max_tokens` positions, padding included.

        `prompt_sizes` [P] are in positions. Prompts of similar length go together, the longest first; a group above
        the limit goes alone.
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
        """The batch without columns that are padding in every row."""
        tokens, actions = (max(int(mask.sum(-1).max()), 1) for mask in (self.token_mask, self.mask))
        widths = {"tokens": tokens, "token_mask": tokens}
        return self._mapped(lambda name, value: value if value.dim() == 1 else value[:, : widths.get(name, actions)])

    def _mapped(self, function: Callable[[str, Tensor], Tensor], **changes: object) -> Self:
        """A copy with `function(name, tensor)` applied to each tensor, including those in mappings."""
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if isinstance(value, Tensor):
                changes[name] = function(name, value)
            elif isinstance(value, Mapping):
                changes[name] = {key: function(key, one) for key, one in value.items()}
        return replace(self, **changes)


@dataclass(frozen=True)
class Prepared(Batch):
    """A batch with the fixed inputs of each of the O losses."""

    others: Mapping[str, Tensor]
    """[N, A] log-probabilities under other models, by their names in `Scores` (`reference_logprobs`,
    `teacher_logprobs`); only those that the losses need."""
    advantages: Tensor
    """[N, A, O]"""
    counted: Tensor
    """[N, A, O] 1 on actions that each loss's mean counts."""


@dataclass(frozen=True)
class Weighted(Prepared):
    """A minibatch or micro-batch with token weights, under which sums over the minibatch are means."""

    weights: Tensor
    """[N, A, O]"""


def split_evenly(items: Sequence[T], parts: int) -> list[Sequence[T]]:
    """`items` in at most `parts` sequences of sizes as even as possible."""
    parts = min(parts, len(items))
    bounds = [round(i * len(items) / parts) for i in range(parts + 1)]
    return [items[start:end] for start, end in pairwise(bounds)]


def make_batch(groups: Sequence[Group], device: torch.device) -> Batch:
    """Pad the groups' completions into one batch; `old_logprobs` are the engine's."""
    completions = [completion for group in groups for completion in group.completions]
    tokens, token_mask = _positions(completions)
    logprobs, mask = padded([completion.logprobs for completion in completions], torch.float32)
    first = torch.tensor([new for group in groups for new in _first(group)], dtype=torch.bool)
    tokens, token_mask, mask, logprobs, first = (one.to(device) for one in (tokens, token_mask, mask, logprobs, first))
    rows = torch.arange(len(completions), device=device)
    return Batch([group.prompt for group in groups], tokens, token_mask, mask, logprobs, logprobs, first, rows)


def _positions(completions: Sequence[Completion]) -> tuple[Tensor, Tensor]:
    """Token ids [N, U] or [N, U, K], and the mask [N, U]. Raises `ValueError` if completions differ in width K."""
    widths = {completion.width for completion in completions}
    if len(widths) > 1:
        raise ValueError(f"the completions of one batch have {min(widths)} and {max(widths)} ids per position")
    width = widths.pop() if widths else 1
    tokens, mask = padded([completion.token_ids for completion in completions], torch.long, least=width)
    if width == 1:
        return tokens, mask
    return tokens.unflatten(-1, (-1, width)), mask[:, ::width]


def _first(group: Group) -> list[bool]:
    """Whether each completion is the first of its kind; dropped ones do not make later ones repeats."""
    known: set[tuple[int, ...]] = set()
    new = []
    for completion, reward in zip(group.completions, group.rewards or [None] * len(group.completions), strict=True):
        new.append(completion.token_ids not in known)
        if reward is not None or not group.rewards:
            known.add(tuple(completion.token_ids))
    return new


def padded(rows: Sequence[Sequence[float]], dtype: torch.dtype, least: int = 1) -> tuple[Tensor, Tensor]:
    """Rows of unequal length as one tensor, 0 on padding and at least `least` wide, and its mask."""
    width = max([least, *(len(row) for row in rows)])
    values, mask = torch.zeros(len(rows), width, dtype=dtype), torch.zeros(len(rows), width)
    for i, row in enumerate(rows):
        values[i, : len(row)] = torch.tensor(row, dtype=dtype)
        mask[i, : len(row)] = 1
    return values, mask
