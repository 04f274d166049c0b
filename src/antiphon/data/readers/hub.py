"""Hugging Face data sets, by id or as a folder with Parquet or audio files. We decode the recordings ourselves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from antiphon.audio.embedded import Embedded
from antiphon.data.fields import fields_of
from antiphon.data.rows import ReadOptions, Row
from antiphon.errors import AudioError, ConfigError, DataError, MissingExtraError

PREFIX = "hf:"
NAMES = ("id", "language", "speaker")

Record = Mapping[str, Any]


@dataclass(frozen=True)
class HubSet:
    """One split of a set."""

    repo: str
    """An id such as google/fleurs, or a folder with a copy."""
    config: str | None = None
    split: str = "test"

    @classmethod
    def parse(cls, spec: str) -> HubSet:
        """Parse `hf:REPO`, `hf:REPO:CONFIG` or `hf:REPO:CONFIG:SPLIT`; an empty CONFIG means the default.

        Raises `ConfigError`.
        """
        repo, *rest = spec.removeprefix(PREFIX).split(":")
        if not repo or len(rest) > 2:
            raise ConfigError(f"{spec} is not a set; write hf:REPO_OR_FOLDER:CONFIG:SPLIT, the last two as needed")
        config, split = [*rest, "", ""][:2]
        return cls(repo, config or None, split or "test")

    @property
    def name(self) -> str:
        """Its name in reports."""
        name = self.config or Path(self.repo).name
        return name if self.split == "test" else f"{name}-{self.split}"

    def __str__(self) -> str:
        return f"{PREFIX}{self.repo}:{self.config or ''}:{self.split}"


@dataclass(frozen=True)
class _Table:
    """An open split."""

    features: Mapping[str, Any]
    """The features of `datasets`: each column's type."""
    audio: str
    """The audio column."""
    recordings: Sequence[Record]
    """Rows whose `audio` is {"bytes", "path"}."""
    rows: Iterable[Record]
    """The same rows without the audio column."""


def claims(spec: str) -> bool:
    return spec.startswith(PREFIX)


def set_name(spec: str) -> str:
    return HubSet.parse(spec).name


def read(spec: str, options: ReadOptions) -> Iterator[Row]:
    """Read the rows of a set; recordings stay encoded until needed.

    A whole set is downloaded to the cache of `datasets`; with `options.limit`, the first rows are streamed.
    `options.columns` maps our `audio`, `text`, `id`, `language` or `speaker` to the set's columns; without it, they are
    found by their usual names. An id that an earlier row has is none.

    Raises `DataError` if the set cannot be loaded or has no text, `MissingExtraError` without `datasets`.
    """
    return rows(HubSet.parse(spec), options)


def rows(source: HubSet, options: ReadOptions) -> Iterator[Row]:
    """Like `read`, for a parsed spec."""
    table = _open(source, options.columns.get("audio"), options.limit)
    keys = _keys(source, table, options)
    seen: set[str] = set()
    for number, raw in enumerate(table.rows):
        record = _in_words(raw, table.features)
        name, said = f"{source}#{number}", record.get(keys["text"])
        ours = {keys[field]: _name(record.get(keys[field])) for field in NAMES if field in keys}
        if "id" in keys and ours[keys["id"]] in seen:
            ours[keys["id"]] = None
        ours |= {
            keys["text"]: None if said is None else str(said),
            keys["audio"]: Embedded(name, partial(_content, table, number, name, source.repo)),
        }
        if "id" in keys and (id := _name(record.get(keys["id"]))):
            seen.add(id)
        yield Row(f"row {number}", record | ours, keys=keys, name=f"row {number}")


def _keys(source: HubSet, table: _Table, options: ReadOptions) -> dict[str, str]:
    """Which columns serve our fields. Times are left out: in many sets they are those of a longer recording."""
    found = fields_of([name for name in table.features if name != table.audio], options.columns)
    absent = [name for name in options.columns.values() if name not in table.features]
    if absent or ("text" not in found and options.text_required):
        what = f"column {absent[0]!r}" if absent else "text (--columns text=COLUMN)"
        raise DataError(f"{source} has no {what}; its columns are {', '.join(table.features)}")
    kept = {field: found[field] for field in (*NAMES, *options.columns) if field in found}
    return {"text": "text"} | kept | {"audio": table.audio} | ({"text": found["text"]} if "text" in found else {})


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
            f"{source} has no audio column{f' {audio!r}' if audio else ''}; its columns are {', '.join(features)} "
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
    """A cache folder for exactly this folder and its present files: `datasets` identifies folders by name only,
    and could return another folder's rows."""
    digest = hashlib.sha256(str(folder.resolve()).encode())
    for file in sorted(folder.rglob("*")):
        stat = file.stat()
        digest.update(f"{file.relative_to(folder)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return caches / f"antiphon-{digest.hexdigest()[:16]}"


def _refusal(source: HubSet, error: Exception) -> str:
    """Turn any error of `datasets` and the hub into a message with the cause and a remedy."""
    if type(error).__name__ == "DatasetGenerationError" and isinstance(error.__cause__, Exception):
        error = error.__cause__
    cause = (str(error).strip() or repr(error)).splitlines()[0]
    if "gated" in cause.lower():
        remedy = "accept its conditions on its page, and log in with: hf auth login"
    elif "torchcodec" in cause:
        remedy = "use a set with its recordings in Parquet, or convert it"
    elif isinstance(error, ConnectionError):
        remedy = "check the connection, or give a folder with a copy in place of the id"
    else:
        remedy = "correct hf:REPO:CONFIG:SPLIT"
    return f"{source} cannot be loaded ({cause}); {remedy}"


def _in_words(row: Record, features: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the numbers of class labels in a row by their names."""
    return {
        name: features[name].int2str(value) if hasattr(features[name], "int2str") and value is not None else value
        for name, value in row.items()
    }


def _name(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)


def _content(table: _Table, number: int, name: str, repo: str) -> bytes:
    """A recording's bytes, from the table, a local file or the hub."""
    import fsspec

    cell: Any = table.recordings[number][table.audio]
    if isinstance(cell, bytes):
        return cell
    if isinstance(cell, str):
        beside = Path(repo) / cell
        cell = {"bytes": None, "path": str(beside if beside.is_file() else cell)}
    if cell is not None and not isinstance(cell, Mapping):
        raise AudioError(f"{name}: {table.audio!r} is a {type(cell).__name__}; name a column of recordings or paths")
    if cell is None or (cell.get("bytes") is None and cell.get("path") is None):
        raise AudioError(f"{name}: the row has no recording; remove it, or leave it out with data.on_bad_audio: skip")
    if cell.get("bytes") is not None:
        return cell["bytes"]
    try:
        with fsspec.open(cell["path"], "rb") as file:
            return file.read()  # pyright: ignore[reportAttributeAccessIssue]
    except (OSError, ValueError) as error:
        raise AudioError(
            f"{name}: {cell['path']} cannot be read ({error}); check the copy or the connection"
        ) from error
