"""Errors as status and body in OpenAI's format."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import fastapi
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from antiphon.errors import AudioError, ConfigError, did_you_mean
from antiphon.serve.job import RefusedError


class RequestError(fastapi.HTTPException):
    """A refused request."""

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`param` is the field at fault, and `code` OpenAI's name of the error; default: that of the status."""
        super().__init__(status, message, dict(headers) if headers else None)
        self.param, self.code = param, code


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
CODES = {
    401: "invalid_api_key",
    403: "host_not_allowed",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "request_too_large",
    429: "rate_limit_exceeded",
    503: "service_unavailable",
    504: "timeout",
}
"""The code of an error by its status, where the error has none of its own."""
_VALIDATION_CODES = {"missing": "missing_required_parameter", "extra_forbidden": "unknown_parameter"}
_TYPES = ("str", "int", "float", "bool", "dict", "list", "constrained")
"""What pydantic puts in a location for the members of a union."""
_SHOWN = 3
"""Faults of a request named in one message."""


async def handle(request: Request, error: Exception) -> JSONResponse:
    """The response to a request that failed."""
    if isinstance(error, HTTPException) and error.detail in ("Not Found", "Method Not Allowed"):
        error = _misrouted(request, error)
    return JSONResponse(body_of(error), status_of(error), getattr(error, "headers", None))


def status_of(error: Exception) -> int:
    if isinstance(error, HTTPException):
        return error.status_code
    if isinstance(error, RequestValidationError | RefusedError | AudioError | ConfigError):
        return 400
    return 504 if isinstance(error, TimeoutError) else 500


def body_of(error: Exception) -> dict[str, Any]:
    status = status_of(error)
    if isinstance(error, RequestValidationError):
        return error_object(status, *_invalid(error.errors()))
    return error_object(status, _message(error, status), getattr(error, "param", None), getattr(error, "code", None))


def error_object(status: int, message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """The body of an error response."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    code = code or CODES.get(status, "internal_error" if status >= 500 else "invalid_value")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def unknown_fields(names: Iterable[str], known: Collection[str]) -> RequestError:
    """The error for fields that a form does not have. Names are shortened: they are whatever the client has sent."""
    name, *others = sorted(names)
    also = f" (and {len(others)} more)" if others else ""
    return RequestError(
        400,
        f"{short(name)!r}: unknown field{also}; {did_you_mean(name[:60], sorted(known))}",
        short(name),
        "unknown_parameter",
    )


def short(text: str) -> str:
    """At most 40 characters of what a client has sent."""
    return text if len(text) <= 40 else f"{text[:40]}…"


def _message(error: Exception, status: int) -> str:
    if isinstance(error, HTTPException):
        return str(error.detail)
    if status == 500:
        return FAILED
    return str(error) or "no answer in time; send less, or ask again later"


def _invalid(faults: Sequence[Mapping[str, Any]]) -> tuple[str, str | None, str]:
    """Message, field and code for faults that pydantic found. Nothing that the client sent is repeated."""
    named: dict[str, list[str]] = {}
    for one in faults:
        named.setdefault(_field(one["loc"]), []).append(_fault(one))
    shown = [f"{name or 'the body'}: {' or '.join(dict.fromkeys(all))}" for name, all in named.items()]
    more = f"; and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    first = faults[0]
    return (
        "; ".join(shown[:_SHOWN]) + more,
        _field(first["loc"]) or None,
        _VALIDATION_CODES.get(first["type"], "invalid_value"),
    )


def _field(location: Sequence[Any]) -> str:
    """`messages[0].content` for a location; what pydantic adds for the members of a union is left out."""
    name = ""
    for part in location[1:]:
        if isinstance(part, int):
            name += f"[{part}]" if name else ""  # Of the body itself: where it stops being JSON.
        elif re.fullmatch(r"[a-z_]+(\[\])?", part) and part not in _TYPES and not name.endswith(f".{part}"):
            name += f".{part}" if name else part
    return short(name)


def _fault(one: Mapping[str, Any]) -> str:
    match one["type"]:
        case "missing":
            return "is required"
        case "extra_forbidden":
            return "unknown field"
        case "model_attributes_type" | "model_type" | "dict_type":
            return "should be an object"
        case "json_invalid":
            return f"is not valid JSON ({one.get('ctx', {}).get('error', 'syntax error')})"
    return str(one["msg"]).removeprefix("Value error, ")


def _misrouted(request: Request, error: HTTPException) -> RequestError:
    """The error for a path that does not exist, or a method that it does not take."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        return RequestError(405, f"{short(path)} takes {allowed}, not {request.method}", headers=error.headers)
    paths = sorted(path for path in request.app.openapi()["paths"] if "{" not in path)
    return RequestError(404, f"there is no {short(path)}; {did_you_mean(path[:60], paths)}", code="unknown_url")
