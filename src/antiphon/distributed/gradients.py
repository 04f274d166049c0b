"""Sums gradients over ranks. Each rank's loss is its share of a global mean, so the sum is the mean's gradient."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from antiphon.distributed.world import World

BUCKET = 1 << 24
"""Elements per all-reduce: 64 MiB in fp32."""


@torch.no_grad()
def sum_gradients(world: World, parameters: Iterable[Tensor]) -> None:
    """Replace each parameter's gradient by its sum over ranks; one without a gradient on any rank keeps none."""
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
    """The parameters in order, in lists of at most `BUCKET` elements; a larger parameter has a list of its own."""
    bucket: list[Tensor] = []
    for one in parameters:
        if bucket and sum(other.numel() for other in bucket) + one.numel() > BUCKET:
            yield bucket
            bucket = []
        bucket.append(one)
    if bucket:
        yield bucket
