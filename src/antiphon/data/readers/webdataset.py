"""WebDataset shards: tar files in which the members of a sample share a name up to the first dot."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from antiphon.audio.embedded import Embedded
from antiphon.data.content import require
from antiphon.data.rows import BadRow, ReadOptions, Row
from antiphon.data.shards import inside, matching, name_of, require_one_split
from antiphon.data.values import kind
from antiphon.errors import AudioError, DataError, MissingExtraError

AUDIO = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".mp4", ".webm", ".wma", ".amr", ".sph")
"""Endings of recordings."""
TEXTS = {".txt": "text", ".text": "text", ".transcript": "text", ".cls": "label", ".lang": "language"}
"""Endings of texts, and the fields that they are."""
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_BLOCK = 512


def claims(spec: str) -> bool:
    return ("{" in spec and spec.endswith(".tar")) or bool(_found(spec))


def set_name(spec: str) -> str:
    return name_of(spec, [] if "{" in spec else _found(spec))


def read(spec: str, options: ReadOptions) -> Iterator[Row | BadRow]:
    """Read the samples of a shard, of a folder's shards, or of those of a pattern, `*` or braces: `{00..07}.tar`.

    A sample's recording is the member with an ending in `AUDIO`, and stays in its shard until it is needed. `.json`
    has further fields, `.txt` the text, `.cls` the label, which is the text where there is no other. Members of other
    kinds are not read.

    Raises `DataError` if a shard is missing, compressed or damaged, or a folder holds several splits.
    """
    require(spec, "webdataset")
    files = _shards(spec)
    require_one_split(spec, files)
    for file in files:
        if file.name.endswith(_COMPRESSED):
            raise DataError(f"{file}: shards are read where they lie, which a compressed one does not allow; unpack it")
        for row in _samples(file, "" if len(files) == 1 else f"{file.name}, ", options.columns.get("audio")):
            bad = isinstance(row, BadRow)
            yield row if bad else inside(row.values, options, row.line, file.parent, spec)


def _found(spec: str) -> list[Path]:
    return matching(spec, lambda path: path.name.endswith((".tar", *_COMPRESSED)))


def _shards(spec: str) -> list[Path]:
    if "{" not in spec:
        return _found(spec) or [Path(spec)]
    try:
        from webdataset.shardlists import expand_urls
    except ImportError as error:
        raise MissingExtraError(f"reading {spec}", "webdataset", "webdataset") from error
    return [Path(one) for one in expand_urls(spec)]


def _samples(shard: Path, prefix: str, audio: str | None) -> Iterator[Row | BadRow]:
    try:
        with tarfile.open(shard, "r:") as archive:
            key, members = "", {}
            for member in archive:
                if not member.isfile():
                    continue
                stem, ending = _split(member.name)
                if stem != key:
                    if members:
                        yield _row(shard, prefix, key, members, audio)
                    key, members = stem, {}
                members.setdefault(ending, []).append(_member(archive, member, ending))
            if members:
                yield _row(shard, prefix, key, members, audio)
        _require_end(shard)
    except (tarfile.TarError, OSError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{shard}: cannot be read as a tar file ({cause}); copy it again") from error


def _split(name: str) -> tuple[str, str]:
    """A member's name up to the first dot of its last part, which is its sample's key, and the rest from that dot."""
    path = PurePosixPath(name)
    stem, dot, ending = path.name.partition(".")
    return str(path.with_name(stem)) if stem else name, dot + ending.lower()


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo, ending: str) -> tuple[int, int] | bytes:
    """Where a member lies, its offset and size; the content of one that is text."""
    if _last(ending) in TEXTS or _last(ending) == ".json":
        file = archive.extractfile(member)
        return file.read() if file else b""
    return member.offset_data, member.size


def _row(
    shard: Path, prefix: str, key: str, members: dict[str, list[tuple[int, int] | bytes]], audio: str | None
) -> Row | BadRow:
    place = f"{prefix}sample {key}"
    if doubled := [ending for ending, found in members.items() if len(found) > 1]:
        return BadRow(place, None, f"{len(members[doubled[0]])} members are called {key}{doubled[0]}; rename one")
    recordings = [ending for ending in members if _last(ending) in AUDIO]
    if audio and f".{audio.lower().lstrip('.')}" in members:
        recordings = [f".{audio.lower().lstrip('.')}"]
    if len(recordings) > 1:
        named = ", ".join(recordings)
        return BadRow(
            place, None, f"the sample has the recordings {named}; choose one: --columns audio={recordings[0]}"
        )
    values: dict[str, Any] = {"__key__": key}
    for ending, (content,) in members.items():
        if not isinstance(content, bytes):
            continue
        try:
            values |= _values(ending, content)
        except ValueError as error:
            return BadRow(place, None, f"{key}{ending} cannot be read ({error}); write it in UTF-8")
    if "label" in values:
        values.setdefault("text", values["label"])
    for ending in recordings:
        offset, size = members[ending][0]
        name = f"{shard}#{key}"
        values[audio or "audio"] = Embedded(name, partial(_content, str(shard), int(offset), int(size), name))
    return Row(place, values, shard.parent)


def _values(ending: str, content: bytes) -> dict[str, Any]:
    """The fields that a member of text holds."""
    if _last(ending) != ".json":
        return {TEXTS[_last(ending)]: content.decode().strip()}
    found = json.loads(content)
    if not isinstance(found, dict):
        raise ValueError(f"it holds {kind(found)}, not an object")
    return found


def _last(ending: str) -> str:
    return PurePosixPath(f"x{ending}").suffix


def _content(shard: str, offset: int, size: int, name: str) -> bytes:
    """A member's bytes, read where they lie. Raises `AudioError`."""
    try:
        with Path(shard).open("rb") as file:
            file.seek(offset)
            content = file.read(size)
    except OSError as error:
        raise AudioError(f"{name}: the shard cannot be read ({error.strerror}); correct its path") from error
    if len(content) < size:
        raise AudioError(f"{name}: the shard ends {size - len(content)} bytes before the recording does; copy it again")
    return content


def _require_end(shard: Path) -> None:
    """Raise `DataError` if a shard lacks the block of zeros that ends a tar file: it was cut between two members."""
    with shard.open("rb") as file:
        file.seek(max(0, shard.stat().st_size - _BLOCK))
        if any(file.read()):
            raise DataError(f"{shard}: the tar file has no end, so samples may be missing; copy it again")
