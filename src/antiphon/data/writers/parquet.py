"""Parquet files with the recordings inside, as `datasets` writes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from antiphon.data.export import Out, encoded, fields
from antiphon.types import Example

_STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string()})
_GROUP = 100
"""Rows of a row group, as `datasets` has them for audio: a reader gets at a recording through its row group."""


def write(examples: Iterable[Example], out: Out) -> str:
    """Write `NAME.parquet`, whose column `audio` `datasets` reads as its type `Audio`."""
    name = f"{out.name}.parquet"
    found = list(examples)
    schema = _schema(found)
    with pq.ParquetWriter(out.folder / name, schema) as writer:
        for start in range(0, len(found), _GROUP):
            writer.write_table(pa.Table.from_pylist(list(_rows(found[start : start + _GROUP], schema, out)), schema))
    return name


def _schema(examples: Sequence[Example]) -> pa.Schema:
    """Each column's type; a column of values that have no common type holds them as JSON."""
    names = {name: None for example in examples for name in fields(example)}
    types = [(name, _type([fields(example).get(name) for example in examples])) for name in names]
    if not any(example.clip for example in examples):
        return pa.schema(types)
    audio = {"info": {"features": {"audio": {"_type": "Audio"}}}}
    return pa.schema([("audio", _STRUCT), *types], {"huggingface": json.dumps(audio)})


def _type(values: list[Any]) -> pa.DataType:
    try:
        found = pa.array(values).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.string()
    return pa.string() if pa.types.is_struct(found) or pa.types.is_null(found) else found


def _rows(examples: Sequence[Example], schema: pa.Schema, out: Out) -> Iterator[dict[str, Any]]:
    for example in examples:
        row = fields(example)
        for name, value in row.items():
            if pa.types.is_string(schema.field(name).type) and not isinstance(value, str):
                row[name] = json.dumps(value, ensure_ascii=False)
        if example.clip is not None:
            content, ending = encoded(example.clip)
            row["audio"] = {"bytes": content, "path": f"{out.safe(example.id)}{ending}"}
        yield row
