"""This process's rank and world size, from torchrun's environment variables; rank 0 of 1 without torchrun."""

from __future__ import annotations

import os


def size() -> int:
    """World size: the number of ranks of the job."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def rank() -> int:
    """This process's rank in the job."""
    return _variable("RANK", 0)


def local_rank() -> int:
    """This process's rank on its machine."""
    return _variable("LOCAL_RANK", 0)


def local_size() -> int:
    """Number of ranks on this machine."""
    return _variable("LOCAL_WORLD_SIZE", 1)


def _variable(name: str, alone: int) -> int:
    return int(os.environ.get(name) or alone) if size() > 1 else alone
