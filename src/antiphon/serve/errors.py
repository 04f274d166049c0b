"""Errors as status and body in OpenAI's format."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from antiphon.errors import AudioError, ConfigError
from antiphon.serve.job import RefusedError


class Trouble(BaseModel):
    message: str
    type: str
    param: str | None
    code: str


class Failed(BaseModel):
    """The body of every error response."""

    error: Trouble


DECLARED: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Failed, "description": "What is wrong with the request, and what to do about it."},
    "5XX": {"model": Failed, "description": "No answer in time, or an internal error; see the server's log."},
}
"""Error responses of every path, in the API's description."""
HANDLED = (HTTPException, RequestValidationError, RefusedError, AudioError, ConfigError, TimeoutError)
"""All other exceptions are internal errors."""
FAILED = "the server failed at this; its log says why"


async def handle(request: Request, error: Exception) -> JSONResponse:
    """The response to a request that failed."""
    return JSONResponse(body_of(error), status_of(error), getattr(error, "headers", None))


def status_of(error: Exception) -> int:
    if isinstance(error, HTTPException):
        return error.status_code
    if isinstance(error, RequestValidationError | RefusedError | AudioError | ConfigError):
        return 400
    return 504 if isinstance(error, TimeoutError) else 500


def body_of(error: Exception) -> dict[str, Any]:
    status = status_of(error)
    return {"error": error_object(status, _message(error, status))}


def error_object(status: int, message: str) -> dict[str, Any]:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"message": message, "type": kind, "param": None, "code": str(status)}


def _message(error: Exception, status: int) -> str:
    if isinstance(error, HTTPException):
        return str(error.detail)
    if isinstance(error, RequestValidationError):
        return "; ".join(f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors())
    if status == 500:
        return FAILED
    return str(error) or "no answer in time; send less, or ask again later"
