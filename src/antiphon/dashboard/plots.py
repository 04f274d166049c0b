"""The charts of one or several runs on a page, with axis and smoothing, updated during training."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from nicegui import ui

from antiphon.dashboard.charts import Chart, sections
from antiphon.dashboard.draw import AXES, PALETTE, options
from antiphon.dashboard.export import to_csv
from antiphon.dashboard.read.cache import stamp
from antiphon.dashboard.read.curves import FILES, Curves
from antiphon.dashboard.widgets import empty, heading, notice

REFRESH = 2.0
WINDOWS = (1, 2, 5, 10, 20, 50, 100, 200)
"""Smoothing windows, in steps, and the default."""
AT_FIRST = 2
_TOOLS = "".join(
    f'<button type="button" data-do="{do}" title="{about}" aria-label="{name}">{shown}</button>'
    for do, name, shown, about in (
        ("reset", "Reset zoom", "Reset zoom", "Show the whole curve; so does a double click"),
        ("csv", "Download CSV", "CSV", "Download all values of this chart"),
        ("png", "Download PNG", "PNG", "Download a picture of this chart"),
        (
            "larger",
            "Larger",
            '<i class="q-icon material-icons" aria-hidden="true">open_in_full</i>',
            "Larger or smaller",
        ),
    )
)


class CurvesView:
    """The charts of `runs`, folders by display name."""

    def __init__(self, runs: Sequence[tuple[str, Path]]) -> None:
        self.runs = runs
        self.axis: Any = "step"
        self.window = WINDOWS[AT_FIRST]
        self.log = False
        self._charts: dict[str, tuple[Chart, ui.echart]] = {}
        self._heads: dict[str, list[Chart]] = {}
        with ui.element("div").classes("row controls"):
            ui.toggle(AXES, value="step", on_change=self._turn).props("dense unelevated no-caps").classes("axes")
            with ui.element("div").classes("smoothing"):
                ui.label("Smoothing").classes("quiet")
                slider = ui.slider(min=0, max=len(WINDOWS) - 1, step=1, value=AT_FIRST)
                slider.props('dense aria-label="Smoothing"').classes("smooth")
                slider.on_value_change(lambda event: self._smooth(int(event.value or 0)))
                self._says = ui.label().classes("quiet number")
            box = ui.checkbox("Log scale", on_change=lambda event: self._scale(bool(event.value))).props("dense")
            box.tooltip("Logarithmic axes for charts without negative values")
            if len(runs) > 1:
                ui.space()
                _legend([name for name, _ in runs])
        self._damage = ui.element("div").classes("stack")
        self._body = ui.element("div").classes("stack sections")
        self._notes: list[str] = []
        self._last: dict[str, Curves] = {}
        """Of a run that is removed, what was last read stays."""
        self._smooth(AT_FIRST)
        ui.timer(REFRESH, self._look, immediate=False)

    def _look(self) -> None:
        if self._stamps() != self._drawn:
            self.draw()

    def _stamps(self) -> list[Any]:
        return [stamp(path / name) for _, path in self.runs for name in FILES]

    def draw(self) -> None:
        """Redraw the charts whose data has changed."""
        self._drawn = self._stamps()
        self._last |= {name: Curves.of(path) for name, path in self.runs if path.is_dir()}
        found = [(name, self._last[name]) for name, _ in self.runs]
        several = len(found) > 1
        notes = [f"{name}: {note}" if several else note for name, curves in found for note in curves.damage]
        if not any(curves.has(self.axis) for _, curves in found):
            missing = {"time": "times", "samples": "samples"}[self.axis]
            notes.append(f"None of these runs recorded {missing}." if several else f"This run recorded no {missing}.")
        self._show_notes(notes)
        heads = sections([curves for _, curves in found])
        if heads != self._heads or not heads:
            self._build(heads)
        changed = False
        for chart, element in self._charts.values():
            wanted = options(chart, found, self.axis, self.window, self.log, element.id)
            if wanted != element.options:
                element.options.clear()
                element.options.update(wanted)
                element.update()
                changed = True
        if changed:
            ui.run_javascript("curves.arm()")

    def _build(self, heads: dict[str, list[Chart]]) -> None:
        self._heads, self._charts = heads, {}
        self._body.clear()
        with self._body:
            if not heads:
                empty("No step yet", "The curves begin with the first step of training.")
            for head, charts in heads.items():
                with ui.element("section").classes("stack"):
                    heading(head)
                    with ui.element("div").classes("grid charts"):
                        for chart in charts:
                            self._charts[chart.title] = chart, self._frame(chart)

    def _show_notes(self, notes: list[str]) -> None:
        if notes != self._notes:
            self._notes = notes
            self._damage.clear()
            with self._damage:
                for note in notes:
                    notice(note, "bad")

    def _turn(self, event: Any) -> None:
        self.axis = event.value
        self.draw()

    def _scale(self, log: bool) -> None:
        self.log = log
        self.draw()

    def _download(self, chart: Chart) -> None:
        text = to_csv(chart, [(name, Curves.of(path)) for name, path in self.runs])
        ui.download.content(text, f"{chart.title}.csv", "text/csv")

    def _smooth(self, place: int) -> None:
        self.window = WINDOWS[place]
        self._says.set_text("off" if self.window == 1 else f"mean of {self.window} steps")
        self.draw()

    def _frame(self, chart: Chart) -> ui.echart:
        with ui.element("figure").classes("panel chart") as figure:
            figure.props["aria-label"] = chart.title
            with ui.element("figcaption").classes("row"):
                ui.label(chart.title).classes("title").props["title"] = chart.title
                ui.label(chart.about).classes("quiet about").props["title"] = chart.about
                tools = ui.html(_TOOLS, sanitize=False).classes("tools")
                tools.on("click", lambda: self._download(chart), js_handler="(event) => curves.tool(event, emit)")
            if len(chart.lines) > 1:
                with ui.element("div").classes("row keys"):
                    for number, line in enumerate(chart.lines):
                        ui.label(line.name).classes(f"dash{number}")
            return ui.echart({}).classes("plot")


def _legend(names: Sequence[str]) -> None:
    """A key for each run, which hides it when it is clicked, and lets it stand out under the pointer."""
    keys = "".join(
        f'<button type="button" aria-pressed="true" data-run="{number}" title="{escape(name)}"'
        f' style="--color: {PALETTE[number % len(PALETTE)]}">{escape(name)}</button>'
        for number, name in enumerate(names)
    )
    legend = ui.html(keys, sanitize=False).classes("row legend").props('role=group aria-label="Runs"')
    legend.on("click", js_handler="curves.key")
    for event in ("mouseover", "mouseout", "focusin", "focusout"):
        legend.on(event, js_handler="curves.point")
