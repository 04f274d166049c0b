"""Files that only save time, in the cache folder of the platform: what is damaged, old or missing is made again."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa

from antiphon.errors import RunError
from antiphon.runs import atomic

VARIABLE = "ANTIPHON_CACHE"
"""Environment variable that names another cache folder."""


def folder() -> Path:
    """The cache folder: `$ANTIPHON_CACHE`, else `antiphon` in the user's cache folder of this platform."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    if sys.platform == "win32":
        root = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Caches"
    else:
        root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "antiphon"


def digest(*parts: object) -> str:
    """A file name for what depends on `parts`."""
    return hashlib.sha256("\n".join(map(repr, parts)).encode(errors="backslashreplace")).hexdigest()[:32]


def write_table(path: Path, table: pa.Table) -> None:
    """Write `table` atomically as an Arrow IPC file. A folder that cannot be written leaves no file and no error."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=1 << 16)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(path, memoryview(sink.getvalue()))  # pyright: ignore[reportArgumentType]
    except (OSError, RunError):
        return


def read_table(path: Path, schema: pa.Schema) -> tuple[pa.Table, dict[str, Any]] | None:
    """The table of a file and its metadata, mapped into memory; None if it is missing, damaged or of another schema."""
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        table.validate(full=True)
    except (OSError, pa.ArrowException):
        return None
    if not table.schema.equals(schema):
        return None
    return table, {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
