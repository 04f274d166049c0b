"""Copies of input clips and of audio answers, so that a run can be played without its data set."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from antiphon.runs import atomic
from antiphon.runs.checkpoints import step_name, step_of
from antiphon.types import Audio, Hertz


def save_clip(folder: Path, name: str, load: Callable[[], np.ndarray], rate: Hertz, limit: int) -> str | None:
    """Save a 16-bit FLAC copy of the waveform that `load` returns, mono [samples] in -1..1 at `rate`.

    Returns its file name in `folder`. Each `name` is loaded and written once. None if `folder` already holds `limit`
    other clips. Samples beyond ±1 are clipped in the copy. Raises `RunError` if it cannot be written.
    """
    file = f"{_file_stem(name, Path(name).stem)}.flac"
    with atomic.naming(folder):
        folder.mkdir(exist_ok=True)
    copies = {path.name for path in folder.glob("[!.]*.flac")}
    if file in copies:
        return file
    if len(copies) >= limit:
        return None
    _write(folder / file, load(), rate)
    return file


def save_answer(folder: Path, step: int, name: str, answer: Audio, limit: int) -> str | None:
    """The file name in `folder` of a 16-bit FLAC copy of an answer of `step` that is called `name`.

    The folder holds `limit` copies, the newest: those of earlier steps make room. None when it is full of answers of
    this step, and for an answer without a sample. Raises `RunError` when it cannot be written.
    """
    file = f"{step_name(step)}-{_file_stem(name, name)}.flac"
    with atomic.naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
        copies = answer_copies(folder)
        of_step = [path for at, path in copies if at == step and path.name != file]
        earlier = [path for at, path in copies if at != step]
        if answer.empty or len(of_step) >= limit:
            return None
        for path in earlier[: max(len(earlier) + len(of_step) + 1 - limit, 0)]:
            path.unlink()
    _write(folder / file, answer.waveform, answer.rate)
    return file


def answer_copies(folder: Path) -> list[tuple[int, Path]]:
    """The copies of answers in `folder` with their steps, the oldest first."""
    found = ((step_of("-".join(path.name.split("-")[:2])), path) for path in folder.glob("[!.]*.flac"))
    return sorted((step, path) for step, path in found if step is not None)


def _file_stem(name: str, shown: str) -> str:
    """A stem that tells names apart; `shown` is the part of a name to be read in it."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9-]+', '-', shown)[-60:]}-{digest}"


def _write(path: Path, waveform: np.ndarray, rate: Hertz) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(waveform, -1.0, 1.0), rate, format="FLAC", subtype="PCM_16")
    atomic.write_bytes(path, buffer.getvalue())
