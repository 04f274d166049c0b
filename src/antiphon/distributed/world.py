"""Data parallel training: one rank per process, over torch.distributed.

Ranks come from torchrun's environment variables. A single process is a world of size 1, in which every sum, gather and
broadcast returns its input: nothing is copied and no collective runs.

torch.distributed pickles the Python objects sent here. They come from processes of one job, which trust each other.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import count
from typing import Any, TypeVar

import torch
from torch import Tensor

from antiphon.distributed import environment
from antiphon.distributed.failure import Failure
from antiphon.errors import ConfigError, RankError

T = TypeVar("T")

COLLECTIVE_TIMEOUT = timedelta(hours=2)
"""How long a rank waits for the slowest one, which may be sampling long answers or waiting for a reward."""
_WORLD_NUMBER = count()
"""Numbers the worlds of this process: a script may train several models in turn."""


class World:
    """This process's rank in a job, and the collectives between ranks.

    All methods but `share` and `fail` are collective: every rank must call them, in the same order.
    """

    def __init__(self, rank: int = 0, size: int = 1, store: Any = None) -> None:
        """`store` is torch.distributed's, through which ranks report failures; see `from_environment`."""
        self.rank, self.size = rank, size
        self._failure = None if store is None else Failure(store, rank)

    @classmethod
    def from_environment(cls, device: torch.device) -> World:
        """The world of torchrun's RANK, WORLD_SIZE and MASTER_* variables; of size 1 without them.

        Waits for all ranks. CPU tensors and Python objects go through gloo, GPU tensors through NCCL. Raises
        `ConfigError` if WORLD_SIZE is above 1 and another variable is missing.
        """
        if environment.size() == 1:
            return cls()
        import torch.distributed as dist
        from torch.distributed.distributed_c10d import PrefixStore
        from torch.distributed.rendezvous import rendezvous

        missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
        if missing:
            raise ConfigError(
                f"WORLD_SIZE={os.environ['WORLD_SIZE']} in the environment, but no {missing[0]}; start the ranks with "
                "torchrun --nproc-per-node N -m antiphon train ..., or unset WORLD_SIZE"
            )
        backend = "gloo"
        if device.type == "cuda":
            torch.cuda.set_device(device)
            backend = "cpu:gloo,cuda:nccl"
        store, rank, size = next(iter(rendezvous("env://")))
        store = PrefixStore(f"antiphon/{next(_WORLD_NUMBER)}", store)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=COLLECTIVE_TIMEOUT)
        return cls(rank, size, store)

    @property
    def is_main(self) -> bool:
        """Whether this rank writes files and messages: rank 0."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This rank's contiguous part of `items`. Parts are as even as possible; the last ones may be empty."""
        start, stop = (-(-len(items) * rank // self.size) for rank in (self.rank, self.rank + 1))
        return items[start:stop]

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of `tensor` over ranks, which have the same shape and dtype."""
        return self._reduced(tensor, "SUM")

    def max(self, tensor: Tensor) -> Tensor:
        """The elementwise maximum of `tensor` over ranks."""
        return self._reduced(tensor, "MAX")

    def sum_metrics(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """The sum of each metric over ranks; a rank without it adds nothing."""
        if self.size == 1:
            return dict(metrics)
        ranks = self.gather(dict(metrics))
        names = dict.fromkeys(name for one in ranks for name in one)
        return {name: sum(one[name] for one in ranks if name in one) for name in names}

    def gather(self, value: T) -> list[T]:
        """Every rank's `value`, in rank order."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        values: list[Any] = [None] * self.size
        self._call(lambda: dist.all_gather_object(values, value))
        return values

    def gather_at_main(self, value: T) -> list[T] | None:
        """Every rank's `value`, in rank order, on rank 0; None on the others."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        values: list[Any] | None = [None] * self.size if self.is_main else None
        self._call(lambda: dist.gather_object(value, values))
        return values

    def from_main(self, make: Callable[[], T]) -> T:
        """Rank 0's `make()`, broadcast to all ranks; the others do not call it."""
        if self.size == 1:
            return make()
        import torch.distributed as dist

        values: list[Any] = [make() if self.is_main else None]
        self._call(lambda: dist.broadcast_object_list(values))
        return values[0]

    @contextlib.contextmanager
    def failing_together(self) -> Iterator[None]:
        """Within the block, an error on one rank ends all ranks (see `fail`)."""
        try:
            yield
        except BaseException as error:
            first = self.fail(error)
            if first is error:
                raise
            raise first from error

    def fail(self, error: BaseException) -> BaseException:
        """End the job on every rank, and return the error to raise on this one.

        On the first rank to fail this is `error`, with a note that names the rank. The other ranks get an error from
        the method they wait in; theirs is a `RankError` with the first rank's message.
        """
        return error if self._failure is None else self._failure.agree(error)

    def part(self) -> bool:
        """Call after `fail`, once this rank has recorded the error. Returns whether rank 0 did (see `Failure`)."""
        failure, self._failure = self._failure, None
        return failure is None or failure.part()

    def close(self) -> None:
        """Leave the job once every rank is done."""
        if self.size > 1:
            import torch.distributed as dist

            self._call(dist.barrier)
            dist.destroy_process_group()
            self._failure = None

    def _reduced(self, tensor: Tensor, operation: str) -> Tensor:
        if self.size == 1:
            return tensor
        import torch.distributed as dist

        reduced = tensor.detach().clone().contiguous()
        self._call(lambda: dist.all_reduce(reduced, getattr(dist.ReduceOp, operation)))
        return reduced

    def _call(self, collective: Callable[[], Any]) -> None:
        """Run a collective. Raises `RankError` with the failed rank's message instead of torch.distributed's error."""
        try:
            collective()
        except RuntimeError as error:
            first = self._failure and self._failure.first_error()
            raise RankError(
                first or f"a rank ended without a message ({_first_line(error)}); see its output"
            ) from error


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0]
