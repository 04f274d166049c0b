"""Files that only save time, in the cache folder of the platform: what is damaged, old or missing is made again."""

from __future__ import annotations

import hashlib
import os
import sys
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

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
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("xb") as file:
            with pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError:
        with suppress(OSError):
            aside.unlink()


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
