"""Parses JSON bodies with recordings without keeping the bytes, as FastAPI would."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute


class _ParsedRequest(Request):
    """A request that keeps the parsed body, but not its bytes."""

    async def body(self) -> bytes:
        """Read and parse the body; the return value only tells FastAPI that there is one."""
        read = bytearray()
        async for part in self.stream():
            read += part
        self._value = json.loads(read) if read else None
        return b"body" if read else b""

    async def json(self) -> Any:
        return self._value


class ParsedRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def parsed(request: Request) -> Response:
            return await handle(_ParsedRequest(request.scope, request.receive))

        return parsed
