"""Atomic writes: files and folders are complete or absent, even after a crash.

A file is written to a temporary name next to its target, synced and renamed; a folder is filled and renamed the same
way. Leftovers of a crash start with a dot: no listing shows them, and `clean` removes them.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from antiphon.errors import RunError

_OLD = ".replaced"
_LEFTOVER = re.compile(rf"\..+(\.[0-9a-f]{{8}}|{re.escape(_OLD)})")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn an `OSError` in the block into a `RunError` with `path`, the cause and the remedy."""
    try:
        yield
    except RunError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(
            f"cannot write {path}: {reason}; check that its folder is a folder, is writable and has space"
        ) from error


def write_bytes(path: Path, data: bytes) -> None:
    """Atomically replace `path` by `data`. Raises `RunError` if it cannot be written."""
    aside = _hidden(path)
    with naming(path):
        try:
            with aside.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        _sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """Atomically replace `path` by `text` in UTF-8, escaping what UTF-8 cannot encode.

    Raises `RunError` if it cannot be written.
    """
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Atomically replace `path` by `value` as indented JSON; NaN and infinities become null."""
    write_text(path, json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def finite(value: Any) -> Any:
    """`value` with NaN and infinities replaced by None, as JSON cannot represent them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [finite(below) for below in value]
    return value


@contextmanager
def atomic_dir(final: Path) -> Iterator[Path]:
    """Yields a new folder to fill; at the end of the block it is synced and replaces `final`.

    If the block raises, the new folder is removed and `final` is unchanged. Raises `RunError` if it cannot be
    written.
    """
    aside = _hidden(final)
    try:
        with naming(final):
            aside.mkdir()
        yield aside
        with naming(final):
            for folder, _, files in os.walk(aside):
                for name in files:
                    _sync(Path(folder) / name)
                _sync(Path(folder))
            _replace_dir(aside, final)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def remove_dir(path: Path) -> None:
    """Remove a folder so that no listing ever sees part of it."""
    aside = _hidden(path)
    with naming(path):
        path.rename(aside)
        _sync(path.parent)
        shutil.rmtree(aside)


def clean(folder: Path) -> None:
    """Remove leftovers of a crash in `folder`, and restore a folder whose replacement was not completed.

    Only the process that owns the run may call it: other processes' unfinished writes look the same.
    """
    if not folder.is_dir():
        return
    with naming(folder):
        for old in folder.glob(f".*{_OLD}"):
            place = folder / old.name[1 : -len(_OLD)]
            if not place.exists():
                old.rename(place)
        for left in folder.iterdir():
            if not _LEFTOVER.fullmatch(left.name):
                continue
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()


def _hidden(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")


def _replace_dir(aside: Path, final: Path) -> None:
    old = final.with_name(f".{final.name}{_OLD}")
    if final.exists():
        shutil.rmtree(old, ignore_errors=True)
        final.rename(old)
    aside.rename(final)
    _sync(final.parent)
    if old.exists():
        shutil.rmtree(old)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
