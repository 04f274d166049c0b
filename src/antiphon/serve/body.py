"""JSON bodies that carry recordings, in memory once: read, parsed and forgotten, where FastAPI would keep the bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute


class _ParsedRequest(Request):
    """Has the value of its body, and no longer its bytes."""

    async def body(self) -> bytes:
        """Reads it; what is returned says only that there was one."""
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
