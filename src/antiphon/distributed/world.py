"""The processes that train one model together: data parallel, a rank each, over torch.distributed.

`torchrun` says in the environment who is who. One process is a world of size 1, in which every sum, gather and
broadcast is what it was given: nothing is copied and no collective runs.

The Python objects that travel here are pickled by torch.distributed. They come from processes of one job, which trust
each other.
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

PATIENCE = timedelta(hours=2)
"""How long a rank waits for the slowest one, which may be sampling long answers or waiting for a reward."""
_NUMBER = count()
"""Of the worlds of this process: a script may train several models one after the other."""


class World:
    """Who this process is among the ranks of a job, and what they tell each other.

    Every rank must call every method but `share` and `fail`, in the same order.
    """

    def __init__(self, rank: int = 0, size: int = 1, store: Any = None) -> None:
        """`store` is torch.distributed's, by which ranks learn of failures; see `from_environment`."""
        self.rank, self.size = rank, size
        self._failure = None if store is None else Failure(store, rank)

    @classmethod
    def from_environment(cls, device: torch.device) -> World:
        """The world that torchrun describes by RANK, WORLD_SIZE and MASTER_*; of size 1 without it.

        Waits for all ranks. Tensors on the CPU and objects go through gloo, those on a GPU through NCCL.
        """
        if environment.size() == 1:
            return cls()
        import torch.distributed as dist
        from torch.distributed.distributed_c10d import PrefixStore
        from torch.distributed.rendezvous import rendezvous

        missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
        if missing:
            raise ConfigError(
                f"WORLD_SIZE={os.environ['WORLD_SIZE']} in the environment, but no {missing[0]}; start the ranks by "
                "torchrun --nproc-per-node N -m antiphon train ..., or unset WORLD_SIZE"
            )
        backend = "gloo"
        if device.type == "cuda":
            torch.cuda.set_device(device)
            backend = "cpu:gloo,cuda:nccl"
        store, rank, size = next(iter(rendezvous("env://")))
        store = PrefixStore(f"antiphon/{next(_NUMBER)}", store)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
        return cls(rank, size, store)

    @property
    def is_main(self) -> bool:
        """Whether this rank writes files and messages: rank 0."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This rank's contiguous part of `items`, parts as even as can be; the last ones may be empty."""
        start, stop = (-(-len(items) * rank // self.size) for rank in (self.rank, self.rank + 1))
        return items[start:stop]

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of every rank's `tensor`, all of one shape and type."""
        return self._reduced(tensor, "SUM")

    def max(self, tensor: Tensor) -> Tensor:
        """The largest of every rank's `tensor`, element by element."""
        return self._reduced(tensor, "MAX")

    def sum_metrics(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """The sum over ranks of each metric; a rank that lacks one adds nothing to it."""
        if self.size == 1:
            return dict(metrics)
        ranks = self.gather(dict(metrics))
        names = dict.fromkeys(name for one in ranks for name in one)
        return {name: sum(one[name] for one in ranks if name in one) for name in names}

    def gather(self, value: T) -> list[T]:
        """Every rank's `value`, in the order of ranks."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        values: list[Any] = [None] * self.size
        self._call(lambda: dist.all_gather_object(values, value))
        return values

    def gather_at_main(self, value: T) -> list[T] | None:
        """Every rank's `value` on rank 0, None on the others."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        values: list[Any] | None = [None] * self.size if self.is_main else None
        self._call(lambda: dist.gather_object(value, values))
        return values

    def from_main(self, make: Callable[[], T]) -> T:
        """What `make` returns on rank 0; the others do not call it."""
        if self.size == 1:
            return make()
        import torch.distributed as dist

        values: list[Any] = [make() if self.is_main else None]
        self._call(lambda: dist.broadcast_object_list(values))
        return values[0]

    @contextlib.contextmanager
    def failing_together(self) -> Iterator[None]:
        """Within the block, an error on one rank ends all of them: see `fail`."""
        try:
            yield
        except BaseException as error:
            said = self.fail(error)
            if said is error:
                raise
            raise said from error

    def fail(self, error: BaseException) -> BaseException:
        """Ends the job on every rank, and returns the error to raise on this one.

        That is `error` where this rank is the first to fail, with a note that names the rank. On the others, which get
        an error from whatever method they wait in, it is a `RankError` of what the first one said.
        """
        return error if self._failure is None else self._failure.agree(error)

    def part(self) -> bool:
        """After `fail` and what this rank has to do about it. Returns whether rank 0 did so, too; see `Failure`."""
        failure, self._failure = self._failure, None
        return failure is None or failure.part()

    def close(self) -> None:
        """Leave the job, after every rank is done."""
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
        """Runs a collective. Raises `RankError` in place of the error that a failed rank leaves the others with."""
        try:
            collective()
        except RuntimeError as error:
            said = self._failure and self._failure.said()
            raise RankError(said or f"a rank ended without a message ({_line(error)}); see its output") from error


def _line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0]
