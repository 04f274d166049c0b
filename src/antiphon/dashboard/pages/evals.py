"""The evaluations of a run, row by row with audio, worst first; and comparisons of two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from nicegui import run as background
from nicegui import ui

from antiphon.dashboard import filtering, utterances
from antiphon.dashboard.comparing import judge
from antiphon.dashboard.frame import frame, missing, run_url
from antiphon.dashboard.read.evaluations import Evaluated, list_evaluations, paired, read_rows
from antiphon.dashboard.read.runs import find, list_rows
from antiphon.dashboard.widgets import empty, facts, notice
from antiphon.errors import AntiphonError, RunError
from antiphon.tasks.task import row_errors

REFRESH = 3.0
PER_PAGE = 20
_PICK = """(event) => {
  const cell = event.target.closest("[data-folder]");
  if (!cell || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  emit(cell.dataset.folder);
}"""


@dataclass(frozen=True)
class Wanted:
    """What the page shows, as in its URL."""

    eval: str = ""
    """The evaluation's folder; default: the last step's."""
    against: int | None = None
    """A step to compare with."""
    run: str = ""
    """The run of that step; default: this one."""
    only: str = ""
    sort: str = ""
    q: str = ""
    page: int = 1

    def url(self, run: str | None) -> str:
        """`run` is None for models outside of runs."""
        told = {key: value for key, value in asdict(self).items() if value != getattr(Wanted, key)}
        return ("evals" if run is None else run_url(run, "evals")) + ("?" + urlencode(told) if told else "")


def register(root: Path) -> None:
    @ui.page("/run/{name}/evals")
    def show(
        name: str,
        eval: str = "",
        against: str = "",
        run: str = "",
        only: str = "",
        sort: str = "",
        q: str = "",
        page: str = "",
    ) -> None:
        step = int(against[:12]) if against.isdecimal() else None
        number = max(1, int(page[:9])) if page.isdecimal() else 1
        try:
            path = find(root, name)
            run = run and find(root, run).name
        except RunError as error:
            return missing(str(error))
        with frame(f"Evaluations of {name}", name, "evals"):
            _Evaluations(path, name, Wanted(eval, step, run, only, sort, q, number))

    @ui.page("/evals")
    def show_others(eval: str = "", only: str = "", sort: str = "", q: str = "", page: str = "") -> None:
        number = max(1, int(page[:9])) if page.isdecimal() else 1
        with frame("Evaluations of other models"):
            _Evaluations(root, None, Wanted(eval, None, "", only, sort, q, number))


class _Evaluations:
    """The page of one visitor."""

    def __init__(self, home: Path, run: str | None, wanted: Wanted) -> None:
        self.home, self.run, self.wanted = home, run, wanted
        self.all, damage = list_evaluations(home)
        for one in damage:
            notice(one, "bad")
        if not self.all:
            if not damage:
                empty("No evaluations yet", "Set data.eval and eval.every; evaluations will appear here.")
            ui.timer(REFRESH, lambda: ui.navigate.reload() if list_evaluations(home)[0] else None, immediate=False)
            return
        self.table = ui.html("", sanitize=False).classes("scroll panel evaluations")
        self.table.on("click", lambda event: self._want(eval=event.args), js_handler=_PICK)
        self.body = ui.element("div").classes("stack body")
        self._fill()
        ui.timer(REFRESH, self._look_for_more, immediate=False)

    @property
    def chosen(self) -> Evaluated:
        named = [one for one in self.all if one.folder == self.wanted.eval]
        recognized = [one for one in self.all if one.kind == "recognized"]
        return (named or recognized or self.all)[-1]

    @property
    def others(self) -> dict[int, Evaluated]:
        """Evaluations of the same set by the run to compare with, at other steps if it is this one."""
        if self.chosen.kind == "scored":
            return {}
        listed = list_evaluations(self.home_of_others)[0] if self.wanted.run else self.all
        return {one.step: one for one in listed if _comparable(one, self.chosen)}

    @property
    def home_of_others(self) -> Path:
        return self.home.parent / self.wanted.run if self.wanted.run else self.home

    @property
    def against(self) -> Evaluated | None:
        return None if self.wanted.against is None else self.others.get(self.wanted.against)

    @property
    def names(self) -> tuple[str, str]:
        """What the two evaluations of a comparison are called, the earlier one first."""
        before, after = f"step {self.wanted.against:,}", f"step {self.chosen.step:,}"
        return (f"{self.wanted.run} {before}", f"{self.run} {after}") if self.wanted.run else (before, after)

    @property
    def kind(self) -> str:
        """The kind of rows, which determines filters and orders."""
        return "compared" if self.against else self.chosen.kind

    def _look_for_more(self) -> None:
        found, _ = list_evaluations(self.home)
        if found and found != self.all:
            self.wanted = replace(self.wanted, eval=self.chosen.folder)
            self.all = found
            self._fill_table()

    def _want(self, **changes: Any) -> None:
        other_rows = {"eval", "against", "run"} & set(changes)
        start = {"page": 1, "only": "", "sort": ""} if other_rows else {"page": 1}
        self.wanted = replace(self.wanted, **{**start, **changes})
        ui.navigate.history.replace(self.wanted.url(self.run))
        if other_rows:
            self._fill()
        else:
            self._fill_rows()

    def _fill_table(self) -> None:
        links = {one.folder: replace(self.wanted, eval=one.folder, page=1).url(self.run) for one in self.all}
        self.table.set_content(utterances.table(self.all, self.chosen, links))

    def _fill(self) -> None:
        self._fill_table()
        self.body.clear()
        with self.body:
            try:
                self._show()
            except RunError as error:
                notice(str(error), "bad")

    def _show(self) -> None:
        one = self.chosen
        self.rows = read_rows(self.home, one.folder)
        self.pairs = paired(read_rows(self.home_of_others, self.against.folder), self.rows) if self.against else []
        with ui.element("div").classes("row"):
            ui.html(f"{escape(one.set)} <small>{self._whose(one)}</small>", tag="h2").classes("title")
            ui.space()
            if self.run is not None and one.kind == "recognized":
                self._choose_others()
        if self.against:
            self._comparison(self.against)
        else:
            facts(utterances.figures(one))
            if table := utterances.groups(one):
                with ui.expansion("By group").props("dense").classes("panel by-group"):
                    ui.html(table, sanitize=False)
        self._filters()
        self.list = ui.html("", sanitize=False).classes("utterances")
        self.pages = ui.pagination(1, 1, direction_links=True, on_change=self._turn)
        self.pages.props("dense flat color=gray active-color=primary max-pages=9").classes("self-center")
        self._fill_rows()

    def _choose_others(self) -> None:
        """A run that has evaluated the same set, and one of its steps."""
        runs = {"": "this run"} | {name: name for name in self._runs()}
        if len(runs) > 1:
            select = ui.select(runs, value=self.wanted.run, with_input=len(runs) > 10)
            select.on_value_change(lambda event: self._want(run=event.value or "", against=self._last_of(event.value)))
            select.props('dense outlined options-dense aria-label="Run to compare with"').classes("others")
        if self.others:
            options = {-1: "Compare with …"} | {step: f"Compare with step {step:,}" for step in self.others}
            select = ui.select(options, value=-1 if self.against is None else self.against.step)
            select.on_value_change(lambda event: self._want(against=event.value if event.value >= 0 else None))
            select.props('dense outlined options-dense aria-label="Compare with"')

    def _runs(self) -> list[str]:
        """The other runs that have evaluated the set, newest first."""
        others = (row.id for row in list_rows(self.home.parent) if row.id != self.run)
        return [
            run
            for run in others
            if any(_comparable(one, self.chosen) for one in list_evaluations(self.home.parent / run)[0])
        ]

    def _last_of(self, run: str | None) -> int | None:
        """The last step at which another run evaluated the set."""
        if not run:
            return None
        found = list_evaluations(self.home.parent / run)[0]
        return max((one.step for one in found if _comparable(one, self.chosen)), default=None)

    def _whose(self, one: Evaluated) -> str:
        return escape(one.when) if self.run is None else f"after step {one.when}" if one.step else "before training"

    def _comparison(self, against: Evaluated) -> None:
        better, worse = (sum(sign * pair.change > 0 for pair in self.pairs) for sign in (-1, 1))
        with ui.element("div").classes("panel stack"):
            said = ui.label("Comparing …").classes("sentence").props("role=status")
            same = len(self.pairs) - better - worse
            told = {"Better": f"{better:,}", "Worse": f"{worse:,}", "As many errors": f"{same:,}"}
            for name, side in zip(self.names, ("before", "after"), strict=True):
                errors = sum(row_errors(getattr(pair, side)) for pair in self.pairs)
                told[f"Errors of {name}" if self.wanted.run else f"Errors at {name}"] = (
                    f"{errors:,}" if errors == int(errors) else f"{errors:,.4g}"
                )
            facts(told)
            tests = ui.label().classes("quiet number")
        sides = (self.home_of_others, [against]), (self.home, [self.chosen])
        names = self.names

        async def test() -> None:
            try:
                (result,) = await background.io_bound(judge, *sides, *names) or (None,)
            except AntiphonError as error:
                said.set_text(str(error))
                return
            if result is not None:
                said.set_text(result.sentence[0].upper() + result.sentence[1:])
                said.classes("significant" if result.significant else "")
                told = f"paired bootstrap over {result.ci_unit}s p = {result.bootstrap['p']:.2g}"
                tests.set_text(told + (f", MAPSSWE p = {result.mapsswe['p']:.2g}" if result.mapsswe else ""))

        ui.timer(0, test, once=True)

    def _filters(self) -> None:
        with ui.element("div").classes("row filters"):
            field = ui.input(placeholder="Search words, id, speaker", value=self.wanted.q)
            field.on_value_change(lambda event: self._want(q=event.value or ""))
            field.props('dense outlined clearable debounce=250 aria-label="Search"').classes("search")
            for key, options in (("only", filtering.SHOWN[self.kind]), ("sort", filtering.ORDERS[self.kind])):
                value = getattr(self.wanted, key)
                select = ui.select(options, value=value if value in options else "")
                select.on_value_change(lambda event, key=key: self._want(**{key: event.value}))
                select.props(f'dense outlined options-dense aria-label="{key}"')
            self.count = ui.label().classes("quiet number")
            ui.space()
            key = '<span class="key quiet"><del>missing</del> <ins>added</ins></span>'
            ui.html(key, sanitize=False)

    def _turn(self, event: Any) -> None:
        if event.value and event.value != self.wanted.page:
            self._want(page=event.value)

    def _fill_rows(self) -> None:
        chosen = self._found()
        pages = max(1, -(-len(chosen) // PER_PAGE))
        page = min(self.wanted.page, pages)
        shown = chosen[(page - 1) * PER_PAGE : page * PER_PAGE]
        self.list.set_content("".join(map(self._entry(), shown)) or '<p class="quiet none">No matching rows.</p>')
        total = len(self.pairs) if self.against else len(self.rows)
        self.count.set_text(f"{len(chosen):,} of {total:,} rows" if len(chosen) < total else f"{total:,} rows")
        self.pages.max, self.pages.value = pages, page
        self.pages.set_visibility(pages > 1)

    def _found(self) -> Sequence[Any]:
        """The filtered and sorted rows, or pairs of rows."""
        wanted = self.wanted
        if self.against:
            return filtering.pairs(self.pairs, wanted.only, wanted.sort, wanted.q)
        return filtering.rows(self.rows, self.kind, wanted.only, wanted.sort, wanted.q)

    def _entry(self) -> Callable[[Any], str]:
        run, one, against = self.run, self.chosen, self.against
        if against:
            names = self.names
            return lambda pair: utterances.compared(run, one.folder, pair, *names)
        of_kind = utterances.scored if one.kind == "scored" else utterances.recognized
        return lambda row: of_kind(run, one.folder, row)


def _comparable(one: Evaluated, other: Evaluated) -> bool:
    return one is not other and (one.set, one.kind) == (other.set, other.kind)
