"""Decides which column of a set serves which of our fields.

`data.columns` comes first, then our own names, then the names that are usual in the field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from antiphon.data.rows import FIELDS
from antiphon.data.values import unknown
from antiphon.errors import ConfigError, DataError

USUAL: dict[str, tuple[str, ...]] = {
    "audio": (
        "audio_filepath",
        "audio_path",
        "audio_file",
        "audios",
        "wav",
        "wav_path",
        "path",
        "file",
        "file_name",
        "filename",
        "source",
    ),
    "text": (
        "sentence",
        "transcription",
        "transcript",
        "normalized_text",
        "txt",
        "target",
        "label",
    ),
    "id": ("key", "utt_id", "utterance_id", "utt"),
    "begin_time": ("offset", "start_time", "start"),
    "end_time": ("end",),
    "language": ("lang", "locale", "source_lang", "text_language"),
    "speaker": ("speaker_id", "client_id", "spk", "spk_id"),
}
"""Names that serve a field which a set does not name as we do, the first one first."""
BESIDE = {"source": "target", "target": "source", "start": "end", "end": "start", "offset": "duration"}
"""Names that mean a field only beside another: a `source` alone is as often where a row comes from."""
ESSENTIAL = ("audio", "text")
"""Fields of which a wrong guess would train on something else."""


def fields_of(names: Iterable[str], columns: Mapping[str, str]) -> Mapping[str, str]:
    """The columns, of those with `names`, that serve our fields; `columns` maps fields to columns and comes first.

    Raises `ConfigError` if `columns` has a field that we do not know.
    """
    return _found(tuple(names), tuple(columns.items()))[0]


def fields_inside(names: Iterable[str], columns: Mapping[str, str], audio: str | None) -> Mapping[str, str]:
    """Like `fields_of`, for a set that holds its recordings, in the column `audio`; None if it has none.

    Columns of times are none, unless `columns` names them: in many sets, GigaSpeech and WenetSpeech among them, they
    are those of the recording that clips were cut from.
    """
    return _found_inside(tuple(names), tuple(columns.items()), audio)


@lru_cache(maxsize=1024)
def _found_inside(names: tuple[str, ...], columns: tuple[tuple[str, str], ...], audio: str | None) -> dict[str, str]:
    given = ({"audio": audio} if audio else {}) | dict(columns)
    found = fields_of([name for name in names if name != audio], given)
    times = {"begin_time", "end_time", "duration"} - {*dict(columns)}
    return {field: name for field, name in found.items() if field not in times}


def require_one(values: Mapping[str, Any], keys: Mapping[str, str], columns: Mapping[str, str], where: str) -> None:
    """Raise `DataError` if two columns of a row could both be its audio or its text, and differ.

    `keys` are those that `fields_of` found for it; `where` names the set and the row.
    """
    for field, others in _found(tuple(values), tuple(columns.items()))[1]:
        first = values[keys[field]]
        for other in others:
            if values[other] is not None and _said(values[other]) != _said(first):
                raise DataError(
                    f'{where}: "{keys[field]}" and "{other}" may both be the {field}, and they differ; say which one '
                    f"is meant: --columns {field}={keys[field]}, or data.columns={{{field}: {keys[field]}}} in a recipe"
                )


def has_rivals(names: Iterable[str], columns: Mapping[str, str]) -> bool:
    """Whether several of the columns with `names` could be the audio or the text, so that rows have to be compared."""
    return bool(_found(tuple(names), tuple(columns.items()))[1])


@lru_cache(maxsize=1024)
def _found(
    names: tuple[str, ...], columns: tuple[tuple[str, str], ...]
) -> tuple[dict[str, str], tuple[tuple[str, tuple[str, ...]], ...]]:
    """The column of each field, and for the essential ones that were guessed the further candidates."""
    chosen = dict(columns)
    for field in chosen:
        if field not in FIELDS:
            raise ConfigError(unknown("field in data.columns", field, FIELDS))
    present, taken = set(names), set(chosen.values())
    found, rivals = dict(chosen), []
    for field in FIELDS:
        if field in chosen:
            continue
        if field in present and field not in taken:
            found[field] = field
            continue
        usual = [
            name
            for name in USUAL.get(field, ())
            if name in present and name not in taken and BESIDE.get(name, name) in present
        ]
        if usual:
            found[field] = usual[0]
            others = tuple(name for name in usual[1:] if name not in BESIDE and name != "label")
            if others and field in ESSENTIAL:
                rivals.append((field, others))
    return found, tuple(rivals)


def _said(value: Any) -> str:
    return " ".join(str(value).split())
