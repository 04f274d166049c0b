"""What was read of a file, for as long as the file stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

from cachetools import LRUCache

T = TypeVar("T")
Stamp = tuple[int, int, int]


def stamp(path: Path) -> Stamp | None:
    """Inode, time of change in ns and size: another one for a file that was replaced or added to. None: no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


class Cached(Generic[T]):
    """`read(path)` of files and folders, again only where the stamp is another; the last `keep` paths are kept.

    An exception that `read` raises is not kept.
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
