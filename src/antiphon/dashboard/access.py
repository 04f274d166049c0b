"""Who reaches the dashboard: by which host names, from which web pages, and below which path of a proxy."""

from __future__ import annotations

import hmac
import ipaddress
import json
import logging
import re
import secrets
import socket
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from nicegui.element import Element
from nicegui.events import GenericEventArguments
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PREFIX = re.compile(r"(/[\w.~+@-]+)+")
_HEADERS = {
    "content-security-policy": "frame-ancestors 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}
_log = logging.getLogger(__name__)


class Access:
    """ASGI middleware that refuses foreign host names and origins, and moves the application below a path.

    A request must name a known host, as otherwise a web page could reach the dashboard through a name of its own (DNS
    rebinding). Known are the loopback names and `allowed`; if the server listens to other machines, their addresses
    and this machine's name too. A request that a page of another origin sends is refused, whatever it asks for.
    """

    def __init__(self, app: ASGIApp, host: str, allowed: Sequence[str] = (), root_path: str = "") -> None:
        self.app, self.allowed = app, [name.lower() for name in allowed]
        self.root_path = root_path.strip("/") and f"/{root_path.strip('/')}"
        self.open = host not in LOOPBACK
        self.names = {*LOOPBACK, host.lower(), *([socket.gethostname().lower()] if self.open else [])}

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
        name = _hostname(host)
        if not self._known(name):
            return f"This dashboard does not answer to {host[:100]!r}; start it with --allow-host {name[:100]}"
        sender = host if origin is None else origin.rpartition("://")[2]
        if sender == host or _matches(_hostname(sender), self.allowed):
            return ""
        return (
            f"A page of {sender[:100]!r} sent this request. Behind a proxy, start the dashboard with --allow-host NAME"
        )

    def _known(self, name: str) -> bool:
        return name in self.names or _matches(name, self.allowed) or (self.open and _is_address(name))

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


def _hostname(netloc: str) -> str:
    try:
        return urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return ""


def _matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a host name is one of `patterns`, of which `*.example.com` stands for all below it."""
    return any(name == one or (one.startswith("*.") and name.endswith(one[1:])) for one in patterns)


def _is_address(name: str) -> bool:
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


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
