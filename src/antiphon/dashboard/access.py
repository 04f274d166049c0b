"""Who reaches the dashboard: by which host names, from which web pages, and below which path of a proxy."""

from __future__ import annotations

import hmac
import json
import logging
import re
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from nicegui.element import Element
from nicegui.events import GenericEventArguments
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from antiphon.serve.hosts import is_among, is_own, name_in, own_names

_PREFIX = re.compile(r"(/[\w.~+@-]+)+")
_HEADERS = {
    "content-security-policy": "frame-ancestors 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}
_log = logging.getLogger(__name__)


class Access:
    """ASGI middleware that refuses foreign host names and origins, and moves the application below a path.

    A request must name the server as `antiphon serve` asks for it (`serve.hosts`), by a name of its own or one that is
    `allowed`. A request that a page of another origin sends is refused, whatever it asks for.
    """

    def __init__(self, app: ASGIApp, host: str, allowed: Sequence[str] = (), root_path: str = "") -> None:
        self.app, self.allowed = app, frozenset(name.lower() for name in allowed)
        self.root_path = root_path.strip("/") and f"/{root_path.strip('/')}"
        self.names = own_names(host, allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        if why := self._refusal(Headers(scope=scope)):
            if scope["type"] == "websocket":
                await receive()
                return await send({"type": "websocket.close", "code": 1008, "reason": why[:120]})
            return await PlainTextResponse(why, 403)(scope, receive, send)
        await self.app(self._below(scope), receive, _with_headers(send))

    def _refusal(self, headers: Headers) -> str:
        host, origin = headers.get("host", ""), headers.get("origin")
        if not is_own(host, self.names):
            return f"This dashboard does not answer to {host[:100]!r}; start it with --allow-host {name_in(host)[:100]}"
        sender = host if origin is None else origin.rpartition("://")[2]
        if sender == host or is_among(name_in(sender), self.allowed):
            return ""
        return (
            f"A page of {sender[:100]!r} sent this request. Behind a proxy, start the dashboard with --allow-host NAME"
        )

    def _below(self, scope: Scope) -> Scope:
        """`scope` with the prefix as its root path, whether or not the proxy has removed it from the path."""
        prefix = self.root_path
        if not prefix and _PREFIX.fullmatch(given := Headers(scope=scope).get("x-forwarded-prefix", "").rstrip("/")):
            prefix = given
        kept = [(name, value) for name, value in scope["headers"] if name != b"x-forwarded-prefix"]
        if not prefix:
            return {**scope, "headers": kept}
        path = scope["path"] if f"{scope['path']}/".startswith(f"{prefix}/") else prefix + scope["path"]
        return {**scope, "headers": kept, "root_path": prefix, "path": path}


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(_HEADERS)
        await send(message)

    return sending


def on_click(element: Element, work: Callable[[], Any]) -> None:
    """Run `work` on clicks of a page that this dashboard made: they carry a token which only that page was given."""
    token = secrets.token_urlsafe()

    def clicked(event: GenericEventArguments) -> Any:
        if not hmac.compare_digest(str(event.args).encode(), token.encode()):
            return _log.warning("A click without the page's token was ignored.")
        return work()

    element.on("click", clicked, js_handler=f"() => emit({json.dumps(token)})")
