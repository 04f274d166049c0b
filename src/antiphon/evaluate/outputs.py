"""Rows that a command writes and any other reads as a data set: examples with what a model made of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from antiphon.audio.decode import FileClip
from antiphon.data.export import Out, fields
from antiphon.errors import RunError
from antiphon.evaluate.recognize import Transcript
from antiphon.runs import atomic, lines
from antiphon.tasks.task import Task, words_of
from antiphon.types import Clip, Example, Text

MADE_BY = "made_by"
"""The column that tells apart rows of another model or other options."""


def heard(clip: Clip | None) -> dict[str, Any]:
    """A clip's recording and times, as a row of a data set has them; of one that is no file, nothing."""
    if not isinstance(clip, FileClip) or not isinstance(clip.path, str | Path):
        return {"audio": None, "begin_time": None, "end_time": None}
    begin, end = (None if time in (None, -1) else time for time in (clip.begin, clip.end))
    channel = {"channel": clip.channel} if isinstance(clip.channel, int) else {}
    return {"audio": str(Path(clip.path).absolute()), "begin_time": begin, "end_time": end} | channel


def transcribed(task: Task, example: Example, transcript: Transcript) -> dict[str, Any]:
    """An example's fields and columns but for its audio, and what was heard in it: `pred_text`, `seconds`,
    `finish_reason`, the language that the model named where the example has none, and of a long clip the
    `segments`, each with `begin_time`, `end_time` and `text`."""
    row = fields(example)
    if not example.text:
        row.pop("text", None)
    if example.task == "asr":
        row.pop("task", None)
    segments = [{"begin_time": one.begin, "end_time": one.end, "text": one.text} for one in transcript.segments]
    named = transcript.answer.language if isinstance(transcript.answer, Text) else None
    return (
        ({"language": named} if named else {})
        | row
        | {
            "pred_text": words_of(task.read(transcript.answer)),
            "seconds": transcript.seconds,
            "finish_reason": transcript.finish_reason,
        }
        | ({"segments": segments} if segments else {})
    )


class TranscriptFile:
    """A JSONL file of transcribed examples, written as they are made, that is a data set itself."""

    def __init__(self, path: Path, setup: Mapping[str, Any], examples: Sequence[Example]) -> None:
        """Opens the file, or begins it; `setup` is what the transcripts depend on.

        Raises `RunError` when the file has rows of another model, other options or other examples.
        """
        self._path = path
        self._made_by = hashlib.sha256(lines.encode(dict(setup)).encode()).hexdigest()[:12]
        with atomic.naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._out = Out(path.parent, path.parent, path.stem)
        self.rows: dict[str, dict[str, Any]] = {str(row.get("id")): row for row in lines.read(path)}
        known = {example.id for example in examples}
        if any(row.get(MADE_BY) != self._made_by or id not in known for id, row in self.rows.items()):
            raise RunError(
                f"{path} has rows of another model, other options or other audio; name another --output, or remove it"
            )

    def add(self, task: Task, examples: Sequence[Example], transcripts: Sequence[Transcript]) -> None:
        """Appends a row for each example and syncs the file."""
        rows = [
            self._audio(example) | transcribed(task, example, transcript) | {MADE_BY: self._made_by}
            for example, transcript in zip(examples, transcripts, strict=True)
        ]
        lines.extend(self._path, rows)
        self.rows.update({row["id"]: row for row in rows})

    def _audio(self, example: Example) -> dict[str, Any]:
        """Where the recording lies, from the file's folder; one that is no file is written to `audio/` beside it."""
        found = heard(example.clip)
        path = found["audio"] or self._out.absolute(self._out.recording(example).path)
        folder = self._path.parent.absolute()
        inside = Path(path).is_relative_to(folder)
        audio = {"audio": Path(path).relative_to(folder).as_posix() if inside else path}
        return {key: value for key, value in (found | audio).items() if value is not None}
