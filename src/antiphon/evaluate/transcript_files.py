"""Reads files of transcripts that are there already: JSONL, Kaldi's `text` and sclite's trn."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from antiphon.data.fields import USUAL
from antiphon.data.readers.kaldi import SCP
from antiphon.data.rows import ReadOptions
from antiphon.data.source import read_set
from antiphon.data.transcripts import transcript
from antiphon.errors import DataError
from antiphon.types import Seconds

_TRN = re.compile(r"(?P<text>.*?)\s*\((?P<id>[^()\s]+)\)")
_ALTERNATIVES = re.compile(r"\{[^{}]*/[^{}]*\}")


@dataclass(frozen=True)
class Line:
    """One utterance of a file."""

    id: str
    text: str
    language: str | None = None
    speaker: str | None = None
    seconds: Seconds = 0.0
    clip: str | None = None
    """The name of the recording, where the id is made of it."""
    columns: Mapping[str, Any] = field(default_factory=dict)


def read_transcripts(spec: str, hypotheses: bool = False, column: str | None = None) -> dict[str, Line]:
    """The utterances of a file by id, in order; its first line says which form it has.

    JSONL: rows with an `id`, or as any data set has them; the text of `hypotheses` is in `pred_text`, else as in a data
    set, unless `column` names it. `text` of Kaldi: ID WORDS, with `utt2spk` and `utt2lang` beside it. trn of sclite:
    WORDS (SPEAKER-ID). Other data sets are read as such. Raises `DataError` for a line of another form, an utterance
    given twice, or a file without any.
    """
    path = Path(spec)
    lines = _lines(path)
    first = lines[0].lstrip()[:1] if lines else ""
    if lines and all(_TRN.fullmatch(line.strip()) for line in lines if not line.startswith(";;")):
        found = _trn(path, lines)
    elif first == "{" and path.suffix != ".json":
        found = _jsonl(path, lines, hypotheses, column)
    elif lines and first not in "{[":
        found = _kaldi(path, lines)
    else:
        found = _set(spec, column)
    utterances: dict[str, Line] = {}
    for line in found:
        if line.id in utterances:
            raise DataError(f"{spec}: the utterance {line.id!r} is there twice; give each id once")
        utterances[line.id] = line
    if not utterances:
        raise DataError(f"{spec}: there are no utterances; give a JSONL file, Kaldi's text or a trn file")
    return utterances


def _lines(path: Path) -> list[str]:
    """The lines of a text file; none of a folder, a list of recordings, a table or anything else."""
    if not path.is_file() or path.name.endswith((SCP, ".csv", ".tsv")):
        return []
    try:
        return [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError):
        return []


def _jsonl(path: Path, lines: list[str], hypotheses: bool, column: str | None) -> Iterator[Line]:
    rows = [_object(path, number, line) for number, line in enumerate(lines, start=1)]
    named = next((name for name in ("id", *USUAL["id"]) if all(row.get(name) is not None for row in rows)), None)
    key = column or ("pred_text" if hypotheses and any("pred_text" in row for row in rows) else None)
    if named is None:
        yield from _set(str(path), key)
        return
    for number, row in enumerate(rows, start=1):
        text_key = key or next((name for name in ("text", *USUAL["text"], "ref_text") if name in row), "text")
        said = row.get(text_key)
        if not isinstance(said, str):
            raise DataError(f'{path}, line {number}: "{text_key}" is no text; add it, or name the column of the texts')
        text, language = transcript(said)
        language = row.get("language") or row.get("lang") or language
        seconds = row.get("seconds", row.get("duration"))
        length = float(seconds) if isinstance(seconds, int | float) and not isinstance(seconds, bool) else 0.0
        speaker = next((str(row[name]) for name in ("speaker", *USUAL["speaker"]) if row.get(name)), None)
        yield Line(str(row[named]), text, language, speaker, length, columns=row)


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{path}, line {number}: not valid JSON ({error}); each line must be one object") from error
    if not isinstance(row, dict):
        raise DataError(f"{path}, line {number}: not a JSON object; each line must be one")
    return row


def _kaldi(path: Path, lines: list[str]) -> Iterator[Line]:
    speakers, languages = (_pairs(path.with_name(name)) for name in ("utt2spk", "utt2lang"))
    for line in lines:
        id, _, text = line.strip().partition(" ") if "\t" not in line else line.strip().partition("\t")
        yield Line(id, text.strip(), languages.get(id), speakers.get(id))


def _pairs(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    parts = (line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return {part[0]: part[1] for part in parts if len(part) == 2}


def _trn(path: Path, lines: list[str]) -> Iterator[Line]:
    for line in lines:
        found = _TRN.fullmatch(line.strip())
        if line.startswith(";;") or found is None:
            continue
        if _ALTERNATIVES.search(found["text"]):
            raise DataError(
                f"{path}: {found['id']} has alternatives in braces, which are not scored; choose one of them"
            )
        speaker = re.split("[-_]", found["id"])[0]
        yield Line(found["id"], found["text"], None, speaker if speaker != found["id"] else None)


def _set(spec: str, column: str | None) -> Iterator[Line]:
    options = ReadOptions(columns={"text": column} if column else {})
    for example in read_set(spec, options).require_good().examples:
        clip = example.clip.name if example.clip else None
        yield Line(example.id, example.text, example.language, example.speaker, clip=clip, columns=example.columns)


def paired(
    references: Mapping[str, Line], hypotheses: Mapping[str, Line], names: tuple[str, str], noted: Callable[[str], None]
) -> list[tuple[Line, Line]]:
    """Each reference with its hypothesis: that of its id, or where no ids agree, that of the same recording.

    A hypothesis without reference is left out, which `noted` is told. Raises `DataError` for references without a
    hypothesis: what was not recognized must be there with no words.
    """
    if not references.keys() & hypotheses.keys():
        heard = {line.clip: line for line in hypotheses.values()}
        hypotheses = {id: heard[line.clip] for id, line in references.items() if line.clip in heard and line.clip}
    missing = [id for id in references if id not in hypotheses]
    if missing:
        raise DataError(
            f"{names[0]} has no line for {len(missing)} of the {len(references)} utterances of {names[1]}, such as "
            f"{missing[0]!r}; add them, with no words where nothing was recognized"
        )
    extra = [id for id in hypotheses if id not in references]
    if extra:
        noted(f"{len(extra)} utterance(s) of {names[0]} are not in {names[1]}, such as {extra[0]!r}; they do not count")
    return [(reference, hypotheses[id]) for id, reference in references.items()]
