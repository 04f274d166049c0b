"""Chat messages in OpenAI's format, with an optional clip."""

from __future__ import annotations

import base64
from typing import Any


def user_message(text: str, clip: bytes | None = None, form: str = "wav") -> dict[str, Any]:
    """A user message: `text` after a clip, the content of an audio file in the format `form`."""
    content: list[dict[str, Any]] = []
    if clip is not None:
        data = base64.b64encode(clip).decode("ascii")
        content.append({"type": "input_audio", "input_audio": {"data": data, "format": form}})
    if text or clip is None:
        content.append({"type": "text", "text": text})
    return {"role": "user", "content": content}


def conversation(text: str, clip: bytes | None = None, context: str = "") -> list[dict[str, Any]]:
    """One user message, after `context` as a system message if given."""
    system = [{"role": "system", "content": context}] if context else []
    return [*system, user_message(text, clip)]
