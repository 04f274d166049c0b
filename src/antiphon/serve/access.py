"""Access control before every request: host name, API key, number of requests, body size and upload time."""

from __future__ import annotations

import asyncio
import hmac
import logging
import math
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers

from antiphon.serve import pages
from antiphon.serve.errors import FAILED, RequestError, error_object, short
from antiphon.serve.front import Message, Receive, Send
from antiphon.serve.hosts import is_own
from antiphon.serve.limits import Limits
from antiphon.serve.metrics import Metrics

OPEN = {"/", "/health", "/docs", "/openapi.json"}
"""Paths that do not need a key."""

_log = logging.getLogger("antiphon.serve")


class AccessControl:
    """ASGI middleware. It counts only requests with a body, which are those that cause work."""

    def __init__(self, app: Any, limits: Limits, metrics: Metrics, api_key: str | None, names: frozenset[str]) -> None:
        """`names` are the host names of the server (see `antiphon.serve.hosts`)."""
        self.app, self.limits, self.metrics, self.api_key, self.names = app, limits, metrics, api_key, names
        self._inside = 0
        self._held = 0
        """Total bytes of the bodies of current requests."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        refusal = self._refusal(scope)
        if refusal is not None:
            self.metrics.count(_path(scope), refusal.status_code, 0.0)
            return await refusal(scope, receive, send)
        await self._let_in(scope, receive, send)

    def _refusal(self, scope: Message) -> JSONResponse | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not is_own(host, self.names):
            return refuse(403, f"{short(host)!r} is no name of this server; start it with --allow-host to add one")
        if self.api_key is not None and not _open(_path(scope)):
            scheme, _, given = headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self.api_key.encode()):
                message = "the API key is missing or wrong; send Authorization: Bearer KEY"
                return refuse(401, message, {"WWW-Authenticate": "Bearer"})
        if scope["method"] != "POST":
            return None
        if self._inside >= self.limits.requests:
            return refuse(429, *self._full(f"all {self.limits.requests} places are taken"))
        announced = headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > self.limits.body_bytes:
            return refuse(413, self.limits.too_large, {"Connection": "close"})
        return None

    async def _let_in(self, scope: Message, receive: Receive, send: Send) -> None:
        began, status = time.monotonic(), 499  # nginx's code for clients that have disconnected.
        counted = scope["method"] == "POST"

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        body = _Body(receive, began)
        self._inside += counted
        try:
            await self.app(scope, partial(self._receive, body), sending)
        except Exception:
            _log.exception("%s %s %s failed", scope.get("request_id"), scope["method"], scope["path"])
            if status != 499:
                raise  # Part of the response has been sent; close the connection.
            await refuse(500, FAILED)(scope, receive, sending)
        finally:
            self._inside -= counted
            self._held -= body.size
            self.metrics.count(_path(scope), status, time.monotonic() - began)

    async def _receive(self, body: _Body) -> Message:
        """Receive the next message. Raises `RequestError` if the body is too large or slow, or memory is full."""
        if body.whole:
            return await body.receive()
        left = body.began + self.limits.upload_s - time.monotonic()
        try:
            message = await asyncio.wait_for(body.receive(), max(left, 0.001))
        except TimeoutError:
            raise RequestError(408, f"the body did not arrive within {self.limits.upload_s:g} s") from None
        came = len(message.get("body", b""))
        body.size, self._held = body.size + came, self._held + came
        body.whole = not message.get("more_body", False)
        if body.size > self.limits.body_bytes:
            raise RequestError(413, self.limits.too_large)
        if self._held > self.limits.held_bytes:
            message, headers = self._full("earlier requests use all the memory for bodies")
            raise RequestError(429, message, headers=headers)
        return message

    def _full(self, cause: str) -> tuple[str, dict[str, str]]:
        """Message and headers of a 429 response."""
        wait = min(max(math.ceil(self.metrics.mean_seconds), 1), 60)
        return f"{cause}; ask again in {wait} s", {"Retry-After": str(wait)}


@dataclass
class _Body:
    """The body of one request, while it arrives."""

    receive: Receive
    began: float
    size: int = 0
    whole: bool = False


def _open(path: str) -> bool:
    return path in OPEN or path.startswith(pages.OPEN)


def refuse(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(error_object(status, message), status, headers)


def _path(scope: Message) -> str:
    """The path within the application, whatever a proxy has put before it."""
    return scope["path"].removeprefix(scope.get("root_path", ""))
