"""The overview of one run: progress, metrics, curves and recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nicegui import ui

from antiphon.dashboard.frame import frame, missing
from antiphon.dashboard.group import figure
from antiphon.dashboard.plots import REFRESH, CurvesView
from antiphon.dashboard.read.cache import Cached
from antiphon.dashboard.read.curves import interval
from antiphon.dashboard.read.evaluations import Evaluated, list_evaluations
from antiphon.dashboard.read.reasons import clean
from antiphon.dashboard.read.recipes import default_recipe, differences, read_recipe
from antiphon.dashboard.read.runs import Row, find, is_run, read_row
from antiphon.dashboard.read.tables import read_table
from antiphon.dashboard.widgets import (
    ago,
    badge,
    duration,
    facts,
    heading,
    notice,
    plural,
    remaining,
    settings_table,
    since,
    tone,
)
from antiphon.errors import RunError
from antiphon.runs.folder import RunFolder


def register(root: Path) -> None:
    @ui.page("/run/{name}")
    def show(name: str) -> None:
        try:
            path = find(root, name)
        except RunError as error:
            return missing(str(error))
        with frame(name, run=name, tab=""):
            _Head(path)
            CurvesView([(name, path)])
            _recipe(path)


class _Head:
    """The run's status and metrics, updated on changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: object = None
        self.body = ui.element("div").classes("stack head")
        self.fill()
        ui.timer(REFRESH, self.fill, immediate=False)

    def fill(self) -> None:
        if not is_run(self.path):
            return  # The frame says so.
        row = read_row(self.path)
        figures, alarm, problems = _facts(self.path, row), _alarm(self.path), _problems(self.path)
        if (row.state, row.damage, figures, alarm, problems) == self.said:
            return
        self.said = (row.state, row.damage, figures, alarm, problems)
        self.body.clear()
        with self.body:
            with ui.element("div").classes("row"):
                heading(row.id).classes("title")
                badge(row.state, tone(row.state))
                if row.steps:
                    done = min(1.0, (row.step or 0) / row.steps)
                    bar = ui.linear_progress(done, show_value=False, size="5px").classes("done")
                    bar.props('rounded aria-label="Steps done"')
            for note in row.damage:
                notice(note, "bad")
            if alarm:
                notice(alarm, "warn")
            for problem in problems:
                notice(f"In this run {problem}", "warn")
            if row.why:
                notice(f"{row.state.capitalize()}: {row.why}", tone(row.state))
            facts(figures)


def _facts(path: Path, row: Row) -> dict[str, str]:
    """Names and values of the line under the title."""
    begun = since(row.started) if row.started else None
    written = since(row.updated) if row.updated else None
    took = None if begun is None or written is None else begun - (0 if row.live else written)
    shown = {
        "Step": None if row.step is None else f"{row.step:,}" + (f" of {row.steps:,}" if row.steps else ""),
        **_rates(path),
        "Reward": None if row.reward is None else figure(row.reward),
        "Algorithm": row.algorithm,
        "Model": row.model,
        "Started": ago(row.started) if row.started else None,
        "Took": duration(took) if took is not None and not row.live else None,
        "Running for": duration(took) if took is not None and row.live else None,
        "Left": remaining(row.left) if row.left else None,
        **_machine(path, row),
    }
    return {name: value for name, value in shown.items() if value is not None}


def _problems(path: Path) -> list[str]:
    """What the run said at its end that went wrong."""
    try:
        return [clean(str(one["message"])) for one in RunFolder(path).problems()]
    except (RunError, TypeError, KeyError):
        return []


def _alarm(path: Path) -> str | None:
    """The regression guard's last result, if it was an alarm."""
    guard = read_table(path / "guard.jsonl")
    worse = guard.column("worse")
    if not len(worse) or not worse[-1] > 0:
        return None
    groups = plural(int(worse[-1]), "group")
    return f"The guard found {groups} significantly worse at step {guard.steps[-1]:.0f} than before training."


def _rates(path: Path) -> dict[str, str]:
    """The best value of each evaluation set since training began, with interval and step."""
    sets: dict[tuple[str, str], list[Evaluated]] = {}
    for one in list_evaluations(path)[0]:
        if one.kind == "recognized" and one.value is not None:
            sets.setdefault((one.set, one.column.key), []).append(one)
    found: dict[str, str] = {}
    for (name, _), evaluations in sorted(sets.items()):
        column = evaluations[0].column
        sign = 1 if column.lower_is_better else -1
        trained = [one for one in evaluations if one.step] or evaluations
        best = min(trained, key=lambda one: sign * (one.value or 0.0))
        ends = interval(best)
        within = f" ({column.show_interval(ends)})" if ends else ""
        found[f"Best {column.label} on {name}, step {best.step}"] = column.show(best.value) + within
    return found


def _machine(path: Path, row: Row) -> dict[str, str | None]:
    try:
        environment = _environment(path / "environment.json")
        git, gpus = environment.get("git") or {}, environment.get("gpus") or []
        commit = (
            clean(str(git["commit"])[:8]) + (" modified" if git.get("modified") else "") if git.get("commit") else None
        )
        device = clean(", ".join(map(str, gpus))) or f"{environment.get('cpus')} CPU cores"
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return {"Machine": row.host}
    return {"Machine": f"{row.host or ''} · {device}".strip(" ·"), "Commit": commit}


def _read_environment(path: Path) -> dict[str, Any]:
    return json.loads(path.read_bytes())


_environment = Cached(_read_environment, keep=64)


def _recipe(path: Path) -> None:
    """The settings that differ from the defaults, and all of them on demand."""
    try:
        recipe = read_recipe(path / "config.yaml")
    except RunError:
        return  # The head shows the error.
    default = default_recipe()
    changed = differences([recipe, default])
    with ui.element("section").classes("stack"):
        heading("Recipe")
        with ui.element("div").classes("panel scroll").props("tabindex=0"):
            rows = [[key, value, usual] for key, (value, usual) in changed.items() if value is not None]
            settings_table(["Setting", "This run", "Default"], rows)
        with ui.expansion(f"All {len(recipe)} settings").classes("panel all").props("dense"):
            settings_table(["Setting", "This run"], [[key, value] for key, value in recipe.items()])
