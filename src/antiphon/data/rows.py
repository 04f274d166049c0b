"""Rows of a data set: what readers yield, before they become examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from antiphon.errors import DataError
from antiphon.types import Example

FIELDS = ("audio", "text", "id", "task", "begin_time", "end_time", "duration", "language", "speaker")
"""The fields that we know; all other columns go to `Example.columns`, and `duration` too."""
OWN_KEYS = {name: name for name in FIELDS}
"""`Row.keys` for rows that use our field names, regardless of `data.columns`."""

Line = int | str
"""A row's position: its line, from 1; or text such as "row 7" for sets without lines."""


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How to read a set."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Map of our fields to the set's keys, where they differ: {"audio": "wav"}."""
    task: str = "asr"
    """The task of rows that do not name one."""
    limit: int | None = None
    """Read the first rows only."""
    text_required: bool = True
    """Whether a row must have a text; False for audio that is still to be transcribed."""
    format: str | None = None
    """The reader, a name or `file.py:name`; default: the one that claims the set."""
    channel: int | str | None = None
    """The channel of recordings that is heard, from 0; "mix" for the mean of all, "split" for a row for each."""
    end_slack: float = 0.5
    """Seconds by which a segment may pass the end of its file, where it is cut."""
    own_name: str | None = None
    """The set's name in the ids of its examples; default: its folder's and its own."""


@dataclass(frozen=True)
class Row:
    """A row as read, before validation."""

    line: Line
    values: Mapping[str, Any]
    """Values by the set's own keys. `audio` is a path, data URI, `Embedded` or `Clip`, alone or in a list of one."""
    folder: Path | str = Path()
    """Relative paths in the row are relative to this folder, or to this URL."""
    keys: Mapping[str, str] | None = None
    """Map of `FIELDS` to keys; None for those that `fields.fields_of` finds."""
    name: str | None = None
    """What tells a row without an id from others of its set, such as "row 7"; by default its recording and segment."""


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used, and why."""

    line: Line | None
    """None if the example was not read from a set."""
    id: str | None
    reason: str
    number: int = field(default=0, compare=False, repr=False)
    """Row number in the set, from 0."""
    repeats: bool = field(default=False, compare=False, repr=False)
    """Whether its only fault is that an earlier row has the same id."""

    def __str__(self) -> str:
        name = "" if self.id is None else f"example {self.id}"
        if self.line is not None:
            name = place(self.line) + (f" ({name})" if name else "")
        return f"{name}: {self.reason}"


@dataclass
class Rows:
    """The content of a set: usable examples and bad rows."""

    spec: str
    examples: Sequence[Example] = ()
    lines: Sequence[Line] = ()
    """Position of each example."""
    numbers: Sequence[int] = ()
    """Row number of each example, from 0, counting bad rows too."""
    bad: list[BadRow] = field(default_factory=list)
    """In row order."""
    columns: dict[str, str] = field(default_factory=dict)
    """Which column served which field; where rows differ, all of them: "text or sentence"."""
    format: str = ""
    """The reader that read it."""

    def all_bad(self, further: Sequence[BadRow] = ()) -> list[BadRow]:
        """`bad` plus `further` rows that turned out to be bad later, in row order."""
        return sorted([*self.bad, *further], key=lambda row: row.number)

    def require_good(self) -> Rows:
        """Return self. Raises `DataError` if any row is bad, listing the first ones, or if there are no rows."""
        if self.bad:
            raise DataError(
                describe_bad(self.bad, self.spec, len(self.bad) + len(self.examples))
                + f"\nCorrect or remove them; `antiphon data check {self.spec}` lists them all."
            )
        if not self.examples:
            raise DataError(f"{self.spec}: the set has no rows; add at least one")
        return self


def place(line: Line) -> str:
    """A row's position as text."""
    return f"line {line}" if isinstance(line, int) else line


def describe_bad(bad: Sequence[BadRow], source: str, total: int, shown: int = 5, what: str = "be used") -> str:
    """A summary line and the first `shown` bad rows, one per line."""
    lines = [f"{source}: {len(bad)} of {total} row(s) cannot {what}:", *(f"  {row}" for row in bad[:shown])]
    if len(bad) > shown:
        lines.append(f"  ... and {len(bad) - shown} more")
    return "\n".join(lines)
