"""What torchrun says of this process in the environment. Without torchrun it is alone."""

from __future__ import annotations

import os


def size() -> int:
    """Ranks of the job."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def rank() -> int:
    """Which of them this process is."""
    return _of_several("RANK", 0)


def local_rank() -> int:
    """Which of the ranks on this machine this process is."""
    return _of_several("LOCAL_RANK", 0)


def local_size() -> int:
    """Ranks on this machine."""
    return _of_several("LOCAL_WORLD_SIZE", 1)


def _of_several(name: str, alone: int) -> int:
    return int(os.environ.get(name) or alone) if size() > 1 else alone
