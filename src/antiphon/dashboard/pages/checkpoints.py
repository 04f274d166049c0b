"""The checkpoints of a run, with their metrics and buttons to serve or compare them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from nicegui import run as background
from nicegui import ui

from antiphon.config import Config, load_config
from antiphon.dashboard import comparing, serving
from antiphon.dashboard.access import on_click
from antiphon.dashboard.comparing import Comparison
from antiphon.dashboard.frame import frame, missing
from antiphon.dashboard.pages.evals import Wanted
from antiphon.dashboard.read.checkpoints import Kept, list_checkpoints
from antiphon.dashboard.read.evaluations import Evaluated, list_evaluations
from antiphon.dashboard.read.runs import find, is_run
from antiphon.dashboard.widgets import ago, badge, empty, notice, size
from antiphon.errors import AntiphonError, RunError
from antiphon.evaluate.percent import percent
from antiphon.serve.process import Instance

REFRESH = 1.0
BUTTON = 'outline dense size=13px padding="2px 10px"'


def register(root: Path) -> None:
    @ui.page("/run/{name}/checkpoints")
    def show(name: str) -> None:
        try:
            path = find(root, name)
        except RunError as error:
            return missing(str(error))
        with frame(f"Checkpoints of {name}", name, "checkpoints"):
            _Checkpoints(path)


class _Checkpoints:
    """The page of one visitor."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.config = self._recipe()
        self.comparisons = ui.element("div").classes("stack")
        self.table = ui.element("div").classes("panel checkpoints")
        self.seen: object = None
        self.cards: list[tuple[Comparison, _Card]] = []
        self._look()
        ui.timer(REFRESH, self._look, immediate=False)

    def _recipe(self) -> Config | None:
        try:
            return load_config(self.run / "config.yaml")
        except AntiphonError as error:
            notice(f"Checkpoints cannot be compared or ranked: {error}", "bad")
            return None

    def _look(self) -> None:
        """Redraw only what has changed, as a menu may be open."""
        if not is_run(self.run):
            return  # The frame says so.
        evaluations, _ = list_evaluations(self.run)
        self.measured = [one for one in evaluations if one.kind == "recognized"]
        kept = list_checkpoints(self.run, self.config, [one.summary for one in self.measured])
        if (kept, self.measured) != self.seen:
            self.seen = kept, self.measured
            self.places: dict[int, _Server] = {}
            self.table.clear()
            with self.table:
                self._fill(kept)
        servers = serving.running(self.run)
        for step, place in self.places.items():
            place.show(servers.get(step), serving.is_starting(self.run, step))
        self._show_comparisons()

    def _fill(self, kept: list[Kept]) -> None:
        if not kept:
            empty("No checkpoint yet", "The run saves one every train.save_every steps; it will appear here.")
            return
        for name in ("Step", "Evaluations", "Size", "Saved", "Kept because", ""):
            ui.label(name).classes("head")
        for one in kept:
            self._row(one, [other.step for other in kept if other.step != one.step] + [0])

    def _row(self, one: Kept, others: list[int]) -> None:
        with ui.element("div").classes("row first"):
            ui.label(f"{one.step:,}").classes("number step")
            if one.best:
                badge("best", "good")
            if one.worse:
                badge(f"{one.worse} worse", "warn").tooltip("Groups that the guard found worse than before training")
            if not one.whole:
                badge("damaged", "bad").tooltip("No config.json, so the model cannot be loaded")
        figures = [evaluated for evaluated in self.measured if evaluated.step == one.step]
        ui.label(", ".join(map(_figure, figures)) or "–").classes("number")
        ui.label(size(one.bytes)).classes("number")
        saved = datetime.fromtimestamp(one.time, UTC).isoformat()
        ui.label(ago(saved)).classes("number").tooltip(saved[:19].replace("T", " ") + " UTC")
        ui.label(one.why)
        with ui.element("div").classes("row actions"):
            self.places[one.step] = _Server(self.run, one, self._look)
            self._comparer(one, others)

    def _comparer(self, one: Kept, others: list[int]) -> None:
        with ui.button("Compare with").props(BUTTON + " color=primary icon-right=expand_more") as button, ui.menu():
            for other in others:
                name = f"Step {other:,}" if other else "Before training"
                on_click(ui.menu_item(name), partial(self._compare, other, one.step))
        button.set_enabled(self.config is not None and bool(self.config.data.eval) and one.whole)
        if self.config is not None and not self.config.data.eval:
            button.tooltip("Comparing needs data.eval in the recipe")

    def _compare(self, a: int, b: int) -> None:
        assert self.config is not None
        before, after = ([one for one in self.measured if one.step == step] for step in (a, b))
        same = {one.set for one in before} & {one.set for one in after}
        saved = [one for one in before if one.set in same], [one for one in after if one.set in same]
        counts = {one.set: one.summary.get("n", 0) for one in self.measured}
        total = sum(counts.values()) if len(counts) == len(self.config.data.eval) else None
        comparing.begin(Comparison(self.run, a, b, saved if same else None, total), self.config)
        self._show_comparisons()

    def _show_comparisons(self) -> None:
        found = comparing.of_run(self.run)
        if [one for one, _ in self.cards] != found:
            self.comparisons.clear()
            with self.comparisons:
                self.cards = [(one, _Card(one)) for one in found]
        for _, card in self.cards:
            card.show()


class _Server:
    """The controls to serve a checkpoint."""

    def __init__(self, run: Path, one: Kept, look: Callable[[], None]) -> None:
        self.run, self.one, self.look = run, one, look
        self.seen: object = None
        self.place = ui.element("div").classes("row")

    def show(self, server: Instance | None, starting: bool) -> None:
        if (server, starting) == self.seen:
            return
        self.seen = server, starting
        self.place.clear()
        with self.place:
            if server is not None:
                ui.link(server.url, server.url, new_tab=True).classes("served")
                stop = ui.button("Stop").props(BUTTON + " color=negative")
                on_click(stop, partial(self._in_background, serving.stop, server))
            elif starting:
                ui.spinner(size="16px")
                ui.label("Starting …").classes("quiet")
            else:
                button = ui.button("Serve").props(BUTTON + " color=primary")
                on_click(button, partial(self._in_background, serving.serve, self.run, self.one.step))
                button.set_enabled(self.one.whole)

    async def _in_background(self, work: Callable, *arguments: object) -> None:
        try:
            if await background.io_bound(work, *arguments) is False:
                ui.notify("The server will stop after its open requests.", type="warning")
        except AntiphonError as error:
            ui.notify(str(error), type="negative", timeout=0, close_button="Close", multi_line=True)
        self.look()


class _Card:
    """A comparison's progress and result."""

    def __init__(self, one: Comparison) -> None:
        self.one = one
        self.state = ""
        self.panel = ui.element("div").classes("panel stack comparison")

    def show(self) -> None:
        one = self.one
        if one.state != self.state:
            self.state = one.state
            self.panel.clear()
            with self.panel:
                self._fill()
        if one.state == "running":
            phase, done = one.progress()
            of = f": {done:,} of {2 * one.total:,} clips" if one.total else f": {done:,} clips"
            self.phase.set_text(phase.capitalize() + (of if done else ""))
            self.bar.set_value(done / (2 * one.total) if one.total else 0.0)

    def _fill(self) -> None:
        one = self.one
        names = [f"step {step:,}" if step else "before training" for step in (one.a, one.b)]
        with ui.element("div").classes("row"):
            ui.label(f"{names[1].capitalize()} against {names[0]}").classes("quiet")
            ui.space()
            button = ui.button(icon="close", on_click=lambda: comparing.dismiss(one))
            button.props(f'flat round dense size=sm aria-label="{"Stop" if one.state == "running" else "Close"}"')
        if one.state == "running":
            self.phase = ui.label()
            moving = "" if one.total else " indeterminate"
            self.bar = ui.linear_progress(show_value=False).props("rounded size=6px" + moving)
        elif one.state == "failed":
            notice(one.error, "bad")
        for found in one.sets:
            sentence = ui.label(found["sentence"]).classes("sentence")
            sentence.classes("significant" if found["significant"] else "")
            each = zip(names, (found["rate_a"], found["rate_b"]), strict=True)
            rates = ", ".join(f"{name} {percent(rate)}" for name, rate in each) + f", {found['n']:,} clips"
            tests = f"bootstrap p = {found['bootstrap']['p']:.2g}"
            tests += f", MAPSSWE p = {found['mapsswe']['p']:.2g}" if found["mapsswe"] else ""
            with ui.element("div").classes("row quiet number"):
                ui.label(f"{found['set']}: {rates}; {tests}")
                for after in one.saved[1] if one.saved else []:
                    if after.set == found["set"]:
                        ui.link("Utterances side by side", Wanted(after.folder, one.a).url(one.run.name))


def _figure(one: Evaluated) -> str:
    return f"{one.set}: {one.column.title} {one.column.show(one.value)}"
