"""A cache of parsed files, valid while the file is unchanged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

from cachetools import LRUCache

T = TypeVar("T")
Stamp = tuple[int, int, int]


def stamp(path: Path) -> Stamp | None:
    """Inode, modification time in ns and size; different after a file is replaced or appended to. None: no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


class Cached(Generic[T]):
    """Cache `read(path)` of files and folders until their stamp changes, for the last `keep` paths.

    Exceptions of `read` are not cached.
    """

    def __init__(self, read: Callable[[Path], T], keep: int = 4096) -> None:
        self._read = read
        self._kept: LRUCache[Path, tuple[Stamp | None, T]] = LRUCache(keep)
        self._lock = Lock()

    def __call__(self, path: Path) -> T:
        now = stamp(path)
        with self._lock:
            found = self._kept.get(path)
            if found is not None and found[0] == now:
                return found[1]
        value = self._read(path)
        with self._lock:
            self._kept[path] = (now, value)
        return value
