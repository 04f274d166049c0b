"""Checks multipart forms before their fields are read, and reads those that are objects."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import Request
from pydantic import Field, TypeAdapter, ValidationError

from antiphon.serve.errors import RequestError, unknown_fields
from antiphon.serve.schemas import Strict

FORM = "multipart/form-data"
CHUNKING = "chunking_strategy"


class ServerVad(Strict):
    """How a recording is split at pauses."""

    type: Literal["server_vad"]
    prefix_padding_ms: int = Field(default=300, ge=0, le=5000)
    """Kept before and after speech."""
    silence_duration_ms: int = Field(default=200, ge=20, le=10_000)
    """Shortest pause to split at."""
    threshold: float = Field(default=0.5, ge=0, le=1)
    """Least probability of speech."""


_Chunking = TypeAdapter[Literal["auto"] | ServerVad](Literal["auto"] | ServerVad)
_PARTS = {f"{CHUNKING}[{name}]": name for name in ServerVad.model_fields}
"""OpenAI's clients send the fields of an object one by one."""


async def checked(request: Request) -> None:
    """Raises `RequestError` 400 for a body that is not a form, unknown fields, fields given twice, and a `file`
    that is text."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM:
        raise RequestError(
            400, f"send {FORM}, with the recording in the field file; with curl: -F file=@clip.wav", "file"
        )
    form, known = await request.form(), {field.alias for field in request.scope["route"].dependant.body_params}
    known |= set(_PARTS) if CHUNKING in known else set()
    if unknown := set(form) - known:
        raise unknown_fields(unknown, known)
    for name in form:
        if len(form.getlist(name)) > 1 and not name.endswith("[]"):
            raise RequestError(400, f"{name} is given {len(form.getlist(name))} times; give it once", name)
    if isinstance(form.get("file"), str):
        raise RequestError(
            400, "file is text, not an upload; with curl, put @ before the path: -F file=@clip.wav", "file"
        )


async def chunking(request: Request) -> ServerVad | None:
    """The value of `chunking_strategy`; None for "auto". Raises `RequestError` 400 for another value."""
    form = await request.form()
    parts: dict[str, Any] = {own: form[name] for name, own in _PARTS.items() if name in form}
    value = form.get(CHUNKING, "auto")
    try:
        read = _Chunking.validate_python(parts) if parts else _read(str(value))
    except ValidationError as error:
        fields = ", ".join(
            f"{name} {field.default}" for name, field in ServerVad.model_fields.items() if name != "type"
        )
        raise RequestError(
            400, f'{CHUNKING} is auto, or an object of type "server_vad" with any of {fields}', CHUNKING
        ) from error
    return read if isinstance(read, ServerVad) else None


def _read(value: str) -> Any:
    return _Chunking.validate_python(value) if value == "auto" else _Chunking.validate_json(value)
