"""NVIDIA NeMo's manifests: JSON lines with `audio_filepath`, `duration`, and `offset` for a segment."""

from __future__ import annotations

import json

from antiphon.data import content
from antiphon.data.files import head
from antiphon.data.readers import jsonl

BY_CONTENT = True
read = jsonl.read
"""As JSON lines: a row with an offset and a duration is that segment; a duration alone must be that of the file."""


def claims(spec: str) -> bool:
    if content.form_of(spec) != "jsonl":
        return False
    try:
        return "audio_filepath" in json.loads(
            head(spec).decode("utf-8-sig", errors="replace").lstrip().partition("\n")[0]
        )
    except (ValueError, RecursionError):
        return False
