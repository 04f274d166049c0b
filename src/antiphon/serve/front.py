"""What happens to every request before and after the application: its path, its id, and its line in the log."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
_log = logging.getLogger("antiphon.access")
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Front:
    """ASGI middleware, the outermost.

    `root_path` is the path under which a proxy shows the server: it is taken off if the proxy has left it on. HEAD is
    answered like GET; the server leaves out the body. Every response carries `x-request-id`, the client's or a new one.
    """

    def __init__(self, app: Any, root_path: str = "") -> None:
        self.app, self.root_path = app, root_path

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        began, given = time.monotonic(), Headers(scope=scope).get("x-request-id", "")
        own = given if _ID.fullmatch(given) else uuid.uuid4().hex[:16]
        path, status = self._path(scope["path"]), 499  # nginx's code for clients that have disconnected.

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = own
            await send(message)

        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        inner = {
            **scope,
            "method": method,
            "path": self.root_path + path,
            "root_path": self.root_path,
            "request_id": own,
        }
        try:
            await self.app(inner, receive, sending)
        finally:
            seconds, client = time.monotonic() - began, (scope.get("client") or ("-",))[0]
            _log.info("%s %s %s %s %d %.3fs", own, client, scope["method"], _printable(path), status, seconds)

    def _path(self, path: str) -> str:
        """The path within the application."""
        if self.root_path and (path == self.root_path or path.startswith(f"{self.root_path}/")):
            return path[len(self.root_path) :] or "/"
        return path


def _printable(path: str) -> str:
    """A path for one line of a log, however long it is and whatever is in it."""
    return path[:200].encode("unicode_escape").decode()
