"""From a data set to the files that a recipe names: JSONL in our own form, recordings beside it."""

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
from antiphon.errors import AudioError, DataError
from antiphon.runs import atomic

FOLDER = "datasets"
"""Within the folder of the runs."""


def set_specs(dataset: Any, output: Path, with_eval: bool = False) -> list[str]:
    """What a recipe calls a data set: a name as it is; rows are written below `output` first.

    `with_eval` gives a second set, of the rows that the class's `prepare` writes for evaluation. Folders are named
    by what is in them, so that a run's recipe stays true. Raises `ConfigError` for what is no data set, `DataError`
    naming the row that cannot be written.
    """
    one = named_or_class(dataset, output)
    if isinstance(one, NamedDataset):
        return [one.spec] * (1 + with_eval)
    folder = _prepared(one, output / FOLDER, with_eval)
    return [str(folder / name) for name in _file_names(one, with_eval)]


def named_or_class(dataset: Any, output: Path) -> MultimodalDataset | NamedDataset:
    """As `as_dataset`; a split of `datasets` is saved below `output`."""
    return NamedDataset(_saved(dataset, output / FOLDER)) if hasattr(dataset, "_fingerprint") else as_dataset(dataset)


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
                    if not place.is_dir():  # Else another rank was faster, with the same rows.
                        raise
    return place


def _place(dataset: MultimodalDataset, root: Path, content: str) -> Path:
    return root / f"{dataset.name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def _rewrite(file: Path, dataset: MultimodalDataset, folder: Path) -> str:
    """Writes what `prepare` wrote once more into `folder`, as the reader of JSONL takes it, and returns that."""
    if not file.is_file():
        raise DataError(
            f"{dataset.name}.prepare() wrote no file {file.name}; write the rows to the path that it is given"
        )
    lines = []
    for number, row in _rows(file, dataset):
        try:
            lines.append(json.dumps(_standard(row, dataset, folder), ensure_ascii=False) + "\n")
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
                raise DataError(f"{dataset.name}.prepare() wrote a line {number + 1} that is no JSON object") from error


def _standard(row: Mapping[str, Any], dataset: MultimodalDataset, folder: Path) -> dict[str, Any]:
    """The row with our names: `audio`, `text`, `prompt`."""
    taken = {dataset.media_column, dataset.label_key, dataset.input_key, "audio", "text"}
    rest = {name: value for name, value in row.items() if name not in taken}
    text = row.get(dataset.label_key, row.get("text", ""))
    prompt = row.get(dataset.input_key)
    if dataset.modality == "text":
        return {**rest, "task": "text", "prompt": _question(prompt, dataset.input_key), "text": text}
    shown = {} if prompt is None else {"prompt": prompt}
    media = row.get(dataset.media_column, row.get("audio"))
    if not media:
        raise DataError(f"there is no recording under {dataset.media_column!r} or 'audio'; it has {', '.join(row)}")
    return {**rest, **shown, "audio": _stored(media, folder), "text": text}


def _stored(media: Any, folder: Path) -> str:
    """A file's absolute path, or the name within `folder` under which a recording has been written."""
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


def _question(prompt: Any, key: str) -> str:
    """A prompt in words: text, or a conversation that is one message of the user's."""
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, list) and len(prompt) == 1 and prompt[0].get("role") == "user":
        return str(prompt[0]["content"])
    raise DataError(
        f"{key!r} must be text, or one message of the user's; a system prompt is the same for all rows: "
        "Recipe(…, context=…)"
    )


def _saved(dataset: Any, root: Path) -> str:
    """A `datasets.Dataset` as a folder that `hf:` reads."""
    place = root / f"dataset-{dataset._fingerprint}"
    if not place.is_dir():
        with atomic.naming(root):
            root.mkdir(parents=True, exist_ok=True)
        with atomic.atomic_dir(place) as aside:
            dataset.save_to_disk(str(aside))
    return f"hf:{place}"
