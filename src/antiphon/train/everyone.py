"""The groups of a step on all ranks together, in their order, as tensors of which each rank holds some rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import torch
from torch import Tensor

from antiphon.algorithms.inputs import Outcomes
from antiphon.distributed.world import World
from antiphon.types import Group


class Everyone:
    """Puts what every rank has of a step together. Alone, a rank has it all."""

    def __init__(self, world: World, groups: Sequence[Group]) -> None:
        """`groups` are this rank's; in one process their order is theirs already."""
        self._world = world
        self._places = [group.place for group in groups] if world.size > 1 else list(range(len(groups)))

    def rows(self, mine: Tensor) -> Tensor:
        """[P, ...] of every rank's `mine` [P', ...], which may have no rows."""
        if self._world.size == 1:
            return mine
        ranks = [one for one in self._world.gather((self._places, mine.cpu())) if one[0]]
        order = torch.tensor([place for places, _ in ranks for place in places]).argsort()
        return torch.cat([rows for _, rows in ranks])[order].to(mine.device)

    def outcomes(self, mine: Outcomes) -> Outcomes:
        """The outcomes of all groups."""
        tensors = {one.name: getattr(mine, one.name) for one in fields(mine)}
        return replace(mine, **{name: self.rows(one) for name, one in tensors.items() if isinstance(one, Tensor)})

    def own(self, rows: Tensor) -> Tensor:
        """This rank's rows of a tensor of all groups [P, ...]."""
        return rows if self._world.size == 1 else rows[torch.tensor(self._places, device=rows.device, dtype=torch.long)]

    def where(self, mine: Tensor) -> list[int]:
        """The places of all groups for which `mine` [P'] is true on their rank."""
        return self.rows(mine).nonzero().squeeze(-1).tolist()

    def mine(self, places: Sequence[int]) -> list[int]:
        """Which of this rank's groups stand at these places."""
        known = {place: index for index, place in enumerate(self._places)}
        return [known[place] for place in places if place in known]
