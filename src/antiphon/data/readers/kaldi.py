"""Kaldi's data folders: `wav.scp`, with `text`, `segments`, `utt2spk` and `utt2lang` where they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from antiphon.data import content
from antiphon.data.files import lines, root_of, stem
from antiphon.data.rows import OWN_KEYS, BadRow, ReadOptions, Row
from antiphon.errors import DataError

SCP = "wav.scp"


def claims(spec: str) -> bool:
    return (Path(spec) / SCP).is_file() or Path(spec).name.endswith(SCP) or content.form_of(spec) == "kaldi"


def set_name(spec: str) -> str:
    return Path(spec).absolute().parent.name if Path(spec).name == SCP else stem(Path(spec))


def read(spec: str, options: ReadOptions) -> Iterator[Row | BadRow]:
    """Read a folder, or its `wav.scp`, whose other files are looked for beside it; `train_wav.scp` has `train_text`.

    Rows are the utterances of `segments` where there is one, else the recordings. Paths are relative to the folder, or
    to the working folder, as Kaldi's scripts have them. A recording that a command makes (`… |`) or that lies in an
    archive (`a.ark:42`) is a bad row: nothing is run.

    Raises `DataError` if `wav.scp` cannot be read, or if another file has a line that is none of its form.
    """
    scp = Path(spec) / SCP if Path(spec).is_dir() else Path(spec)
    content.require(str(scp), "kaldi")
    texts = _table(_beside(scp, "text"))
    speakers, languages = _table(_beside(scp, "utt2spk")), _table(_beside(scp, "utt2lang"))
    known = set()
    folder: Path | str | None = None
    for place, id, source, begin, end in _utterances(scp):
        known.add(id)
        fault = "the recording is not in wav.scp; add it" if source is None else _fault(source)
        if fault is None and texts and id not in texts and options.text_required:
            fault = "the utterance has no line in text; add one, empty after the name for a clip without speech"
        if fault:
            yield BadRow(place, id, fault)
            continue
        folder = folder or root_of(source, scp.parent, Path())
        values: dict[str, Any] = {"id": id, "audio": source, "text": texts.get(id)}
        values |= {"begin_time": begin, "end_time": end, "speaker": speakers.get(id), "language": languages.get(id)}
        yield Row(place, {key: value for key, value in values.items() if value is not None}, folder, OWN_KEYS)
    for number, id in enumerate(texts, start=1):
        if id not in known:
            yield BadRow(f"{_beside(scp, 'text').name} line {number}", id, "the utterance has no recording; remove it")


def _utterances(scp: Path) -> Iterator[tuple[str, str, str | None, float | None, float | None]]:
    """Place, name, recording and times of each utterance."""
    segments = _beside(scp, "segments")
    if not segments.is_file():
        for number, (id, source) in _pairs(scp):
            yield f"{scp.name} line {number}", id, source, None, None
        return
    recordings = _table(scp)
    for number, (id, rest) in _pairs(segments):
        try:
            source, begin, end = rest.split()[:3]
            times = float(begin), float(end)
        except ValueError as error:
            raise DataError(
                f"{segments}: line {number} is not UTTERANCE RECORDING BEGIN END with seconds; correct it"
            ) from error
        yield f"{segments.name} line {number}", id, recordings.get(source), times[0], times[1]


def _fault(source: str) -> str | None:
    """Why a recording of `wav.scp` cannot be read, None if it may be."""
    if source.endswith("|"):
        return (
            f"its recording is what a command writes ({source[:60]}), and antiphon runs none; write it to a file "
            "first, for example with Kaldi's wav-copy, and give the path"
        )
    path, colon, offset = source.rpartition(":")
    if colon and offset.isdigit() and path.endswith(".ark"):
        return f"its recording lies in the archive {path}; write it to a file of its own with wav-copy"
    return None


def _beside(scp: Path, name: str) -> Path:
    """The file `name` of the same set: `train_wav.scp` has `train_text` or `train_text.txt`."""
    path = scp.with_name(f"{scp.name.removesuffix(SCP)}{name}" if scp.name.endswith(SCP) else name)
    with_ending = path.with_name(f"{path.name}.txt")
    return with_ending if with_ending.is_file() and not path.is_file() else path


def _table(path: Path) -> Mapping[str, str]:
    return dict(pair for _, pair in _pairs(path)) if path.is_file() else {}


def _pairs(path: Path) -> Iterator[tuple[int, tuple[str, str]]]:
    """Line, first word and rest of each line."""
    for number, raw in lines(str(path)):
        try:
            first, _, rest = raw.decode().replace("\t", " ").partition(" ")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: line {number} is not UTF-8; save the file as UTF-8") from error
        yield number, (first, rest.strip())
