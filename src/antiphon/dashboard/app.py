"""The dashboard as an application: every module in `pages/` declares its routes, and one process serves them."""

from __future__ import annotations

import pkgutil
import webbrowser
from importlib import import_module
from pathlib import Path

import pandas  # noqa: F401  PyArrow imports it at the first conversion, and the first page would wait for it.
import uvicorn
from fastapi import FastAPI
from nicegui import app, ui
from starlette.middleware.trustedhost import TrustedHostMiddleware

from antiphon.dashboard import frame, pages

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def create_app(root: Path, host: str = "127.0.0.1") -> FastAPI:
    """The application for the runs in `root`. NiceGUI knows one application a process: call it once.

    Bound to a loopback address it answers to loopback names alone, so that no web page can read it through a name of
    its own that leads here.
    """
    server = FastAPI(openapi_url=None)
    if host in LOOPBACK:
        server.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"])
    frame.prepare(root)
    for module in pkgutil.iter_modules(pages.__path__):
        import_module(f"{pages.__name__}.{module.name}").register(root.resolve())
    ui.run_with(server, title="antiphon", favicon=frame.ICON, dark=None, tailwind=False, show_welcome_message=False)
    return server


def serve(root: Path, host: str, port: int, open_browser: bool) -> None:
    """Answers until interrupted."""
    server = create_app(root, host)
    if open_browser:
        app.on_startup(lambda: webbrowser.open(address(host, port)))
    uvicorn.run(server, host=host, port=port, log_level="warning", timeout_graceful_shutdown=2)


def address(host: str, port: int) -> str:
    """Where a browser on this machine finds what listens on `host`."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}"
