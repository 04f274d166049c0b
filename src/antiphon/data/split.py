"""Splits a set into parts, by row, speaker or any other column, the same way each time."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

from antiphon.errors import ConfigError, DataError
from antiphon.types import Example

ROW, SPEAKER = "row", "speaker"


def parse_parts(text: str) -> dict[str, float]:
    """Parse "train=0.9,dev=0.1"; the shares are made to add up to 1. Raises `ConfigError`."""
    parts: dict[str, float] = {}
    for one in text.split(","):
        name, _, share = one.strip().partition("=")
        try:
            value = float(share)
        except ValueError:
            value = math.nan
        if not name or name in parts or "/" in name or name.startswith(".") or not 0 < value < math.inf:
            raise ConfigError(f"--parts {text}: {one.strip()!r} is not NAME=SHARE; write train=0.9,dev=0.1")
        parts[name] = value
    if len(parts) < 2:
        raise ConfigError(f"--parts {text}: name two parts or more, such as train=0.9,dev=0.1")
    return {name: value / sum(parts.values()) for name, value in parts.items()}


def split(
    examples: Sequence[Example], parts: Mapping[str, float], by: str | None = None, seed: int = 0
) -> tuple[str, dict[str, list[Example]]]:
    """Examples by part, in their order, and by what they were split. `parts` has the share of each.

    All rows of one speaker, or of one value of the column `by`, go to the same part. By default that is the speaker
    if every row has one and there are at least ten for each part, else the row. Groups are taken in the order of a hash
    of seed and name, and go to the part that lacks the most rows.

    Raises `DataError` for a row without the column, `ConfigError` if there are fewer groups than parts.
    """
    by = by or _natural(examples, len(parts))
    groups: dict[str, list[int]] = {}
    for number, example in enumerate(examples):
        groups.setdefault(_group(example, by), []).append(number)
    if len(groups) < len(parts):
        raise ConfigError(f"{len(parts)} parts need as many groups; by {by} there are {len(groups)}; split by {ROW}")
    wanted = {name: share * len(examples) for name, share in parts.items()}
    chosen: dict[str, list[int]] = {name: [] for name in parts}
    for place, name in enumerate(sorted(groups, key=lambda group: _hash(seed, group))):
        waiting = [part for part in parts if not chosen[part]]
        left = len(groups) - place
        part = max(
            waiting if waiting and left <= len(waiting) else parts,
            key=lambda part: (wanted[part] - len(chosen[part])) / wanted[part],
        )
        chosen[part] += groups[name]
    return by, {name: [examples[number] for number in sorted(numbers)] for name, numbers in chosen.items()}


def _natural(examples: Sequence[Example], parts: int) -> str:
    speakers = {example.speaker for example in examples}
    return SPEAKER if None not in speakers and len(speakers) >= 10 * parts else ROW


def _group(example: Example, by: str) -> str:
    if by == ROW:
        return example.id
    value = getattr(example, by) if by in ("speaker", "language", "text") else example.columns.get(by)
    if value is None:
        raise DataError(f"example {example.id} has no {by!r} to split by; add it, or split by {ROW}")
    return str(value)


def _hash(seed: int, group: str) -> bytes:
    return hashlib.sha256(f"{seed}\n{group}".encode()).digest()
