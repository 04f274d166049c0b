"""Data sets in the hub's form: by their id, or a folder with Parquet or audio files. We decode the recordings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antiphon.audio.decode import FileClip
from antiphon.audio.embedded import Embedded
from antiphon.data.jsonl import BadRow, describe_bad
from antiphon.errors import AudioError, ConfigError, DataError, MissingExtraError
from antiphon.types import Clip, Example

HUB = "hf:"
TEXT_COLUMNS = ("text", "sentence", "normalized_text", "transcript", "transcription")
"""Where sets of speech keep what was said; the first that a set has is taken."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class HubSet:
    """One split of a set."""

    repo: str
    """Its id, such as google/fleurs, or a folder that holds a copy of it."""
    config: str | None = None
    split: str = "test"

    @classmethod
    def parse(cls, spec: str) -> HubSet:
        """From `hf:REPO`, `hf:REPO:CONFIG` or `hf:REPO:CONFIG:SPLIT`; an empty CONFIG is the default one.

        Raises `ConfigError`.
        """
        repo, *rest = spec.removeprefix(HUB).split(":")
        if not repo or len(rest) > 2:
            raise ConfigError(f"{spec} names no set; write hf:REPO_OR_FOLDER:CONFIG:SPLIT, the last two if need be")
        config, split = [*rest, "", ""][:2]
        return cls(repo, config or None, split or "test")

    @property
    def name(self) -> str:
        """What reports call it."""
        name = self.config or Path(self.repo).name
        return name if self.split == "test" else f"{name}-{self.split}"

    def __str__(self) -> str:
        return f"{HUB}{self.repo}:{self.config or ''}:{self.split}"


@dataclass(frozen=True)
class _Table:
    """A split, opened."""

    features: Mapping[str, Any]
    """What is in each column, as `datasets` says it."""
    audio: str
    """The column of the recordings."""
    recordings: Sequence[Row]
    """Rows whose `audio` is {"bytes", "path"}."""
    rows: Iterable[Row]
    """The same rows without it."""


def load_hub(
    source: HubSet,
    columns: Mapping[str, str],
    limit: int | None = None,
    task: str = "asr",
    text_required: bool = True,
) -> list[Example]:
    """The examples of a set; a recording stays packed until it is needed.

    All of a set is downloaded to the cache of `datasets`; the first `limit` rows alone are streamed. `columns` says
    which column of the set is our `audio`, `text`, `id`, `language` or `speaker`, as in
    `antiphon.data.jsonl.read_jsonl`; without it, `TEXT_COLUMNS` are tried for the text. Rows whose ids are not unique
    are called by their numbers. Without `text_required` a row may leave its text out.

    Raises `DataError` when the set cannot be had or its rows lack a text, `MissingExtraError` without `datasets`.
    """
    table = _open(source, columns.get("audio"), limit)
    text = _text_column(source, table.features, columns, text_required)
    keys = {ours: columns.get(ours, ours) for ours in ("id", "language", "speaker")}
    rows = [_in_words(row, table.features) for row in table.rows]
    ids = _ids(rows, keys["id"])
    untold = [
        BadRow(None, id, f"{text!r} is null") for id, row in zip(ids, rows, strict=True) if _said(row, text) is None
    ]
    if text_required and (untold or not rows):
        raise DataError(describe_bad(untold, str(source), len(rows)) if rows else f"{source} has no rows")
    return [
        Example(
            id=id,
            task=task,
            clip=_clip(table, number, f"{source}#{number}"),
            text=_said(row, text) or "",
            language=_name(row.get(keys["language"])),
            speaker=_name(row.get(keys["speaker"])),
            columns={name: value for name, value in row.items() if name not in (text, *keys.values())},
        )
        for number, (id, row) in enumerate(zip(ids, rows, strict=True))
    ]


def _text_column(source: HubSet, features: Mapping[str, Any], columns: Mapping[str, str], required: bool) -> str | None:
    text = columns.get("text") or next((name for name in TEXT_COLUMNS if name in features), None)
    absent = [name for name in (text, *columns.values()) if name is not None and name not in features]
    if absent or (text is None and required):
        what = f"column {absent[0]!r}" if absent else "text (--columns text=COLUMN)"
        raise DataError(f"{source} has no {what}; its columns are {', '.join(features)}")
    return text


def _ids(rows: Sequence[Row], key: str) -> list[str]:
    """The rows' own where they tell rows apart, else their numbers."""
    own = [_name(row.get(key)) for row in rows]
    known = [id for id in own if id is not None]
    return known if len(set(known)) == len(rows) else [str(number) for number in range(len(rows))]


def _open(source: HubSet, audio: str | None, limit: int | None) -> _Table:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError(f"reading {source}", "datasets", "hub") from error
    try:
        data: Any = _load(datasets, source, streaming=limit is not None)
        features = dict(data.features)
        heard = [name for name, feature in features.items() if isinstance(feature, datasets.Audio)]
        for name in heard:
            data = data.cast_column(name, datasets.Audio(decode=False))
        if limit is not None:
            data = list(data.take(limit))
    except Exception as error:
        raise DataError(_refusal(source, error)) from error
    audio = audio or next(iter(heard), None)
    if audio is None or audio not in features:
        raise DataError(
            f"{source} has no column of audio{f' {audio!r}' if audio else ''}; its columns are {', '.join(features)} "
            "(--columns audio=COLUMN)"
        )
    if limit is None:
        return _Table(features, audio, data, data.remove_columns([audio]))
    return _Table(features, audio, data, [{name: row[name] for name in row if name != audio} for row in data])


def _load(datasets: Any, source: HubSet, streaming: bool) -> Any:
    folder = Path(source.repo)
    if (folder / "state.json").is_file():
        return datasets.load_from_disk(source.repo)
    if (folder / "dataset_dict.json").is_file():
        return datasets.load_from_disk(source.repo)[source.split]
    cache = _cache_of(folder, Path(datasets.config.HF_DATASETS_CACHE)) if folder.is_dir() else None
    return datasets.load_dataset(
        source.repo, source.config, split=source.split, streaming=streaming, cache_dir=cache and str(cache)
    )


def _cache_of(folder: Path, caches: Path) -> Path:
    """A cache of this folder's own, and of its files as they are: `datasets` tells two folders apart by their names
    alone, and would give the rows of one for the other."""
    digest = hashlib.sha256(str(folder.resolve()).encode())
    for file in sorted(folder.rglob("*")):
        stat = file.stat()
        digest.update(f"{file.relative_to(folder)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return caches / f"antiphon-{digest.hexdigest()[:16]}"


def _refusal(source: HubSet, error: Exception) -> str:
    """Why a set cannot be had, of all that `datasets` and the hub may raise, and what to do."""
    if type(error).__name__ == "DatasetGenerationError" and isinstance(error.__cause__, Exception):
        error = error.__cause__
    cause = (str(error).strip() or repr(error)).splitlines()[0]
    if "gated" in cause.lower():
        remedy = "accept its conditions on its page, and log in with: hf auth login"
    elif "torchcodec" in cause:
        remedy = "give a set whose recordings lie in Parquet, or do so"
    elif isinstance(error, ConnectionError):
        remedy = "mend the connection, or put the folder of a copy in the id's place"
    else:
        remedy = "correct hf:REPO:CONFIG:SPLIT"
    return f"{source} cannot be had ({cause}); {remedy}"


def _in_words(row: Row, features: Mapping[str, Any]) -> dict[str, Any]:
    """The row with the names of its labels in place of their numbers."""
    return {
        name: features[name].int2str(value) if hasattr(features[name], "int2str") and value is not None else value
        for name, value in row.items()
    }


def _said(row: Row, text: str | None) -> str | None:
    return None if text is None else _name(row[text])


def _name(value: Any) -> str | None:
    return None if value is None else str(value)


def _clip(table: _Table, number: int, name: str) -> Clip:
    return FileClip(Embedded(name, lambda: _content(table.recordings[number][table.audio], name)))


def _content(cell: Mapping[str, Any] | None, name: str) -> bytes:
    """A recording's bytes, which are in the table or in a file beside it, here or on the hub."""
    import fsspec

    if cell is None or (cell["bytes"] is None and cell["path"] is None):
        raise AudioError(f"{name}: the row has no recording; remove it, or leave it out with data.on_bad_audio: skip")
    if cell["bytes"] is not None:
        return cell["bytes"]
    try:
        with fsspec.open(cell["path"], "rb") as file:
            return file.read()  # pyright: ignore[reportAttributeAccessIssue]
    except (OSError, ValueError) as error:
        raise AudioError(f"{name}: {cell['path']} cannot be read ({error}); mend the copy or the connection") from error
