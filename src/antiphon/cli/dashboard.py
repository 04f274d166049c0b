"""`antiphon dashboard`: shows the runs of a folder in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from antiphon.cli.output import console
from antiphon.errors import MissingExtraError, RunError

EPILOG = """\
Examples:

antiphon dashboard

antiphon dashboard --root /data/runs --port 9000 --open

antiphon dashboard --allow-host lab.example.com --root-path /antiphon

ssh -L 8026:127.0.0.1:8026 trainer antiphon dashboard
"""


def command(
    root: Annotated[Path, typer.Option("--root", metavar="DIR", help="Parent folder of the run folders.")] = Path(
        "runs"
    ),
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8026,
    host: Annotated[
        str, typer.Option("--host", help="0.0.0.0 accepts other machines; there is no password.")
    ] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            help="Also answer to this host name, such as that of a proxy; *.example.com allows all below it.",
        ),
    ] = None,
    root_path: Annotated[
        str, typer.Option("--root-path", metavar="PATH", help="Path of a proxy below which the dashboard is seen.")
    ] = "",
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
) -> None:
    """Show runs in a browser: curves, rollouts with audio, evaluations, checkpoints and logs."""
    from antiphon.serve.process import require_free

    try:
        from antiphon.dashboard.app import address, serve
    except ModuleNotFoundError as error:
        if error.name not in ("nicegui", "fastapi", "uvicorn", "starlette"):
            raise
        raise MissingExtraError("antiphon dashboard", error.name, "dashboard") from error
    if root.exists() and not root.is_dir():
        raise RunError(f"{root} is not a folder; set --root to the parent folder of the runs")
    require_free(host, port)
    what = f"Showing the runs in {root} at {address(host, port)} (Ctrl+C to stop)"
    console.print(what, highlight=False, soft_wrap=True)
    serve(root, host, port, open_browser, allow_host or [], root_path)
