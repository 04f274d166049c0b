"""Files and folders that are either whole or not there, whenever the process or the machine stops.

A file is written beside its place, synced and renamed over it; a folder is filled beside its place and
renamed. What a crash leaves has a name that starts with a dot: no listing shows it, and `clean` removes it.
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
    """Turns an `OSError` of the block into a `RunError` that names `path`, the cause and the remedy."""
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
    """Replaces `path` by `data` in one step. Raises `RunError` when it cannot be written."""
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
    """Replaces `path` by `text` in UTF-8 in one step, what UTF-8 has no bytes for escaped.

    Raises `RunError` when it cannot be written.
    """
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Replaces `path` by `value` as indented JSON in one step; NaN and infinities become null."""
    write_text(path, json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def finite(value: Any) -> Any:
    """`value` with every NaN and infinity replaced by None: JSON has no word for them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [finite(below) for below in value]
    return value


@contextmanager
def atomic_dir(final: Path) -> Iterator[Path]:
    """A new empty folder to fill; when the block ends it is synced and becomes `final`, replacing one there.

    When the block raises, the folder is removed and `final` stays as it was. Raises `RunError` when it cannot
    be written.
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
    """Removes a folder so that no listing ever sees part of it."""
    aside = _hidden(path)
    with naming(path):
        path.rename(aside)
        _sync(path.parent)
        shutil.rmtree(aside)


def clean(folder: Path) -> None:
    """Removes what a crash left in `folder`, and puts back a folder whose replacement did not arrive.

    Only the process that owns the run may call it: another's unfinished writes look the same.
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
