"""Copies of the clips a model heard, so that a run can be listened to when the data set is elsewhere."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from antiphon.runs import atomic
from antiphon.types import Hertz


def save_clip(folder: Path, name: str, load: Callable[[], np.ndarray], rate: Hertz, limit: int) -> str | None:
    """The file name in `folder` of a 16-bit FLAC copy of what `load` gives, mono [samples] in -1..1 at `rate`.

    A clip called `name` is loaded and written once. None when `folder` already holds `limit` others: nothing is
    written. Samples beyond ±1 are clipped in the copy. Raises `RunError` when it cannot be written.
    """
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    file = f"{re.sub(r'[^A-Za-z0-9-]+', '-', Path(name).stem)[-60:]}-{digest}.flac"
    with atomic.naming(folder):
        folder.mkdir(exist_ok=True)
    copies = {path.name for path in folder.glob("[!.]*.flac")}
    if file in copies:
        return file
    if len(copies) >= limit:
        return None
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(load(), -1.0, 1.0), rate, format="FLAC", subtype="PCM_16")
    atomic.write_bytes(folder / file, buffer.getvalue())
    return file
