"""Checks multipart forms before their fields are read."""

from __future__ import annotations

from fastapi import Request

from antiphon.serve.errors import RequestError, unknown_fields

FORM = "multipart/form-data"


async def checked(request: Request) -> None:
    """Raises `RequestError` 400 for a body that is not a form, unknown fields, fields given twice, and a `file`
    that is text."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM:
        raise RequestError(
            400, f"send {FORM}, with the recording in the field file; with curl: -F file=@clip.wav", "file"
        )
    form, known = await request.form(), {field.alias for field in request.scope["route"].dependant.body_params}
    if unknown := set(form) - known:
        raise unknown_fields(unknown, known)
    for name in form:
        if len(form.getlist(name)) > 1 and not name.endswith("[]"):
            raise RequestError(400, f"{name} is given {len(form.getlist(name))} times; give it once", name)
    if isinstance(form.get("file"), str):
        raise RequestError(
            400, "file is text, not an upload; with curl, put @ before the path: -F file=@clip.wav", "file"
        )
