"""A run's status: the state that it wrote, and whether its process is still alive."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

State = Literal["starting", "running", "finished", "stopped", "failed", "interrupted"]


def now() -> str:
    """The current UTC time, in ISO 8601 with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


@dataclass(frozen=True)
class Status:
    """The content of `status.json`."""

    state: State
    step: int
    """Steps done."""
    steps: int
    """Steps planned."""
    started: str
    """When the run was created, UTC, ISO 8601."""
    updated: str = field(default_factory=now)
    pid: int = field(default_factory=os.getpid)
    host: str = field(default_factory=socket.gethostname)
    error: str | None = None
    """Why the run failed."""
    reason: str | None = None
    """Why the run was stopped."""

    @property
    def seen_state(self) -> State | Literal["killed"]:
        """The state to show: "killed" if the process ended without writing a final state."""
        busy = self.state in ("starting", "running")
        return "killed" if busy and self.host == socket.gethostname() and not _alive(self.pid) else self.state


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _zombie(pid)


def _zombie(pid: int) -> bool:
    """Whether the process is a zombie, ended but not yet reaped; detected on Linux only."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] == "Z"
