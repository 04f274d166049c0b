"""Data sets as classes: rows from the hub or from code, written to a JSONL file for a run."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from antiphon.api.recordings import as_uri
from antiphon.audio.decode import FileClip
from antiphon.config import load_config
from antiphon.data.fields import fields_of
from antiphon.data.forms import set_name
from antiphon.data.readers import builtin
from antiphon.data.readers.hub import HubSet
from antiphon.data.rows import ReadOptions, Rows
from antiphon.data.source import load_set, read_set
from antiphon.errors import AudioError, ConfigError
from antiphon.tasks.asr import INSTRUCTION
from antiphon.types import Example


class MultimodalDataset:
    """A data set with recordings. Subclass it, or give it rows.

    Set the attributes in a subclass or by keyword arguments. By default, the class reads a data set from the Hugging
    Face hub, or a folder in the hub's format, and decodes its recordings itself. Override `load` to get the rows
    elsewhere, and `prepare` to write them in another way.

    A row is a mapping with a list of one recording under `media_column`, the reference text under `label_key`, the
    prompt under `input_key`, and any other columns for rewards and evaluations. Recordings are paths, data URIs,
    encoded bytes, or values of an audio column of `datasets`. Rows with `audio` and `text`, as in JSONL files, also
    work.

    Args:
        rows: The rows of a set in memory.
        **attributes: Values for the attributes below, as `n_rows=8`.

    Attributes:
        modality: `"audio"`, or `"text"` for rows without recordings.
        hf_repo: Id of a data set on the hub, a folder with a copy, or `builtin:NAME`.
        hf_config: Its configuration.
        hf_split: Its split.
        n_rows: Use only this many rows, from the start; None for all.
        always_prepare: Prepare again for each run. By default, prepared rows are reused until the file that defines the
            class, or one of its attributes, changes. Set this if rows depend on anything else.
        apply_chat_template: Accepted for compatibility. Text prompts always use the tokenizer's chat template, so False
            is an error for `modality = "text"`; a clip is never part of the text.
        input_key: Key of the prompt, text or a conversation of one question; models that take no request leave it out.
        label_key: Key of the reference.
        media_column: Key of the list of recordings; models take one.
        columns: For a hub set: maps our `audio`, `text`, `id`, `speaker` or `language` to the set's column names, where
            they differ.

    Raises:
        ConfigError: For an unknown attribute or modality.

    Example:
        ```python
        class LibriSpeech(MultimodalDataset):
            hf_repo = "hf-internal-testing/librispeech_asr_dummy"
            hf_config = "clean"
            hf_split = "validation"
            n_rows = 8
        ```
    """

    modality: str = "audio"
    hf_repo: str | None = None
    hf_config: str | None = None
    hf_split: str = "train"
    n_rows: int | None = None
    always_prepare: bool = False
    apply_chat_template: bool = True
    input_key: str = "prompt"
    label_key: str = "label"
    media_column: str = "audios"
    columns: ClassVar[Mapping[str, str]] = {}

    def __init__(self, rows: Iterable[Mapping[str, Any]] | None = None, **attributes: Any) -> None:
        self.rows = None if rows is None else [dict(row) for row in rows]
        for name, value in attributes.items():
            if name.startswith("_") or not hasattr(type(self), name):
                known = ", ".join(MultimodalDataset.__annotations__)
                raise ConfigError(f"{type(self).__name__} has no attribute {name!r}; known: {known}")
            setattr(self, name, value)
        self._check_modality()

    @property
    def name(self) -> str:
        """Its name in reports: the class name."""
        return type(self).__name__

    def load(self, split: str = "all") -> list[dict[str, Any]]:
        """Return the rows, with recordings as data URIs.

        Args:
            split: Split of a hub set; `"all"` means `hf_split`.

        Returns:
            At most `n_rows` rows.

        Raises:
            ConfigError: Neither rows nor `hf_repo` are given.
            DataError: The set cannot be loaded from the hub.
        """
        if self.rows is not None:
            return self.rows[: self.n_rows]
        if self.hf_repo is None:
            raise ConfigError(f"{self.name} has nothing to load: give it rows=…, set hf_repo, or override load()")
        source = HubSet(self.hf_repo, self.hf_config, self.hf_split if split == "all" else split)
        spec = self.hf_repo if builtin.claims(self.hf_repo) else str(source)
        rows = read_set(spec, ReadOptions(columns=self.columns, limit=self.n_rows)).require_good()
        return [self._row(example) for example in rows.examples]

    def prepare(self, path: str | Path, eval_paths: Mapping[str, str | Path] | None = None) -> None:
        """Write the rows as JSON lines.

        Args:
            path: The file for training rows.
            eval_paths: Files for evaluation rows, by name. By default, the same rows are written there.
        """
        rows = self.load()
        for place in (path, *(eval_paths or {}).values()):
            self._write_jsonl(rows, place)

    def fingerprint(self) -> str | None:
        """Identifies the prepared rows by the class's file and its attributes; None if that is impossible."""
        if self.rows:
            return None
        classes = [one for one in type(self).__mro__ if issubclass(one, MultimodalDataset)]
        try:
            sources = [Path(inspect.getfile(one)).read_text(encoding="utf-8") for one in classes]
        except (OSError, TypeError):
            return None
        attributes = {name: getattr(self, name) for name in MultimodalDataset.__annotations__} | vars(self)
        described = json.dumps([sources, attributes], default=str, sort_keys=True)
        return hashlib.sha256(described.encode()).hexdigest()

    def _write_jsonl(self, rows: Iterable[Mapping[str, Any]], path: str | Path) -> None:
        with Path(path).open("w", encoding="utf-8") as file:
            for number, row in enumerate(rows):
                try:
                    names = {self.media_column, "audio", fields_of(row, {}).get("audio", "audio")}
                    media = {name: _uris(row[name]) for name in names if row.get(name) is not None}
                except AudioError as error:
                    raise AudioError(f"{self.name}, row {number}: {error}") from error
                file.write(json.dumps({**row, **media}, ensure_ascii=False, default=_plain) + "\n")

    def _row(self, example: Example) -> dict[str, Any]:
        return row_of(example, _path_or_uri(example), self.input_key, self.media_column, self.label_key)

    def _check_modality(self) -> None:
        if self.modality not in ("audio", "text"):
            raise ConfigError(f"{self.name} has modality {self.modality!r}; use 'audio' or 'text'")
        if self.modality == "text" and not self.apply_chat_template:
            raise ConfigError(f"{self.name} has apply_chat_template=False; text models always use their chat template")


class NamedDataset:
    """A data set given by a spec: a file, a folder, or a name such as `builtin:NAME` or `hf:REPO:CONFIG:SPLIT`."""

    def __init__(self, spec: str) -> None:
        self.spec = spec

    @property
    def name(self) -> str:
        """Its name in reports."""
        return set_name(self.spec)

    def load(self) -> list[dict[str, Any]]:
        """The rows in the form of `MultimodalDataset`: `id`, `prompt`, `audios` with a path or data URI, `label` …"""
        examples, _ = load_set(self.spec, load_config())
        return [row_of(one, _path_or_uri(one), "prompt", "audios", "label") for one in examples]


def row_of(example: Example, audio: str | None, input_key: str, media_column: str, label_key: str) -> dict[str, Any]:
    """An example as a row; without a prompt, it gets the recognizers' prompt."""
    own = {"id": example.id, "language": example.language, "speaker": example.speaker}
    row = {**{name: value for name, value in own.items() if value is not None}, **example.columns}
    row.setdefault(input_key, f"<audio>\n{INSTRUCTION}")
    return row | {media_column: [audio] if audio else [], label_key: example.text}


def as_dataset(dataset: Any) -> MultimodalDataset | NamedDataset:
    """Convert anything that users pass as a data set: an object or class with `load()`, rows in memory, or a spec.

    Raises `ConfigError` for anything else.
    """
    if isinstance(dataset, type):
        dataset = dataset()
    if isinstance(dataset, MultimodalDataset | NamedDataset):
        return dataset
    if isinstance(dataset, str | os.PathLike):
        return NamedDataset(os.fspath(dataset))
    if isinstance(dataset, pd.DataFrame):
        return MultimodalDataset(rows=_rows_of(dataset))
    if isinstance(dataset, Mapping) and dataset and all(hasattr(split, "features") for split in dataset.values()):
        raise ConfigError(f"the data set has the splits {', '.join(map(str, dataset))}; pass one of them")
    load = None if isinstance(dataset, Sequence | Mapping) else getattr(dataset, "load", None)
    if callable(load):
        dataset = list(load())  # pyright: ignore[reportArgumentType]
    if isinstance(dataset, Sequence) and dataset and all(isinstance(row, Mapping) for row in dataset):
        return MultimodalDataset(rows=dataset)
    raise ConfigError(
        f"a {type(dataset).__name__} is not a data set; pass a file or folder, builtin:NAME, hf:REPO:CONFIG:SPLIT, a "
        "list of rows, a pandas DataFrame, a split of datasets, or an object with load(), such as a MultimodalDataset"
    )


def open_dataset(
    spec: str | Path,
    *,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    task: str = "asr",
    limit: int | None = None,
    text_required: bool = True,
) -> Rows:
    """Read a data set of any form, found by its name and content. No recording is decoded.

    Args:
        spec: A file, a folder, or a name such as `builtin:digits-clean`, `librispeech:dev-clean` or `hf:REPO:CONFIG`.
        format: The reader, if it is not to be found: `"jsonl"`, `"parquet"`, or your own, `"file.py:name"`.
        columns: Map of our fields to the set's columns, where they are not found by their usual names.
        task: The task of rows that do not name one.
        limit: Read the first rows only.
        text_required: Whether rows must have a text.

    Returns:
        `examples`, whose `clip.load(rate)` gives the mono float32 waveform; `bad` rows with line and reason; `columns`,
        which column served which field; and the `format`.

    Raises:
        DataError: The set cannot be read at all.
        ConfigError: An unknown reader, field or task.

    Example:
        ```python
        rows = open_dataset("cv/dev.tsv")
        print(rows.format, rows.columns, len(rows.examples), rows.bad)
        ```
    """
    how = ReadOptions(columns=columns or {}, task=task, limit=limit, text_required=text_required, format=format)
    return read_set(spec, how)


def _rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table, without the cells that are missing."""
    rows = frame.to_dict("records")
    return [{str(key): cell for key, cell in row.items() if not _is_missing(cell)} for row in rows]


def _is_missing(cell: Any) -> bool:
    return cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, float) and cell != cell)


def _path_or_uri(example: Example) -> str | None:
    """The path of a clip that is a whole file; other clips as data URIs."""
    clip = example.clip
    if isinstance(clip, FileClip) and isinstance(clip.path, Path) and clip.name == str(clip.path):
        return str(clip.path.absolute())
    return None if clip is None else as_uri(clip)


def _uris(media: Any) -> Any:
    """Recordings as text: paths are kept, all others become data URIs."""
    if isinstance(media, list):
        return [_uris(one) for one in media]
    return os.fspath(media) if isinstance(media, str | os.PathLike) else as_uri(media)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise ConfigError(f"a row holds a {type(value).__name__}, which JSON cannot represent; leave it out or convert it")
