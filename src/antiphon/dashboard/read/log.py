"""Reads the end of a run's log, as much as a page shows, whatever its length."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from antiphon.dashboard.read.reasons import reason
from antiphon.errors import RunError

SHOWN = 256 << 10
"""Bytes read from the end."""
SEARCHED = 8 << 20
"""Bytes searched from the end."""
MOST = 2000
"""Maximum lines shown."""

Level = Literal["bad", "warn", "good", ""]

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?(?:\+00:00|Z)? (.*)", re.DOTALL)
_LEVELS: tuple[tuple[Level, re.Pattern[str]], ...] = (
    ("bad", re.compile(r"\b(failed|traceback|killed)\b|\w(Error|Exception)\b|^error\b", re.IGNORECASE)),
    (
        "warn",
        re.compile(
            r"\b(guard|warning|skipped|dropped|interrupted|stopped|zero reward variance|was learned|in this run)\b",
            re.IGNORECASE,
        ),
    ),
    ("good", re.compile(r"^(finished|resumed)\b", re.IGNORECASE)),
)


@dataclass(frozen=True)
class Line:
    time: str
    """UTC, such as `2026-11-20 14:30:05`; empty for a continuation line."""
    text: str
    level: Level


@dataclass(frozen=True)
class Tail:
    lines: list[Line]
    size: int
    """Size of the whole file, in bytes."""
    cut: bool
    """Whether earlier lines were left out."""


def read_tail(path: Path, words: str = "") -> Tail:
    """The last lines, or with `words` the matching lines of the last 8 MB. Raises `RunError` if unreadable."""
    wanted = SEARCHED if words else SHOWN
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - wanted))
            data = file.read(wanted)
    except FileNotFoundError:
        return Tail([], 0, False)
    except OSError as error:
        raise RunError(f"{path.name} cannot be read: {reason(error)}") from error
    found = data.decode("utf-8", errors="replace").removesuffix("\n").split("\n") if data else []
    cut = size > wanted
    found = found[1:] if cut else found
    if words:
        found = [line for line in found if words.casefold() in line.casefold()]
    return Tail([_line(line) for line in found[-MOST:]], size, cut or len(found) > MOST)


def _line(text: str) -> Line:
    clean = "".join(one if one.isprintable() or one == "\t" else "·" for one in text)
    match = _TIME.fullmatch(clean)
    time, said = (f"{match[1]} {match[2]}", match[3]) if match else ("", clean)
    levels: list[Level] = [level for level, pattern in _LEVELS if pattern.search(said)]
    return Line(time, said, levels[0] if levels else "")
