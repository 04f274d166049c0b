"""WeNet's `data.list`: JSON lines with `key`, `wav` and `txt`, or the paths of tar shards, one in each line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from antiphon.data import content
from antiphon.data.files import folder_of, head, lines, recording, root_of
from antiphon.data.readers import jsonl, webdataset
from antiphon.data.rows import BadRow, ReadOptions, Row
from antiphon.errors import DataError


def claims(spec: str) -> bool:
    return Path(spec).suffix == ".list"


def read(spec: str, options: ReadOptions) -> Iterator[Row | BadRow]:
    """Read a list of WeNet's. Paths are relative to its folder, or to the working folder.

    Raises `DataError` if it is neither of the two kinds, and for a shard that cannot be read.
    """
    if head(spec).lstrip().startswith(b"{") or not head(spec):
        yield from jsonl.read(spec, options)
        return
    content.require(spec, "jsonl")
    for line, raw in lines(spec):
        name = raw.decode("utf-8", errors="replace")
        shard = recording(name, root_of(name, folder_of(spec), Path()))
        if not name.endswith((".tar", ".tar.gz", ".tgz")):
            raise DataError(f"{spec}: line {line} is neither a JSON object nor the path of a tar file; correct it")
        for row in webdataset.read(str(shard), options):
            yield replace(row, line=f"{Path(name).name}, {row.line}")
