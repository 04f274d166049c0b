"""Gradients added up over ranks: each holds its share of a global mean, so their sum is its gradient."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from antiphon.distributed.world import World

BUCKET = 1 << 24
"""Numbers that travel together: 64 MiB in fp32."""


@torch.no_grad()
def sum_gradients(world: World, parameters: Iterable[Tensor]) -> None:
    """Replaces each parameter's gradient by its sum over ranks; one that no rank has a gradient for keeps none."""
    if world.size == 1:
        return
    known = list(parameters)
    present = world.max(torch.tensor([float(one.grad is not None) for one in known])).tolist()
    learned = [one for one, anywhere in zip(known, present, strict=True) if anywhere]
    for bucket in _buckets(learned):
        gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in bucket]
        summed = world.sum(torch.cat([one.flatten() for one in gradients]))
        parts = summed.split([one.numel() for one in bucket])
        for one, part in zip(bucket, parts, strict=True):
            one.grad = part.view_as(one).clone()


def _buckets(parameters: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """In order, of `BUCKET` numbers at most; a larger parameter travels alone."""
    bucket: list[Tensor] = []
    for one in parameters:
        if bucket and sum(other.numel() for other in bucket) + one.numel() > BUCKET:
            yield bucket
            bucket = []
        bucket.append(one)
    if bucket:
        yield bucket
