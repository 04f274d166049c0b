"""Serves audio and waveforms to the players of other pages. Clips are addressed by a row of a run's file.

So only clips named in a row can be requested.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from nicegui import app, ui

from antiphon.dashboard.audio import Named, locate, playable, waveform
from antiphon.dashboard.frame import run_url
from antiphon.dashboard.read.evaluations import folder_of
from antiphon.dashboard.read.rollouts import read_rows
from antiphon.dashboard.read.runs import find
from antiphon.errors import AntiphonError, AudioError
from antiphon.runs.checkpoints import step_name

_HERE = Path(__file__).parents[1]


def register(root: Path) -> None:
    style, script = ((_HERE / f"clips.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    ui.add_head_html(f"<style>{style}</style><script>{script}</script>", shared=True)

    @app.get("/evals/clip/{file}/{row:int}")
    @app.get("/run/{name}/clip/{kind}/{file}/{row:int}")
    def sound(file: str, row: int, name: str = "", kind: str = "evals") -> Response:
        try:
            path = playable(_named(root, name, kind, file, row))
        except AntiphonError as error:
            return PlainTextResponse(str(error), 404)
        return FileResponse(path, headers={"cache-control": "private, max-age=3600"})

    @app.get("/evals/clip/{file}/{row:int}/waveform")
    @app.get("/run/{name}/clip/{kind}/{file}/{row:int}/waveform")
    def shape(file: str, row: int, name: str = "", kind: str = "evals") -> Response:
        try:
            return JSONResponse(waveform(_named(root, name, kind, file, row)))
        except AudioError as error:
            return JSONResponse({"missing": str(error)})
        except AntiphonError as error:
            return PlainTextResponse(str(error), 404)


_COLUMNS = {
    "rollouts": ("rollouts", "audio"),
    "evals": ("evals", "audio"),
    "rollout-answers": ("rollouts", "answer_audio"),
    "eval-answers": ("evals", "answer_audio"),
}
"""From the kind in a URL to the files and their column that name the clip."""


def rollout_clip(run: str, step: int, row: int) -> str:
    """HTML of a player for the clip of a rollout row."""
    return _player(f"{run_url(run)}/clip/rollouts/{step}/{row}")


def eval_clip(run: str | None, folder: str, row: int) -> str:
    """HTML of a player for a row of the evaluation in `folder`; `run` is None for other models."""
    place = "evals/clip" if run is None else f"{run_url(run)}/clip/evals"
    return _player(f"{place}/{quote(folder, safe='')}/{row}")


def rollout_answer(run: str, step: int, row: int) -> str:
    """A player of the answer of a row of a step's rollouts."""
    return _player(f"{run_url(run)}/clip/rollout-answers/{step}/{row}")


def eval_answer(run: str, folder: str, row: int) -> str:
    """A player of the answer of a row of a run's evaluation in `folder`."""
    return _player(f"{run_url(run)}/clip/eval-answers/{quote(folder, safe='')}/{row}")


def _player(url: str) -> str:
    return f'<clip-player src="{escape(url)}"></clip-player>'


def _named(root: Path, name: str, kind: str, file: str, row: int) -> Named:
    """The clip of a row. Raises `AntiphonError` if the run, file, row or clip does not exist."""
    run = find(root, name) if name else root
    files, column = _COLUMNS.get(kind, _COLUMNS["evals"])
    if files == "rollouts" and file.isdecimal():
        rows = run / "rollouts" / f"{step_name(int(file))}.parquet"
        return locate(run, run, _value(rows, row, column))
    folder = folder_of(run, file)
    scored = (folder / "scores.json").is_file()
    return locate(run, folder if scored else run, _value(folder / "rows.parquet", row, column))


def _value(path: Path, row: int, column: str) -> Any:
    rows = read_rows(path, row, row + 1, [column])
    return rows[0].get(column) if rows else None
