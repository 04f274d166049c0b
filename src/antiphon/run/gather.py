"""The groups of all ranks, brought together on rank 0 for those who follow the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from antiphon.data.indexed import ById
from antiphon.distributed.world import World
from antiphon.types import Example, Group


class GroupGatherer:
    """Sends groups and what was noted, without the waveforms of prompts and the examples, which rank 0 knows itself."""

    def __init__(self, world: World, examples: Sequence[Example], log: Callable[[str], None]) -> None:
        """`examples` are all of the training set; `log` is told on rank 0 what any rank notes."""
        self._world, self._log = world, log
        self._notes: list[str] = []
        self._known = ById(examples)

    def note(self, line: str) -> None:
        """Log a line, at once on rank 0 and with the next groups from the others."""
        self._log(line) if self._world.is_main else self._notes.append(line)

    def __call__(self, groups: list[Group], advantages: Tensor) -> tuple[list[Group], Tensor]:
        """Every rank's groups in their order, with their advantages [N, A]; on ranks other than 0, none."""
        if self._world.size == 1:
            return groups, advantages
        of_group = list(advantages.view(len(groups), -1, advantages.shape[-1])) if groups else []
        sent = list(zip(map(_light, groups), of_group, strict=True))
        ranks = self._world.gather_at_main((sent, self._notes))
        self._notes = []
        if ranks is None:
            return [], advantages[:0]
        ranks[0] = list(zip(groups, of_group, strict=True)), []  # With their waveforms.
        for line in (line for _, notes in ranks for line in notes):
            self._log(line)
        found = sorted((one for sent, _ in ranks for one in sent), key=lambda one: one[0].place)
        width = max(rows.shape[-1] for _, rows in found)
        rows = torch.cat([pad(rows, (0, width - rows.shape[-1])) for _, rows in found])
        return [replace(group, example=self._known[group.example.id]) for group, _ in found], rows


def _light(group: Group) -> Group:
    stub = Example(group.example.id, group.example.task, None, "")
    return replace(group, example=stub, prompt=group.prompt.without_waveform())
