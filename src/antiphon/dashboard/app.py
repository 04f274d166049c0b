"""The dashboard application: modules in `pages/` declare their routes, and one process serves them."""

from __future__ import annotations

import html
import pkgutil
import webbrowser
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import pandas  # noqa: F401  PyArrow would import it at the first conversion, and delay the first page.
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from nicegui import app, ui

from antiphon.dashboard import frame, pages
from antiphon.dashboard.access import Access


def create_app(root: Path, host: str = "127.0.0.1", allowed: Sequence[str] = (), root_path: str = "") -> FastAPI:
    """Create the application for the runs in `root`. Call it once, as NiceGUI has one application per process.

    It answers to the host names that `Access` knows, and to those `allowed`, below `root_path`.
    """
    server = FastAPI(openapi_url=None)
    server.add_middleware(Access, host=host, allowed=allowed, root_path=root_path)
    frame.prepare(root)
    for module in pkgutil.iter_modules(pages.__path__):
        import_module(f"{pages.__name__}.{module.name}").register(root.resolve())
    ui.run_with(
        server,
        title="antiphon",
        favicon=frame.ICON,
        dark=None,
        language="en-US",
        tailwind=False,
        show_welcome_message=False,
    )
    app.add_exception_handler(404, _not_found)
    return server


async def _not_found(request: Request, error: Exception) -> HTMLResponse:
    """In place of NiceGUI's page, which has no heading."""
    home = request.scope.get("root_path", "") + "/"
    return HTMLResponse(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Not found · antiphon</title>'
        "<style>:root{color-scheme:light dark}body{background:light-dark(#fff,#111);color:light-dark(#111,#eee)}"
        "a{color:light-dark(#0645ad,#9ecbff)}</style></head>"
        "<body><main><h1>There is no such page</h1>"
        f'<p><a href="{html.escape(home)}">All runs</a></p></main></body></html>',
        404,
    )


def serve(
    root: Path, host: str, port: int, open_browser: bool, allowed: Sequence[str] = (), root_path: str = ""
) -> None:
    """Serve until interrupted."""
    server = create_app(root, host, allowed, root_path)
    if open_browser:
        app.on_startup(lambda: webbrowser.open(address(host, port)))
    uvicorn.run(server, host=host, port=port, log_level="warning", timeout_graceful_shutdown=2)


def address(host: str, port: int) -> str:
    """The URL, for a browser on this machine, of a server that listens on `host`."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}"
