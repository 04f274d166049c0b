"""Transcripts kept as they are made, so that an interrupted evaluation continues where it stopped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from antiphon.errors import RunError
from antiphon.evaluate.pieces import Segment
from antiphon.evaluate.recognize import Portion, Transcript
from antiphon.runs import atomic, lines
from antiphon.types import Answer, Audio, Example, Seconds, Text

_ELEMENTS = 4096


def weights_digest(model: torch.nn.Module) -> str:
    """Tells models apart by their weights, wherever they lie: a SHA-256 over name, shape and the first 4,096 elements
    of each parameter and buffer, in hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().reshape(-1)[:_ELEMENTS].float().cpu().numpy().tobytes())
    return digest.hexdigest()


class KeptTranscripts:
    """A file of JSON lines: first what the transcripts depend on, then one line a portion, as it is made."""

    def __init__(self, path: Path, setup: Mapping[str, Any]) -> None:
        """Opens the file, or begins it. Raises `RunError` when what it holds was made under another `setup`."""
        self._path = path
        self._portions: list[dict[str, Any]] = []
        with atomic.naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        before = lines.read(path)
        if not before:
            lines.append(path, setup)
            return
        header, *self._portions = before
        changed = [key for key in setup if header.get(key) != setup[key]]
        if changed:
            was = ", ".join(f"{key} {header.get(key)!r} (now {setup[key]!r})" for key in changed)
            raise RunError(f"{path} holds transcripts made with {was}; name another --output, or remove the file")

    def add(self, portion: Portion, clips: Mapping[str, str | None], batch_size: int) -> None:
        """Keeps a portion; `clips` has the name of each example's clip by the example's id."""
        rows = [
            {"id": id, "clip": clips[id], **_record(transcript)}
            for id, transcript in zip(portion.ids, portion.transcripts, strict=True)
        ]
        line = {"batch_size": batch_size, "spent": portion.spent, "rows": rows}
        lines.append(self._path, line)
        self._portions.append(line)

    def of(self, examples: Sequence[Example]) -> dict[str, Transcript]:
        """The transcripts there are of these examples, by id; not those of an id that names another clip now."""
        clips = clip_names(examples)
        rows = [row for portion in self._portions for row in portion["rows"]]
        return {
            row["id"]: Transcript(
                _answer(row),
                row["seconds"],
                row["finish_reason"],
                row["language"],
                row.get("instruction", ""),
                tuple(row.get("token_ids", ())),
                tuple(Segment(**one) for one in row.get("segments", ())),
            )
            for row in rows
            if row["id"] in clips and clips[row["id"]] == row["clip"]
        }

    def speed(self, batch_size: int) -> float | None:
        """Seconds of audio per second of computation, over the portions decoded with this batch size."""
        timed = [portion for portion in self._portions if portion["batch_size"] == batch_size]
        audio: Seconds = sum(row["seconds"] for portion in timed for row in portion["rows"])
        return audio / max(sum(portion["spent"] for portion in timed), 1e-9) if timed else None


def _record(transcript: Transcript) -> dict[str, Any]:
    """A transcript as a line has it; of an answer that is audio the samples, float32 in base64."""
    answer, how = transcript.answer, {key: getattr(transcript, key) for key in ("seconds", "finish_reason", "language")}
    how |= {key: value for key in ("instruction", "token_ids") if (value := getattr(transcript, key))}
    if transcript.segments:
        how["segments"] = [asdict(one) for one in transcript.segments]
    if isinstance(answer, Text):
        return {"text": answer.text} | how
    samples = base64.b64encode(answer.waveform.astype("<f4").tobytes()).decode()
    return {"samples": samples, "rate": answer.rate} | how


def _answer(row: Mapping[str, Any]) -> Answer:
    if "text" in row:
        return Text(row["text"])
    return Audio(np.frombuffer(base64.b64decode(row["samples"]), "<f4").astype(np.float32), row["rate"])


def clip_names(examples: Sequence[Example]) -> dict[str, str | None]:
    """What each example's clip is called, by the example's id; of one without audio, what is asked."""
    return {
        example.id: example.columns.get("prompt") if example.clip is None else example.clip.name for example in examples
    }
