"""The built-in sets, `builtin:CORPUS-SET`: synthetic speech, see `antiphon.data.corpora.sets`."""

from __future__ import annotations

from collections.abc import Iterator

from antiphon.data.corpora.sets import builtin_set
from antiphon.data.rows import OWN_KEYS, ReadOptions, Row

PREFIX = "builtin:"


def claims(spec: str) -> bool:
    return spec.startswith(PREFIX)


def set_name(spec: str) -> str:
    return spec.removeprefix(PREFIX)


def read(spec: str, options: ReadOptions) -> Iterator[Row]:
    """Read a built-in set. Raises `ConfigError` with the available sets."""
    for number, one in enumerate(builtin_set(set_name(spec))):
        values = {
            "id": one.id,
            "task": one.task,
            "audio": one.clip,
            "text": one.text,
            "language": one.language,
            "speaker": one.speaker,
        }
        yield Row(f"utterance {number}", values | dict(one.columns), keys=OWN_KEYS)
