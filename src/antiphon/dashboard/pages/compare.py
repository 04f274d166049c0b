"""Compares several runs: differences of their recipes, and their curves in shared charts."""

from __future__ import annotations

from pathlib import Path

from nicegui import ui
from nicegui.element import Element

from antiphon.dashboard.draw import PALETTE
from antiphon.dashboard.frame import frame, missing, run_url
from antiphon.dashboard.group import figure
from antiphon.dashboard.plots import REFRESH, CurvesView
from antiphon.dashboard.read.recipes import differences, read_recipe
from antiphon.dashboard.read.runs import Row, find, is_run, read_row
from antiphon.dashboard.widgets import badge, heading, notice, plural, settings_table, tone
from antiphon.errors import RunError

MOST = len(PALETTE)
"""Maximum runs per chart, each with its own color."""


def register(root: Path) -> None:
    @ui.page("/compare")
    def show(runs: str = "") -> None:
        paths, notes = [], []
        for name in dict.fromkeys(filter(None, runs.split(","))):
            try:
                paths.append(find(root, name))
            except RunError as error:
                notes.append(str(error))
        if not paths:
            return missing(" ".join(notes) or "no run selected; select some in the list of runs")
        if len(paths) > MOST:
            notes.append(f"{len(paths)} runs selected; showing the first {MOST}")
            del paths[MOST:]
        with frame(f"Comparison of {plural(len(paths), 'run')}"):
            for note in notes:
                notice(note, "warn")
            _states(paths)
            CurvesView([(path.name, path) for path in paths])
            _recipes(paths)


def _states(paths: list[Path]) -> None:
    """Status and metrics of each run, updated on changes."""
    body, said = ui.element("div").classes("panel scroll states").props("tabindex=0"), []

    def fill() -> None:
        rows = [read_row(path) if is_run(path) else Row(path.name, "removed") for path in paths]
        if rows != said:
            said[:] = rows
            body.clear()
            with body:
                _table(rows)

    fill()
    ui.timer(REFRESH, fill, immediate=False)


def _table(rows: list[Row]) -> None:
    with ui.element("table").classes("plain"):
        with ui.element("tr"):
            for head in ("Run", "State", "Step", "Model", "Algorithm", "Reward", "Last", "Best"):
                _cell(head, "th").classes("minor" if head in ("Model", "Algorithm") else "")
        for number, row in enumerate(rows):
            with ui.element("tr"):
                with ui.element("td"):
                    link = ui.link(row.id, run_url(row.id)).classes("dot name")
                    link.style(f"--color: {PALETTE[number % len(PALETTE)]}").props["title"] = row.id
                with ui.element("td"):
                    badge(row.state, tone(row.state))
                _cell("–" if row.step is None else f"{row.step:,}")
                _cell(row.model or "–").classes("minor")
                _cell(row.algorithm or "–").classes("minor")
                _cell(figure(row.reward))
                _cell(f"{row.measure.show(row.last)} {row.measure.title}" if row.measure else "–")
                _cell(row.measure.show(row.best) if row.measure else "–")


def _cell(text: str, tag: str = "td") -> Element:
    cell = ui.element(tag)
    cell.props["textContent"] = text
    return cell


def _recipes(paths: list[Path]) -> None:
    """The settings that differ between the runs, except folders and names."""
    names, recipes = [], []
    for path in paths:
        try:
            recipes.append(read_recipe(path / "config.yaml"))
            names.append(path.name)
        except RunError as error:
            notice(f"{path.name}: {error}", "bad")
    found = {key: values for key, values in differences(recipes).items() if key not in ("output", "name")}
    with ui.element("section").classes("stack"):
        heading("Differences of the recipes")
        with ui.element("div").classes("panel scroll").props("tabindex=0"):
            if found:
                settings_table(["Setting", *names], [[key, *values] for key, values in found.items()])
            else:
                ui.label("None: the recipes are the same.").classes("quiet")
