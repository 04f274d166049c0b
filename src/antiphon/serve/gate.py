"""What stands before every request: the key, room for one more, the size of its body and the time it takes to come."""

from __future__ import annotations

import asyncio
import hmac
import logging
import math
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import HTTPException
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers

from antiphon.serve.errors import FAILED, error_object
from antiphon.serve.limits import Limits
from antiphon.serve.metrics import Metrics

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
OPEN = {"/health", "/docs", "/openapi.json"}
"""Paths that need no key."""

_log = logging.getLogger("antiphon.serve")


class Gate:
    """ASGI middleware. It counts requests with a body, which are the ones that make work."""

    def __init__(self, app: Any, limits: Limits, metrics: Metrics, api_key: str | None) -> None:
        self.app, self.limits, self.metrics, self.api_key = app, limits, metrics, api_key
        self._inside = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        refusal = self._refusal(scope)
        if refusal is not None:
            self.metrics.count(scope["path"], refusal.status_code, 0.0)
            return await refusal(scope, receive, send)
        await self._let_in(scope, receive, send)

    def _refusal(self, scope: Message) -> JSONResponse | None:
        headers = Headers(scope=scope)
        if self.api_key is not None and scope["path"] not in OPEN:
            given = headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), self.api_key.encode()):
                return refuse(401, "the API key is missing or wrong; send Authorization: Bearer KEY")
        if scope["method"] != "POST":
            return None
        if self._inside >= self.limits.requests:
            wait = min(max(math.ceil(self.metrics.mean_seconds), 1), 60)
            message = f"all {self.limits.requests} places are taken; ask again in {wait} s"
            return refuse(429, message, {"Retry-After": str(wait)})
        announced = headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > self.limits.bytes:
            return refuse(413, self._too_large(), {"Connection": "close"})
        return None

    async def _let_in(self, scope: Message, receive: Receive, send: Send) -> None:
        began, status = time.monotonic(), 499  # As nginx counts clients that have left.
        counted = scope["method"] == "POST"

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._inside += counted
        try:
            await self.app(scope, self._watched(receive, began), sending)
        except Exception:
            _log.exception("%s %s failed", scope["method"], scope["path"])
            if status != 499:
                raise  # Half an answer is out; the connection is closed on it.
            await refuse(500, FAILED)(scope, receive, sending)
        finally:
            self._inside -= counted
            self.metrics.count(scope["path"], status, time.monotonic() - began)

    def _watched(self, receive: Receive, began: float) -> Receive:
        """`receive` that raises `HTTPException` for a body that is too large, or comes too slowly."""
        size, whole = 0, False

        async def receiving() -> Message:
            nonlocal size, whole
            if whole:
                return await receive()
            left = began + self.limits.upload_s - time.monotonic()
            try:
                message = await asyncio.wait_for(receive(), max(left, 0.001))
            except TimeoutError:
                raise HTTPException(408, f"the body did not arrive within {self.limits.upload_s:g} s") from None
            size += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if size > self.limits.bytes:
                raise HTTPException(413, self._too_large())
            return message

        return receiving

    def _too_large(self) -> str:
        return f"the body is larger than {self.limits.megabytes:g} MB; send a shorter or compressed recording"


def refuse(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": error_object(status, message)}, status, headers)
