"""What the model said and what it earned: one Parquet file a step, one row a completion."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from antiphon.runs import atomic

ROW_GROUP = 4096
"""Rows that have to be read to see one of them."""

SCHEMA = pa.schema(
    [
        ("step", pa.int64()),
        ("example_id", pa.string()),
        ("sample", pa.int32()),
        ("prompt", pa.string()),
        ("reference", pa.string()),
        ("text", pa.string()),
        ("token_ids", pa.list_(pa.int32())),
        ("width", pa.int32()),
        ("tokens", pa.list_(pa.string())),
        ("logprobs", pa.list_(pa.float32())),
        ("reward", pa.float64()),
        ("advantages", pa.list_(pa.float32())),
        ("finish_reason", pa.string()),
        ("audio", pa.string()),
        ("answer_audio", pa.string()),
        ("columns", pa.string()),
    ]
)


@dataclass(frozen=True)
class RolloutRow:
    """One completion of a step."""

    step: int
    example_id: str
    sample: int
    """Index within its group."""
    prompt: str
    """The context given in words; empty where there is none."""
    reference: str
    text: str
    """The completion's text as the task reads it."""
    token_ids: Sequence[int]
    """[T], as sampled; [T·K], position by position, where `width` K > 1."""
    logprobs: Sequence[float]
    """[T], of the distribution sampled from."""
    reward: float | None
    advantages: Sequence[float]
    """One for each log-probability: what the loss weighed it by; zeros where the group was constant."""
    finish_reason: str
    width: int = 1
    """K, the ids of one position: 1 for text, the codebooks of a frame for audio."""
    tokens: Sequence[str] = ()
    """[T], what each token wrote; empty where the whole sequence is one action."""
    audio: str | None = None
    """Copy in the run folder (`audio/NAME.flac`) or the clip's source."""
    answer_audio: str | None = None
    """Copy in the run folder of an answer that is audio."""
    reward_parts: Mapping[str, float] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)
    """Further columns of the example."""


def write_rollouts(path: Path, rows: Sequence[RolloutRow]) -> None:
    """Replaces `path` by `rows` in one step.

    A reward part becomes the column `reward_<part>`, null where absent. There is a column `width` where a completion
    has positions of several ids, and `answer_audio` where an answer was copied. Raises `RunError` when that fails.
    """
    parts = sorted({part for row in rows for part in row.reward_parts})
    table = pa.Table.from_pylist([_record(row) for row in rows], schema=SCHEMA)
    if all(row.width == 1 for row in rows):
        table = table.drop_columns(["width"])
    if all(row.answer_audio is None for row in rows):
        table = table.drop_columns(["answer_audio"])
    place = table.schema.get_field_index("reward") + 1
    for offset, part in enumerate(parts):
        values = pa.array([row.reward_parts.get(part) for row in rows], pa.float64())
        table = table.add_column(place + offset, f"reward_{part}", values)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", row_group_size=ROW_GROUP)
    atomic.write_bytes(path, buffer.getvalue())


def _record(row: RolloutRow) -> dict[str, Any]:
    record = {name: getattr(row, name) for name in SCHEMA.names}
    return record | {"columns": json.dumps(dict(row.columns), ensure_ascii=False, default=str)}
