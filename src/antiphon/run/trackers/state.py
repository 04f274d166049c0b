"""What a tracker keeps in the run folder, so that a resumed run goes on under the same id and repeats nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from antiphon.errors import RunError
from antiphon.runs import atomic

NOTES = 200
"""Notes kept, the newest ones."""


@dataclass
class TrackerState:
    """`trackers/NAME.json` of a run folder."""

    path: Path
    id: str | None = None
    """The library's own id of the run."""
    last: dict[str, int] = field(default_factory=dict)
    """The last step that was sent, of each kind: `step`, `gate`, `eval/SET`."""
    notes: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> TrackerState:
        """The state at `path`, which is empty where there is none. Raises `RunError` when it is damaged."""
        if path.parent.is_dir():
            atomic.clean(path.parent)
        if not path.exists():
            return cls(path)
        try:
            kept: Mapping[str, Any] = json.loads(path.read_bytes())
            return cls(path, **kept)
        except (ValueError, TypeError) as error:
            raise RunError(f"cannot read {path}: {error}; remove it to start over under a new id") from error

    def advance(self, kind: str, step: int) -> bool:
        """Whether `step` is new among those of its kind; from now on it is not."""
        if step <= self.last.get(kind, -1):
            return False
        self.last[kind] = step
        self.write()
        return True

    def rewind(self, step: int) -> None:
        """Forget what came after `step`, for a library that forgets it too."""
        self.last = {kind: min(last, step) for kind, last in self.last.items()}

    def note(self, line: str) -> None:
        """Add a note."""
        self.notes = [*self.notes, line][-NOTES:]
        self.write()

    def write(self) -> None:
        """Replace the file, in one step. Raises `RunError` when it cannot be written."""
        self.path.parent.mkdir(exist_ok=True)
        atomic.write_json(self.path, {key: value for key, value in asdict(self).items() if key != "path"})
