"""Writes data sets to files for a recipe: a JSONL file and the recordings next to it."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from antiphon.api.datasets import MultimodalDataset, NamedDataset, as_dataset
from antiphon.api.recordings import encoded, ending
from antiphon.audio.embedded import SCHEME
from antiphon.data.fields import fields_of
from antiphon.errors import AudioError, DataError
from antiphon.runs import atomic

FOLDER = "datasets"
"""Subfolder of the output folder."""


def set_specs(dataset: Any, output: Path, with_eval: bool = False) -> list[str]:
    """Data set specs for a recipe: a spec is kept; rows are written below `output` first.

    `with_eval` adds a second set, the evaluation rows that the class's `prepare` writes. Folders are named by their
    content, so that recipes stay valid. Raises `ConfigError` if it is not a data set, `DataError` with the row that
    cannot be written.
    """
    one = named_or_class(dataset, output)
    if isinstance(one, NamedDataset):
        return [one.spec] * (1 + with_eval)
    folder = _prepared(one, output / FOLDER, with_eval)
    return [str(folder / name) for name in _file_names(one, with_eval)]


def named_or_class(dataset: Any, output: Path) -> MultimodalDataset | NamedDataset:
    """Like `as_dataset`, but a split of `datasets` is saved below `output`."""
    return (
        NamedDataset(_save_split(dataset, output / FOLDER)) if hasattr(dataset, "_fingerprint") else as_dataset(dataset)
    )


def _file_names(dataset: MultimodalDataset, with_eval: bool) -> list[str]:
    return [f"{dataset.name}.jsonl", f"{dataset.name}-eval.jsonl"][: 1 + with_eval]


def _prepared(dataset: MultimodalDataset, root: Path, with_eval: bool) -> Path:
    known = None if dataset.always_prepare else dataset.fingerprint()
    if known and (place := _place(dataset, root, f"{known}{with_eval}")).is_dir():
        return place
    with atomic.naming(root):
        root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=root) as temporary:
        raw, built = Path(temporary) / "raw", Path(temporary) / "built"
        for folder in (raw, built):
            folder.mkdir()
        train, *further = [raw / name for name in _file_names(dataset, with_eval)]
        dataset.prepare(train, {"eval": further[0]} if further else None)
        texts = [_rewrite(file, dataset, built) for file in (train, *further)]
        place = _place(dataset, root, f"{known}{with_eval}" if known else "".join(texts))
        if not place.is_dir():
            with atomic.naming(place):
                try:
                    built.rename(place)
                except OSError:
                    if not place.is_dir():  # Another rank may have written the same rows first.
                        raise
    return place


def _place(dataset: MultimodalDataset, root: Path, content: str) -> Path:
    return root / f"{dataset.name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def _rewrite(file: Path, dataset: MultimodalDataset, folder: Path) -> str:
    """Convert the file that `prepare` wrote to our JSONL fields, with recordings in `folder`; returns its content."""
    if not file.is_file():
        raise DataError(f"{dataset.name}.prepare() did not write {file.name}; write the rows to the given path")
    lines = []
    for number, row in _rows(file, dataset):
        try:
            lines.append(json.dumps(_our_fields(row, dataset, folder), ensure_ascii=False) + "\n")
        except DataError as error:
            raise type(error)(f"{dataset.name}, row {number}: {error}") from error
    text = "".join(lines)
    (folder / file.name).write_text(text, encoding="utf-8")
    return text


def _rows(file: Path, dataset: MultimodalDataset) -> Iterator[tuple[int, dict[str, Any]]]:
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            try:
                yield number, dict(json.loads(line))
            except (ValueError, TypeError) as error:
                raise DataError(
                    f"{dataset.name}.prepare() wrote a line {number + 1} that is not a JSON object"
                ) from error


def _our_fields(row: Mapping[str, Any], dataset: MultimodalDataset, folder: Path) -> dict[str, Any]:
    """The row with our field names: `audio`, `text`, `prompt`."""
    keys = fields_of(row, {})
    given = dataset.label_key if dataset.label_key in row else keys.get("text")
    media_key = dataset.media_column if row.get(dataset.media_column) else keys.get("audio", "audio")
    taken = {dataset.media_column, dataset.label_key, dataset.input_key, "audio", "text", given, media_key}
    rest = {name: value for name, value in row.items() if name not in taken}
    text = "" if given is None or row[given] is None else row[given]
    prompt = row.get(dataset.input_key)
    if dataset.modality == "text":
        return {**rest, "task": "text", "prompt": _prompt_text(prompt, dataset.input_key), "text": text}
    shown = {} if prompt is None else {"prompt": prompt}
    media = row.get(media_key)
    if media is None or media == []:
        raise DataError(f"there is no recording under {dataset.media_column!r} or 'audio'; it has {', '.join(row)}")
    return {**rest, **shown, "audio": _audio_path(media, folder), "text": text}


def _audio_path(media: Any, folder: Path) -> str:
    """The absolute path of a file; any other recording is written to `folder` and its name there returned."""
    if isinstance(media, list):
        if len(media) != 1:
            raise AudioError(f"there are {len(media)} recordings; a row has one")
        media = media[0]
    if isinstance(media, str) and not media.startswith(SCHEME):
        return os.path.abspath(media)  # noqa: PTH100
    content = encoded(media)
    name = f"audio/{hashlib.sha256(content).hexdigest()[:20]}{ending(content)}"
    (folder / "audio").mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return name


def _prompt_text(prompt: Any, key: str) -> str:
    """A prompt as text, from a string or a conversation of one user message."""
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, list) and len(prompt) == 1 and prompt[0].get("role") == "user":
        return str(prompt[0]["content"])
    raise DataError(
        f"{key!r} must be text, or one user message; set a system prompt for all rows with Recipe(…, context=…)"
    )


def _save_split(dataset: Any, root: Path) -> str:
    """Save a `datasets.Dataset` as a folder that `hf:` can read."""
    place = root / f"dataset-{dataset._fingerprint}"
    if not place.is_dir():
        with atomic.naming(root):
            root.mkdir(parents=True, exist_ok=True)
        with atomic.atomic_dir(place) as aside:
            dataset.save_to_disk(str(aside))
    return f"hf:{place}"
