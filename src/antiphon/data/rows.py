"""The rows of a data set between its reader and its examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from antiphon.errors import DataError
from antiphon.types import Example

FIELDS = ("audio", "text", "id", "task", "begin_time", "end_time", "language", "speaker")
"""The fields that a row may have for us; all others are kept in `Example.columns`."""
OWN_KEYS = {name: name for name in FIELDS}
"""For rows that call our fields as we do, whatever `data.columns` says of other sets."""

Line = int | str
"""Where a row is: its line, from 1; or in words, such as "row 7", where its set has no lines."""


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How a set is to be read."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Which key holds a field of ours, where it has another name: {"audio": "wav"}."""
    task: str = "asr"
    """Of rows that name none."""
    limit: int | None = None
    """The first rows alone."""
    text_required: bool = True
    """Without it a row may leave its text out, as audio that is yet to be transcribed does."""
    format: str | None = None
    """The reader, by its name or `file.py:name`; by default the one that claims the set."""


@dataclass(frozen=True)
class Row:
    """A row as its reader found it."""

    line: Line
    values: Mapping[str, Any]
    """By the keys of its set. `audio` is a path, a data URI, an `Embedded` or a `Clip`, alone or as a list of one."""
    folder: Path = Path()
    """What a relative path in it is relative to."""
    keys: Mapping[str, str] | None = None
    """Which key holds which of `FIELDS`; None for their own names and `data.columns`."""


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used, and why."""

    line: Line | None
    """None when the example did not come from a set that was read."""
    id: str | None
    reason: str

    def __str__(self) -> str:
        name = "" if self.id is None else f"example {self.id}"
        if self.line is not None:
            name = place(self.line) + (f" ({name})" if name else "")
        return f"{name}: {self.reason}"


@dataclass
class Rows:
    """What a set holds: the rows that can be used, and those that cannot."""

    spec: str
    examples: list[Example] = field(default_factory=list)
    lines: dict[str, Line] = field(default_factory=dict)
    """Where each example is, by its id."""
    bad: list[BadRow] = field(default_factory=list)
    order: dict[Line, int] = field(default_factory=dict)
    """Which row, from 0, each line is, bad ones included."""

    def all_bad(self, further: Sequence[BadRow] = ()) -> list[BadRow]:
        """`bad` and those that turned out to be bad later, in the order of the rows."""
        return sorted([*self.bad, *further], key=lambda row: -1 if row.line is None else self.order[row.line])

    def require_good(self) -> Rows:
        """Itself, unless a row is bad or there are none: then `DataError`, which lists the first bad rows."""
        if self.bad:
            raise DataError(
                describe_bad(self.bad, self.spec, len(self.bad) + len(self.examples))
                + f"\nCorrect or remove them; `antiphon data check {self.spec}` lists them all."
            )
        if not self.examples:
            raise DataError(f"{self.spec}: the set has no rows; add at least one")
        return self


def place(line: Line) -> str:
    """In words."""
    return f"line {line}" if isinstance(line, int) else line


def describe_bad(bad: Sequence[BadRow], source: str, total: int, shown: int = 5) -> str:
    """One sentence and the first `shown` bad rows, a line each."""
    lines = [f"{source}: {len(bad)} of {total} row(s) cannot be used:", *(f"  {row}" for row in bad[:shown])]
    if len(bad) > shown:
        lines.append(f"  ... and {len(bad) - shown} more")
    return "\n".join(lines)
