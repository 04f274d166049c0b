"""The charts of one or several runs on a page, with axis and smoothing, updated during training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nicegui import ui

from antiphon.dashboard.charts import Chart, sections
from antiphon.dashboard.draw import AXES, PALETTE, options
from antiphon.dashboard.read.cache import stamp
from antiphon.dashboard.read.curves import FILES, Curves
from antiphon.dashboard.widgets import empty, heading, notice

REFRESH = 2.0
WINDOWS = (1, 2, 5, 10, 20, 50, 100, 200)
"""Smoothing windows, in steps, and the default."""
AT_FIRST = 2
_GROW = "(event) => event.target.closest('.chart').classList.toggle('large')"


class CurvesView:
    """The charts of `runs`, folders by display name."""

    def __init__(self, runs: Sequence[tuple[str, Path]]) -> None:
        self.runs = runs
        self.axis: Any = "step"
        self.window = WINDOWS[AT_FIRST]
        self._charts: dict[str, tuple[Chart, ui.echart]] = {}
        self._heads: dict[str, list[Chart]] = {}
        with ui.element("div").classes("row controls"):
            ui.toggle(AXES, value="step", on_change=self._turn).props("dense unelevated no-caps").classes("axes")
            ui.label("Smoothing").classes("quiet")
            slider = ui.slider(min=0, max=len(WINDOWS) - 1, step=1, value=AT_FIRST).props(
                'dense aria-label="Smoothing"'
            )
            slider.classes("smooth").on_value_change(lambda event: self._smooth(int(event.value or 0)))
            self._says = ui.label().classes("quiet number")
            if len(runs) > 1:
                ui.space()
                with ui.element("div").classes("row legend"):
                    for number, (name, _) in enumerate(runs):
                        ui.label(name).style(f"--color: {PALETTE[number % len(PALETTE)]}")
        self._damage = ui.element("div").classes("stack")
        self._body = ui.element("div").classes("stack sections")
        self._notes: list[str] = []
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
        found = [(name, Curves.of(path)) for name, path in self.runs]
        several = len(found) > 1
        notes = [f"{name}: {note}" if several else note for name, curves in found for note in curves.damage]
        if not any(curves.has(self.axis) for _, curves in found):
            notes.append(f"{'None of these runs' if several else 'This run'} recorded {AXES[self.axis].lower()}.")
        self._show_notes(notes)
        heads = sections([curves for _, curves in found])
        if heads != self._heads or not heads:
            self._build(heads)
        for chart, element in self._charts.values():
            wanted = options(chart, found, self.axis, self.window)
            if wanted != element.options:
                element.options.clear()
                element.options.update(wanted)
                element.update()

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
                            self._charts[chart.title] = chart, _frame(chart)

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

    def _smooth(self, place: int) -> None:
        self.window = WINDOWS[place]
        self._says.set_text("off" if self.window == 1 else f"mean of {self.window} steps")
        self.draw()


def _frame(chart: Chart) -> ui.echart:
    with ui.element("figure").classes("panel chart") as figure:
        figure.props["aria-label"] = chart.title
        with ui.element("figcaption").classes("row"):
            ui.label(chart.title).classes("title")
            ui.label(chart.about).classes("quiet about").props["title"] = chart.about
            ui.space()
            ui.button(icon="open_in_full").props('flat round dense size=xs color=gray aria-label="Larger"').on(
                "click", js_handler=_GROW
            )
        if len(chart.lines) > 1:
            with ui.element("div").classes("row keys"):
                for number, line in enumerate(chart.lines):
                    ui.label(line.name).classes(f"dash{number}")
        return ui.echart({}).classes("plot")
