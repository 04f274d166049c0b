"""The completions of any step: its groups, and one group in detail, with audio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from nicegui import ui

from antiphon.dashboard import group
from antiphon.dashboard.frame import frame, missing, run_url
from antiphon.dashboard.read import rollouts
from antiphon.dashboard.read.rollouts import GroupOfStep, StepOfRun
from antiphon.dashboard.read.runs import find
from antiphon.dashboard.tokens import by_token
from antiphon.dashboard.widgets import empty, facts, notice
from antiphon.errors import RunError
from antiphon.evaluate.percent import percent

REFRESH = 3.0
PER_PAGE = 40
FILTERS = {"": "All groups", "zero_variance": "Zero variance", "truncated": "Truncated", "failed": "Reward failed"}
ORDERS = {"": "As rolled out", "worst": "Worst first", "best": "Best first", "std": "Most variance"}
COLORS = {"advantage": "Advantage", "probability": "Probability"}
_PICK = """(event) => {
  const row = event.target.closest("[data-group]");
  if (!row || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  emit(Number(row.dataset.group));
}"""


@dataclass(frozen=True)
class Wanted:
    """What the page shows, as in its URL."""

    step: int | None = None
    """None for the last."""
    group: int = 0
    only: str = ""
    sort: str = ""
    q: str = ""
    page: int = 1
    color: str = ""
    """Color of the tokens; empty for advantages if they differ by token, else probabilities."""

    def url(self, run: str) -> str:
        told = {key: value for key, value in asdict(self).items() if value != getattr(Wanted, key)}
        return run_url(run, "rollouts") + ("?" + urlencode(told) if told else "")


def register(root: Path) -> None:
    @ui.page("/run/{name}/rollouts")
    def show(
        name: str,
        step: str = "",
        group: str = "",
        only: str = "",
        sort: str = "",
        q: str = "",
        page: str = "",
        color: str = "",
    ) -> None:
        wanted = Wanted(
            _number(step),
            _number(group) or 0,
            only if only in FILTERS else "",
            sort if sort in ORDERS else "",
            q,
            max(1, _number(page) or 1),
            color if color in COLORS else "",
        )
        try:
            path = find(root, name)
        except RunError as error:
            return missing(str(error))
        with frame(f"Rollouts of {name}", name, "rollouts"):
            _Rollouts(path, wanted)


def _number(text: str) -> int | None:
    return int(text[:12]) if text.isdecimal() else None


class _Rollouts:
    """The page of one visitor."""

    def __init__(self, run: Path, wanted: Wanted) -> None:
        self.run, self.wanted = run, wanted
        self.steps = rollouts.steps(run)
        if not self.steps:
            empty("No rollouts yet", "The run writes them every train.log_rollouts_every steps; they will appear here.")
            ui.timer(REFRESH, lambda: ui.navigate.reload() if rollouts.steps(run) else None, immediate=False)
            return
        with ui.element("div").classes("row"):
            self._step_controls()
        self.figures = ui.element("div")
        with ui.element("div").classes("sides"):
            with ui.element("div").classes("stack"):
                self._filters()
                self.groups = ui.html("", sanitize=False).classes("groups")
                self.groups.on("click", lambda event: self._want(group=int(event.args)), js_handler=_PICK)
                self.pages = ui.pagination(1, 1, direction_links=True, on_change=self._turn)
                self.pages.props("dense flat color=gray active-color=primary max-pages=7").classes("self-center")
            self.detail = ui.element("div").classes("panel detail")
        self._fill()
        ui.timer(REFRESH, self._look_for_steps, immediate=False)

    @property
    def step(self) -> int:
        """The step shown: the requested one, or the nearest earlier one with a file."""
        asked = self.wanted.step
        before = [step for step in self.steps if asked is None or step <= asked]
        return before[-1] if before else self.steps[0]

    def _step_controls(self) -> None:
        flat = "flat round dense size=sm"
        self.back = ui.button(icon="chevron_left", on_click=lambda: self._turn_steps(-1))
        self.back.props(f'{flat} aria-label="Previous step"')
        self.on = ui.button(icon="chevron_right", on_click=lambda: self._turn_steps(1))
        self.on.props(f'{flat} aria-label="Next step"')
        self.title = ui.html("", tag="h2").classes("number step title")
        place = self.steps.index(self.step)
        self.slider = ui.slider(min=0, max=max(len(self.steps) - 1, 1), value=place).classes("grow steps")
        self.slider.props('aria-label="Step"')
        self.slider.on_value_change(lambda event: self._go(self.steps[min(int(event.value or 0), len(self.steps) - 1)]))
        ui.keyboard(self._key, ignore=["input", "select", "textarea"])

    def _filters(self) -> None:
        with ui.element("div").classes("row filters"):
            field = ui.input(placeholder="Search reference, prompt, id", value=self.wanted.q)
            field.on_value_change(lambda event: self._want(q=event.value or "", page=1, group=0))
            field.props('dense outlined clearable debounce=250 aria-label="Search"').classes("search")
            for key, options in (("only", FILTERS), ("sort", ORDERS)):
                select = ui.select(options, value=getattr(self.wanted, key))
                select.on_value_change(lambda event, key=key: self._want(**{key: event.value, "page": 1}))
                select.props(f'dense outlined options-dense aria-label="{key}"')

    def _key(self, event: Any) -> None:
        if event.action.keydown and not (event.modifiers.ctrl or event.modifiers.alt or event.modifiers.meta):
            if event.key.arrow_left:
                self._turn_steps(-1)
            elif event.key.arrow_right:
                self._turn_steps(1)

    def _turn_steps(self, by: int) -> None:
        place = self.steps.index(self.step) + by
        if 0 <= place < len(self.steps):
            self.slider.value = place

    def _go(self, step: int) -> None:
        if step != self.step:
            self._want(step=step, page=1, group=0)

    def _turn(self, event: Any) -> None:
        if event.value and event.value != self.wanted.page:
            self._want(page=event.value)

    def _want(self, **changes: Any) -> None:
        self.wanted = replace(self.wanted, **changes)
        ui.navigate.history.replace(self.wanted.url(self.run.name))
        self._fill()

    def _look_for_steps(self) -> None:
        """Add new steps of a training run; the shown step stays."""
        found = rollouts.steps(self.run)
        if found != self.steps and found:
            self.wanted = replace(self.wanted, step=self.step)
            self.steps = found
            self.slider.props["max"] = max(len(found) - 1, 1)
            self.slider.value = found.index(self.step)
            self._say_step()

    def _say_step(self) -> None:
        last = f"of {self.steps[-1]:,}" if self.step != self.steps[-1] else "the last"
        self.title.set_content(f"Step {self.step:,} <small>{last}</small>")
        self.slider.set_visibility(len(self.steps) > 1)
        self.back.set_enabled(self.step != self.steps[0])
        self.on.set_enabled(self.step != self.steps[-1])

    def _fill(self) -> None:
        self._say_step()
        for part in (self.figures, self.detail):
            part.clear()
        try:
            step = rollouts.read_step(self.run, self.step)
            shown = self._list(step)
            with self.figures:
                _figures(step)
            with self.detail:
                self._show_group(step, shown)
        except RunError as error:
            self.groups.set_content("")
            self.pages.set_visibility(False)
            with self.detail:
                notice(f"{error}. Other steps are still available.", "bad")

    def _list(self, step: StepOfRun) -> Sequence[int]:
        """Fill the list and return the groups that pass the filters."""
        found = rollouts.ordered(step, rollouts.matching(step, self.wanted.only, self.wanted.q), self.wanted.sort)
        chosen = found.tolist()
        pages = max(1, -(-len(chosen) // PER_PAGE))
        page = min(self.wanted.page, pages)
        shown = chosen[(page - 1) * PER_PAGE : page * PER_PAGE]
        if self.wanted.group not in chosen and chosen:
            self.wanted = replace(self.wanted, group=shown[0])
        links = [replace(self.wanted, step=self.step, group=one).url(self.run.name) for one in shown]
        self.groups.set_content(group.listed(step, shown, self.wanted.group, links))
        self.pages.max, self.pages.value = pages, page
        self.pages.set_visibility(pages > 1)
        return chosen

    def _show_group(self, step: StepOfRun, chosen: Sequence[int]) -> None:
        if not chosen:
            empty("No matching groups", "Choose another step or fewer filters.")
            return
        found = rollouts.read_group(step, self.wanted.group)
        color = self.wanted.color or ("advantage" if by_token(found.samples) else "probability")
        ui.html(group.heading(self.run.name, self.step, found), sanitize=False)
        if any(one.tokens for one in found.samples):
            self._colors(found, color)
        ui.html(group.samples(self.run.name, self.step, found, color), sanitize=False).classes("samples")

    def _colors(self, found: GroupOfStep, color: str) -> None:
        with ui.element("div").classes("row"):
            ui.label("Tokens by").classes("quiet")
            choice = ui.toggle(COLORS, value=color, on_change=lambda event: self._want(color=event.value))
            choice.props('dense no-caps unelevated size=12px padding="1px 8px"')
            ui.html(group.legend(found, color), sanitize=False)


def _figures(step: StepOfRun) -> None:
    rewards, count = step.rewards, len(step)
    there = rewards[rewards == rewards]
    completions = int(step.stop[-1]) if count else 0
    values = {"Groups": f"{count:,}", "Completions": f"{completions:,}"}
    if len(there):
        values |= {
            "Mean reward": group.figure(there.mean()),
            "Zero-variance groups": percent(step.zero_variance.mean()),
        }
    values["Truncated"] = percent(step.truncated.sum() / completions) if completions else "–"
    if step.failed.any():
        values["Reward failed"] = f"{int(step.failed.sum()):,}"
    facts(values)
