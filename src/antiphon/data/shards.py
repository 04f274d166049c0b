"""The files of a set that is a file, a folder or a pattern."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from antiphon.audio.embedded import Embedded
from antiphon.data.fields import fields_inside, require_one
from antiphon.data.rows import Line, ReadOptions, Row, place
from antiphon.errors import DataError

_SPLIT = re.compile(r"(?:^|[-_./])(train(?:ing)?|test(?:ing)?|valid(?:ation)?|dev|eval(?:uation)?)(?=[-_./\d]|$)")
_WILD = re.compile(r"[*?\[]")
_PATTERN = re.compile(r"[*?\[{]")


def matching(spec: str, ours: Callable[[Path], bool]) -> list[Path]:
    """The files that `spec` names, if they are `ours`: itself, a folder's at any depth, or those of a pattern.

    Empty if it names none, or if one that a pattern matches is not ours.
    """
    path = Path(spec)
    if path.is_dir():
        found = (one for one in path.rglob("*") if ours(one) and one.is_file())
        return sorted(one for one in found if not any(part.startswith(".") for part in one.relative_to(path).parts))
    if _WILD.search(spec) and not path.exists():
        anchor = Path(path.anchor)
        found = sorted(anchor.glob(str(path.relative_to(anchor))))
        return found if all(map(ours, found)) else []
    return [path] if ours(path) else []


def name_of(spec: str, files: Sequence[Path]) -> str:
    """The name of a set of several files in reports: its folder's; a file's stem."""
    if len(files) == 1 and not Path(spec).is_dir():
        return files[0].name.partition(".")[0]
    return Path(spec).name if Path(spec).is_dir() else Path(_PATTERN.split(spec)[0] + "x").parent.name


def require_one_split(spec: str, files: Sequence[Path]) -> None:
    """Raise `DataError` if the files of a folder are those of several splits, which are different sets."""
    folder = Path(spec)
    if not folder.is_dir():
        return
    splits: dict[str, Path] = {}
    for file in files:
        if found := _SPLIT.findall(file.relative_to(folder).as_posix().lower()):
            splits.setdefault(found[-1], file)
    if len(splits) > 1:
        name, one = next(iter(splits.items()))
        pattern = one.parent if one.parent != folder else folder / f"*{name}*"
        raise DataError(f"{folder} holds the splits {', '.join(splits)}; name one of them, as {pattern}")


def inside(values: Mapping[str, Any], options: ReadOptions, line: Line, folder: Path | str, spec: str) -> Row:
    """A row of a file that holds its recordings, or paths of them. Raises `DataError` if two columns could be its text.

    A recording inside is told from others by the row's place, wherever the set is.
    """
    audio = next((key for key, value in values.items() if isinstance(value, Embedded)), None)
    if audio is None:
        return Row(line, values, folder)
    keys = fields_inside(values, options.columns, audio)
    require_one(values, keys, options.columns, f"{spec}, {place(line)}")
    return Row(line, values, folder, keys, place(line))
