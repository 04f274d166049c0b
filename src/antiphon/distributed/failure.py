"""How an error on one rank reaches all ranks, and the order in which they exit."""

from __future__ import annotations

import contextlib
import threading
import time
from datetime import timedelta
from typing import Any

from antiphon.errors import RankError

FAILURE_TIMEOUT = timedelta(seconds=5)
"""How long ranks wait for each other after a failure."""
_FIRST, _NOTED = "failure", "noted"


class Failure:
    """Reports failures to the other ranks through their shared store.

    The first rank to fail writes its error to the store and leaves the process group, so that ranks waiting for it get
    an error at once. torchrun ends all ranks when one exits. So the first waits until rank 0 has recorded the error in
    the run folder, and the others stay until the first has printed it.
    """

    def __init__(self, store: Any, rank: int) -> None:
        self._store, self._rank = store, rank
        self._elsewhere: bool | None = None
        """Whether another rank failed first; None before any failure."""

    def first_error(self) -> str | None:
        """The message of the first rank to fail, if one has."""
        with contextlib.suppress(Exception):
            if self._store.check([_FIRST]):
                return self._store.get(_FIRST).decode()
        return None

    def agree(self, error: BaseException) -> BaseException:
        """See `World.fail`. Returns the error of a later call unchanged."""
        if self._elsewhere is not None:
            return error
        mine = f"rank {self._rank}: {type(error).__name__}: {error}"
        first = mine
        with contextlib.suppress(Exception):
            first = self._store.compare_set(_FIRST, "", mine).decode()
        # In a thread, because NCCL may itself wait for the lost ranks.
        leaving = threading.Thread(target=_leave_group, daemon=True)
        leaving.start()
        leaving.join(FAILURE_TIMEOUT.total_seconds())
        self._elsewhere = first != mine and not isinstance(error, KeyboardInterrupt)
        if self._elsewhere:
            return RankError(first)
        error.add_note(f"on rank {self._rank}")
        return error

    def part(self) -> bool:
        """See `World.part`. Returns at once if nothing failed."""
        noted = True
        if self._elsewhere is None:
            return noted
        try:
            self._store.set(_NOTED, "") if self._rank == 0 else self._store.wait([_NOTED], FAILURE_TIMEOUT)
        except Exception:
            noted = False
        if self._elsewhere:
            time.sleep(FAILURE_TIMEOUT.total_seconds())
        return noted


def _leave_group() -> None:
    import torch.distributed as dist

    with contextlib.suppress(Exception):
        dist.destroy_process_group()
