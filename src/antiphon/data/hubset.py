"""Opens a split of a Hugging Face data set, by id or from a folder, with its recordings still encoded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antiphon.data import cells
from antiphon.errors import ConfigError, DataError, MissingExtraError

PREFIX = "hf:"
ONLY = ""
"""The split of a set that has one alone."""
_SAVED = ("state.json", "dataset_dict.json")
"""Files in a folder that `save_to_disk` wrote: of one split, and of several."""
_LISTS = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
"""Lists of a folder of recordings (`audiofolder`)."""

Record = Mapping[str, Any]


@dataclass(frozen=True)
class HubSet:
    """One split of a set."""

    repo: str
    """An id such as google/fleurs, or a folder with a copy."""
    config: str | None = None
    split: str = "test"
    revision: str | None = None
    """A branch or commit of the repository; default: its main branch."""
    files: str | None = None
    """Pattern of the split's files, where the repository does not say which they are."""

    @classmethod
    def parse(cls, spec: str) -> HubSet:
        """Parse `hf:REPO`, `hf:REPO:CONFIG` or `hf:REPO:CONFIG:SPLIT`; an empty CONFIG means the default.

        A folder by its path alone is the one split that it has. Raises `ConfigError`.
        """
        if not spec.startswith(PREFIX):
            return cls(spec, None, ONLY)
        repo, *rest = spec.removeprefix(PREFIX).split(":")
        if not repo or len(rest) > 2:
            raise ConfigError(f"{spec} is not a set; write hf:REPO_OR_FOLDER:CONFIG:SPLIT, the last two as needed")
        config, split = [*rest, "", ""][:2]
        return cls(repo, config or None, split or "test")

    @property
    def name(self) -> str:
        """Its name in reports."""
        name = self.config or Path(self.repo).name
        return name if self.split in ("test", ONLY) else f"{name}-{self.split}"

    def __str__(self) -> str:
        return f"{PREFIX}{self.repo}:{self.config or ''}:{self.split}" if self.split else self.repo


@dataclass(frozen=True)
class Table:
    """An open split."""

    features: Mapping[str, Any]
    """The features of `datasets`: each column's type."""
    audio: str | None
    """The audio column; None for a set of texts."""
    recordings: Sequence[Record]
    """Rows with their `audio`, encoded: {"bytes", "path"}, bytes or a path."""
    rows: Iterable[Record]
    """The same rows without recordings."""
    paths: Sequence[str | None] | None = None
    """The recordings' paths, if all of them are files."""


def is_folder(spec: str) -> bool:
    """Whether `spec` is a folder that `save_to_disk` wrote, or one of recordings with a list."""
    folder = Path(spec)
    return any((folder / name).is_file() for name in _SAVED) or _has_list(folder)


def open_split(source: HubSet, audio: str | None, limit: int | None) -> Table:
    """Open a split, downloading it; with `limit`, its first rows are streamed. `audio` names the column of recordings.

    Raises `DataError` if it cannot be loaded or has no such column, `MissingExtraError` without `datasets`.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError(f"reading {source}", "datasets", "hub") from error
    try:
        with _encoding(datasets):
            # A part of a split, train[:90%], is not streamed.
            data: Any = _load(datasets, source, streaming=limit is not None and "[" not in source.split)
            if data.features is None:  # A stream of JSON or CSV files; its rows are few, and say what they are.
                data = datasets.Dataset.from_list(list(data.take(limit)))
            features = dict(data.features)
            heard = [name for name, feature in features.items() if isinstance(feature, datasets.Audio)]
            for name in heard:
                data = data.cast_column(name, datasets.Audio(decode=False))
            if limit is not None:
                data = list(data.take(limit))
    except Exception as error:
        raise DataError(_refusal(source, error)) from error
    if audio is not None and audio not in features:
        named = f"its columns are {', '.join(features)} (--columns audio=COLUMN)"
        raise DataError(f"{source} has no audio column {audio!r}; {named}")
    apart = {*heard} or _recordings(datasets.Features(features).arrow_schema, audio)
    audio = audio or next((name for name in features if name in apart), None)
    if limit is not None:
        return Table(features, audio, data, [{name: row[name] for name in row if name not in apart} for row in data])
    paths = _paths(data, audio) if audio and audio in heard else None
    return Table(features, audio, data, data.remove_columns([*apart]) if apart else data, paths)


def _recordings(schema: Any, audio: str | None) -> set[str]:
    """The columns of recordings, by their types, of a set that has no type for them."""
    return {one.name for one in schema if cells.kind_of(one.type, schema.names, one.name == audio)}


def _paths(data: Any, audio: str) -> list[str | None] | None:
    """The paths of recordings if all of them are files, without reading those that are not."""
    chunks = data.data.column(audio).chunks
    if any(chunk.field("bytes").null_count < len(chunk) for chunk in chunks):
        return None
    return [path for chunk in chunks for path in chunk.field("path").to_pylist()]


def _load(datasets: Any, source: HubSet, streaming: bool) -> Any:
    folder = Path(source.repo)
    if (folder / "state.json").is_file():
        return datasets.load_from_disk(source.repo)
    if (folder / "dataset_dict.json").is_file():
        return _one(datasets.load_from_disk(source.repo), source)
    cache = _cache_of(folder, Path(datasets.config.HF_DATASETS_CACHE)) if folder.is_dir() else None
    found = datasets.load_dataset(
        source.repo,
        source.config if source.files is None else None,
        split=source.split or None,
        streaming=streaming,
        cache_dir=cache and str(cache),
        revision=source.revision,
        data_files=source.files and {source.split: source.files},
    )
    return found if source.split else _one(found, source)


def _one(splits: Mapping[str, Any], source: HubSet) -> Any:
    """The split that is asked for, or the only one."""
    if source.split:
        return splits[source.split]
    if len(splits) > 1:
        named = ", ".join(f"hf:{source.repo}::{name}" for name in splits)
        raise ValueError(f"it has the splits {', '.join(splits)}: name one, as {named}")
    return next(iter(splits.values()))


@contextmanager
def _encoding(datasets: Any) -> Iterator[None]:
    """In the block, `datasets` takes recordings as they are: it asks for torchcodec even where it only keeps paths."""
    if datasets.config.TORCHCODEC_AVAILABLE:
        yield
        return
    own = datasets.Audio.encode_example
    datasets.Audio.encode_example = _as_it_is
    try:
        yield
    finally:
        datasets.Audio.encode_example = own


def _as_it_is(_: Any, value: Any) -> dict[str, Any]:
    if isinstance(value, str | Path):
        return {"bytes": None, "path": str(value)}
    if isinstance(value, bytes | bytearray):
        return {"bytes": bytes(value), "path": None}
    if isinstance(value, Mapping) and "array" not in value:
        return {"bytes": value.get("bytes"), "path": value.get("path")}
    raise ImportError("samples that are not encoded need torchcodec")


def _has_list(folder: Path) -> bool:
    """Whether a folder, or each split's folder in it, has a list of its recordings."""
    if not folder.is_dir():
        return False
    places = [folder, *(one for one in folder.iterdir() if one.is_dir())]
    return any((place / name).is_file() and _names_files(place / name) for place in places for name in _LISTS)


def _names_files(path: Path) -> bool:
    """Whether a list has the column that audiofolder needs."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return "file_name" in pq.read_schema(path).names
    with path.open("rb") as file:
        return b"file_name" in file.readline(1 << 16)


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
