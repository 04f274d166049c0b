"""Folds rows of completions into a grid by prompt, so that work common to a group is done once."""

from __future__ import annotations

import torch
from torch import Tensor


class Fold:
    """N rows as a grid [P, W] of their P prompts, W the largest group, and back."""

    def __init__(self, prompt: Tensor) -> None:
        """`prompt` [N] is the prompt index of each row: nondecreasing, with every prompt present."""
        self.prompt = prompt
        counts = torch.bincount(prompt)
        self.prompts, self.width = len(counts), int(counts.max())
        self.full = len(prompt) == self.prompts * self.width
        self.slot = torch.arange(len(prompt), device=prompt.device) - (counts.cumsum(0) - counts)[prompt]

    def fold(self, rows: Tensor) -> Tensor:
        """[N, ...] as [P, W, ...], 0 in the gaps."""
        if self.full:
            return rows.unflatten(0, (self.prompts, self.width))
        gaps = rows.new_zeros(self.prompts, self.width, *rows.shape[1:])
        return gaps.index_put((self.prompt, self.slot), rows)

    def unfold(self, grid: Tensor) -> Tensor:
        """The inverse of `fold`."""
        return grid.flatten(0, 1) if self.full else grid[self.prompt, self.slot]
