"""Combines a step's groups of all ranks in their global order; each rank holds some rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from antiphon.algorithms.inputs import Outcomes
from antiphon.distributed.world import World
from antiphon.types import Group


class Everyone:
    """Gathers per-group tensors of a step from all ranks. In one process it returns them unchanged."""

    def __init__(self, world: World, groups: Sequence[Group]) -> None:
        """`groups` are this rank's; each knows its place in the global order."""
        self._world = world
        self._places = [group.place for group in groups] if world.size > 1 else list(range(len(groups)))

    def rows(self, mine: Tensor) -> Tensor:
        """[P, ...] rows of all ranks, from each rank's `mine` [P', ...], which may have no rows.

        The last dimension of actions [P', G, A] is padded with 0 to the longest of all ranks.
        """
        if self._world.size == 1:
            return mine
        ranks = [one for one in self._world.gather((self._places, mine.cpu())) if one[0]]
        order = torch.tensor([place for places, _ in ranks for place in places]).argsort()
        found = [rows for _, rows in ranks]
        if mine.dim() == 3:
            width = max(rows.shape[-1] for rows in found)
            found = [pad(rows, (0, width - rows.shape[-1])) for rows in found]
        return torch.cat(found)[order].to(mine.device)

    def outcomes(self, mine: Outcomes) -> Outcomes:
        """The outcomes of all ranks' groups."""
        tensors = {one.name: getattr(mine, one.name) for one in fields(mine)}
        return replace(mine, **{name: self.rows(one) for name, one in tensors.items() if isinstance(one, Tensor)})

    def own(self, rows: Tensor) -> Tensor:
        """This rank's rows [P', ...] of a tensor of all groups [P, ...]."""
        return rows if self._world.size == 1 else rows[torch.tensor(self._places, device=rows.device, dtype=torch.long)]

    def where(self, mine: Tensor) -> list[int]:
        """The places of all groups, on any rank, for which `mine` [P'] is true."""
        return self.rows(mine).nonzero().squeeze(-1).tolist()

    def mine(self, places: Sequence[int]) -> list[int]:
        """Indices of this rank's groups at these places."""
        known = {place: index for index, place in enumerate(self._places)}
        return [known[place] for place in places if place in known]
