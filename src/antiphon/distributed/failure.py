"""How an error on one rank becomes the error of all, and who leaves when."""

from __future__ import annotations

import contextlib
import threading
import time
from datetime import timedelta
from typing import Any

from antiphon.errors import RankError

FAREWELL = timedelta(seconds=5)
"""How long ranks wait for each other at a failure."""
_FIRST, _NOTED = "failure", "noted"


class Failure:
    """One rank's side of it, by the store that all ranks share.

    The first to fail says why in the store and leaves the process group, so that whoever waits for it gets an error at
    once. torchrun ends all ranks when one has exited: so the first waits until rank 0 has noted the error in the run
    folder, and the others stay until the first has printed it.
    """

    def __init__(self, store: Any, rank: int) -> None:
        self._store, self._rank = store, rank
        self._told: bool | None = None

    def said(self) -> str | None:
        """What the first rank to fail said, if one has."""
        with contextlib.suppress(Exception):
            if self._store.check([_FIRST]):
                return self._store.get(_FIRST).decode()
        return None

    def agree(self, error: BaseException) -> BaseException:
        """See `World.fail`. An error that was agreed on stays as it is."""
        if self._told is not None:
            return error
        mine = f"rank {self._rank}: {type(error).__name__}: {error}"
        first = mine
        with contextlib.suppress(Exception):
            first = self._store.compare_set(_FIRST, "", mine).decode()
        # In a thread, for NCCL may itself wait for what is lost.
        leaving = threading.Thread(target=_leave_group, daemon=True)
        leaving.start()
        leaving.join(FAREWELL.total_seconds())
        self._told = first != mine and not isinstance(error, KeyboardInterrupt)
        if self._told:
            return RankError(first)
        error.add_note(f"on rank {self._rank}")
        return error

    def part(self) -> bool:
        """See `World.part`. Does not wait where nothing failed."""
        noted = True
        if self._told is None:
            return noted
        try:
            self._store.set(_NOTED, "") if self._rank == 0 else self._store.wait([_NOTED], FAREWELL)
        except Exception:
            noted = False
        if self._told:
            time.sleep(FAREWELL.total_seconds())
        return noted


def _leave_group() -> None:
    import torch.distributed as dist

    with contextlib.suppress(Exception):
        dist.destroy_process_group()
