"""The rollouts of a run, one step at a time: the groups of a step from a few columns, a group's samples from its rows.

A step's file is never read beyond what is shown, so that a run of a million completions opens like a small one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from antiphon.dashboard.read.cache import Cached
from antiphon.errors import RunError
from antiphon.runs.checkpoints import step_name, step_of
from antiphon.runs.rollouts import SCHEMA

ZERO_VARIANCE = 1e-8
"""Rewards that lie no further apart count as equal: their group teaches nothing."""
_SUMMARY = ("example_id", "sample", "reward", "finish_reason")


@dataclass(frozen=True)
class StepOfRun:
    """A step's completions at a glance. Groups are in the order of the file; arrays have one value a group, [P]."""

    path: Path
    start: np.ndarray
    """First row of each group; `stop` is the row after its last."""
    stop: np.ndarray
    example_id: list[str]
    prompt: list[str]
    reference: list[str]
    best: np.ndarray
    """Rewards; NaN in all five arrays where a group has none."""
    worst: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    """Standard deviation of the rewards."""
    failed: np.ndarray
    """Completions without a reward, where others have one."""
    truncated: np.ndarray
    """Completions that the token limit cut off."""
    rewards: np.ndarray
    """[N], of every completion; NaN where there is none."""

    def __len__(self) -> int:
        return len(self.start)

    @property
    def zero_variance(self) -> np.ndarray:
        """Whether all completions of a group earned the same."""
        return self.best - self.worst <= ZERO_VARIANCE

    def rewards_of(self, group: int) -> np.ndarray:
        return self.rewards[self.start[group] : self.stop[group]]


@dataclass(frozen=True)
class Sample:
    """One completion as the file has it; lists are empty and figures None where a run did not record them."""

    index: int
    text: str
    tokens: list[str]
    token_count: int
    logprobs: list[float]
    advantages: list[float]
    reward: float | None
    parts: dict[str, float]
    truncated: bool
    answer_audio: str | None = None
    """Where an answer that is audio was copied."""
    frames: bool = False
    """Whether its positions are frames of several ids, so that it is audio with or without a copy."""


@dataclass(frozen=True)
class GroupOfStep:
    """The completions of one prompt."""

    row: int
    """The first of its rows, by which its clip is asked for."""
    example_id: str
    prompt: str
    reference: str
    audio: str | None
    columns: dict[str, Any]
    samples: list[Sample]


def steps(run: Path) -> list[int]:
    """The steps whose rollouts are there."""
    return _steps(run / "rollouts")


def read_step(run: Path, step: int) -> StepOfRun:
    """Raises `RunError` when the step has no file, or a damaged one."""
    return _step(run / "rollouts" / f"{step_name(step)}.parquet")


def read_group(step: StepOfRun, group: int) -> GroupOfStep:
    """The group number `group` of a step. Raises `RunError` when its file has changed or is damaged."""
    start, stop = int(step.start[group]), int(step.stop[group])
    rows = read_rows(step.path, start, stop)
    first = rows[0]
    return GroupOfStep(
        row=start,
        example_id=first["example_id"] or "",
        prompt=first.get("prompt") or "",
        reference=first.get("reference") or "",
        audio=first.get("audio"),
        columns=_columns(first.get("columns")),
        samples=[_sample(row) for row in rows],
    )


def read_rows(path: Path, start: int, stop: int, columns: list[str] | None = None) -> list[dict[str, Any]]:
    """The rows from `start` to the one before `stop` of a Parquet file, of which only their row groups are read.

    Raises `RunError` when the file is damaged or has no such rows.
    """
    try:
        with pq.ParquetFile(path) as file:
            sizes = [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
            ends = np.cumsum(sizes)
            wanted = [i for i, end in enumerate(ends) if end > start and end - sizes[i] < stop]
            if stop > sum(sizes) or not wanted:
                raise RunError(f"{path.name} has {sum(sizes)} rows, and none of number {stop - 1}; reload the page")
            skipped = int(ends[wanted[0]]) - sizes[wanted[0]]
            table = file.read_row_groups(wanted, columns=columns)
            return table.slice(start - skipped, stop - start).to_pylist()
    except (OSError, ValueError, TypeError, pa.ArrowException) as error:
        raise RunError(unreadable(path, error)) from error


def matching(step: StepOfRun, only: str, search: str) -> np.ndarray:
    """The groups shown, by `only` ("failed", "truncated", "zero_variance" or empty) and a `search` in their texts."""
    shown = {"failed": step.failed > 0, "truncated": step.truncated > 0, "zero_variance": step.zero_variance}.get(only)
    found = np.arange(len(step)) if shown is None else np.flatnonzero(shown)
    wanted = search.casefold()
    return found if not wanted else np.array([g for g in found.tolist() if wanted in _words(step, g)], dtype=np.int64)


def _words(step: StepOfRun, group: int) -> str:
    return f"{step.example_id[group]}\n{step.reference[group]}\n{step.prompt[group]}".casefold()


def ordered(step: StepOfRun, groups: Sequence[int] | np.ndarray, by: str) -> np.ndarray:
    """`groups` by "worst" mean reward first, "best" first, "std" largest first, or as rolled out; those without a
    reward last."""
    chosen = np.asarray(groups, dtype=np.int64)
    keys = {"worst": step.mean, "best": -step.mean, "std": -step.std}.get(by)
    return chosen if keys is None else chosen[np.argsort(keys[chosen], kind="stable")]


def unreadable(path: Path, error: Exception) -> str:
    cause = "no such file" if isinstance(error, FileNotFoundError) else str(error).splitlines()[0]
    return f"{path.parent.name}/{path.name} cannot be read: {cause}"


def _read_steps(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return sorted(step for path in folder.glob("[!.]*.parquet") if (step := step_of(path.stem)) is not None)


def _read_step(path: Path) -> StepOfRun:
    try:
        with pq.ParquetFile(path) as file:
            _require_columns(file.schema_arrow)
            wanted = [name for name in ("prompt", "reference") if name in file.schema_arrow.names]
            table = file.read(columns=[*_SUMMARY, *wanted])
        start, stop = _bounds(table)
        firsts = table.take(pa.array(start))
        reward = table["reward"].cast(pa.float64()).to_numpy()
        cut = np.array([reason == "length" for reason in table["finish_reason"].to_pylist()], dtype=bool)
    except (OSError, ValueError, TypeError, pa.ArrowException) as error:
        raise RunError(unreadable(path, error)) from error
    return StepOfRun(
        path=path,
        start=start,
        stop=stop,
        example_id=_texts(firsts, "example_id"),
        prompt=_texts(firsts, "prompt"),
        reference=_texts(firsts, "reference"),
        truncated=_sum(cut, start),
        rewards=reward,
        **_rewards(reward, start, stop),
    )


def _require_columns(found: pa.Schema) -> None:
    """Raises `ValueError` for a column that a page cannot do without, or of a type that none has."""
    for name in (*_SUMMARY, "reference"):
        if name not in found.names:
            raise ValueError(f"it has no column {name!r}")
    for field in found:
        wanted = SCHEMA.field(field.name).type if field.name in SCHEMA.names else pa.float64()
        if field.type != wanted and (field.name in SCHEMA.names or field.name.startswith("reward_")):
            raise ValueError(f"its column {field.name!r} is of the type {field.type}, not {wanted}")


def _bounds(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Where groups begin and end: a group's rows follow each other, and their samples count up."""
    count = table.num_rows
    if not count:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    sample = table["sample"].to_numpy()
    names = table["example_id"].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    begins = np.concatenate([[True], (sample[1:] <= sample[:-1]) | (names[1:] != names[:-1])])
    start = np.flatnonzero(begins)
    return start, np.append(start[1:], count)


def _rewards(reward: np.ndarray, start: np.ndarray, stop: np.ndarray) -> dict[str, np.ndarray]:
    there = ~np.isnan(reward)
    count = _sum(there, start)
    empty = count == 0
    safe = np.maximum(count, 1)
    filled = np.where(there, reward, 0.0)
    mean = _sum(filled, start) / safe
    apart = np.where(there, reward - np.repeat(mean, stop - start), 0.0)
    none = np.where(empty, np.nan, 0.0)
    return {
        "mean": mean + none,
        "std": np.sqrt(_sum(apart**2, start) / safe) + none,
        "best": _each(np.maximum, np.where(there, reward, -np.inf), start, empty),
        "worst": _each(np.minimum, np.where(there, reward, np.inf), start, empty),
        "failed": np.where(bool(there.any()), stop - start - count, 0),
    }


def _each(of: np.ufunc, values: np.ndarray, start: np.ndarray, empty: np.ndarray) -> np.ndarray:
    return np.where(empty, np.nan, of.reduceat(values, start)) if len(start) else np.zeros(0)


def _sum(values: np.ndarray, start: np.ndarray) -> np.ndarray:
    kind = np.float64 if values.dtype.kind == "f" else np.int64
    return np.add.reduceat(values.astype(kind), start) if len(start) else np.zeros(0, dtype=kind)


def _texts(table: pa.Table, name: str) -> list[str]:
    return [one or "" for one in table[name].to_pylist()] if name in table.column_names else [""] * table.num_rows


def _sample(row: dict[str, Any]) -> Sample:
    parts = {name.removeprefix("reward_"): value for name, value in row.items() if name.startswith("reward_")}
    return Sample(
        index=row["sample"],
        text=row.get("text") or "",
        tokens=[one or "" for one in row.get("tokens") or []],
        token_count=len(row.get("token_ids") or []) // (row.get("width") or 1),
        logprobs=_numbers(row.get("logprobs")),
        advantages=_numbers(row.get("advantages")),
        reward=row.get("reward"),
        parts={name: value for name, value in parts.items() if value is not None},
        truncated=row.get("finish_reason") == "length",
        answer_audio=row.get("answer_audio"),
        frames=(row.get("width") or 1) > 1,
    )


def _numbers(values: list[float | None] | None) -> list[float]:
    return [math.nan if one is None else one for one in values or []]


def _columns(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


_steps = Cached(_read_steps)
_step = Cached(_read_step, keep=16)
