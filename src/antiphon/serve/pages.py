"""The server's pages: one to try the models, one with the API's description. They load no external resources."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter, Request
from fastapi.responses import Response
from jinja2 import Environment

from antiphon.serve.describe import operations
from antiphon.serve.errors import RequestError

router = APIRouter(include_in_schema=False)
OPEN = "/page/"
"""URL prefix of the pages' files."""
_FOLDER = files("antiphon.serve") / "page"
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; media-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


@router.get("/")
async def try_it() -> Response:
    return await part("index.html")


@router.get(OPEN + "{name}")
async def part(name: str) -> Response:
    if name not in {one.name for one in _FOLDER.iterdir()}:
        raise RequestError(404, f"no page has a part {name!r}")
    return _sent((_FOLDER / name).read_text(encoding="utf-8"), name)


@router.get("/docs")
async def docs(request: Request) -> Response:
    template = Environment(autoescape=True).from_string((_FOLDER / "docs.html").read_text(encoding="utf-8"))
    schema, base = request.app.openapi(), str(request.base_url).rstrip("/")
    return _sent(template.render(info=schema["info"], operations=operations(schema, base)), "docs.html")


def _sent(text: str, name: str) -> Response:
    return Response(text, media_type=_TYPES[name.rpartition(".")[2]], headers=_HEADERS)
