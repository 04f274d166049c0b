"""The evaluations of a run, row by row with audio, worst first; and comparisons of two."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from nicegui import run as background
from nicegui import ui

from antiphon.dashboard import utterances
from antiphon.dashboard.comparing import judge
from antiphon.dashboard.frame import frame, missing, run_url
from antiphon.dashboard.read.evaluations import Evaluated, Pair, Row, list_evaluations, paired, read_rows
from antiphon.dashboard.read.runs import find
from antiphon.dashboard.widgets import empty, facts, notice
from antiphon.errors import AntiphonError, RunError
from antiphon.tasks.task import row_errors, row_units

REFRESH = 3.0
PER_PAGE = 20
SHOWN: dict[str, dict[str, str]] = {
    "recognized": {"": "All", "errors": "With errors", "cut": "Truncated", "empty": "Empty transcript"},
    "scored": {"": "All", "failed": "Failed"},
    "compared": {"": "All", "changed": "Changed", "better": "Better", "worse": "Worse"},
}
ORDERS: dict[str, dict[str, str]] = {
    "recognized": {"": "Worst first", "rate": "Highest rate first", "longest": "Longest first"},
    "scored": {"": "Worst first", "best": "Best first"},
    "compared": {"": "Worsened first", "better": "Improved first"},
}
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
        name: str, eval: str = "", against: str = "", only: str = "", sort: str = "", q: str = "", page: str = ""
    ) -> None:
        step = int(against[:12]) if against.isdecimal() else None
        number = max(1, int(page[:9])) if page.isdecimal() else 1
        try:
            path = find(root, name)
        except RunError as error:
            return missing(str(error))
        with frame(f"Evaluations of {name}", name, "evals"):
            _Evaluations(path, name, Wanted(eval, step, only, sort, q, number))

    @ui.page("/evals")
    def show_others(eval: str = "", only: str = "", sort: str = "", q: str = "", page: str = "") -> None:
        number = max(1, int(page[:9])) if page.isdecimal() else 1
        with frame("Evaluations of other models"):
            _Evaluations(root, None, Wanted(eval, None, only, sort, q, number))


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
        """Evaluations of the same set at other steps."""
        if self.chosen.kind == "scored":
            return {}
        return {one.step: one for one in self.all if one.set == self.chosen.set and one is not self.chosen}

    @property
    def against(self) -> Evaluated | None:
        return None if self.wanted.against is None else self.others.get(self.wanted.against)

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
        other_rows = {"eval", "against"} & set(changes)
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
        self.pairs = paired(read_rows(self.home, self.against.folder), self.rows) if self.against else []
        with ui.element("div").classes("row"):
            ui.html(f"{escape(one.set)} <small>{self._whose(one)}</small>", tag="h1")
            ui.space()
            if self.others:
                options = {-1: "Compare with …"} | {step: f"Compare with step {step:,}" for step in self.others}
                select = ui.select(options, value=-1 if self.against is None else self.against.step)
                select.on_value_change(lambda event: self._want(against=event.value if event.value >= 0 else None))
                select.props('dense outlined options-dense aria-label="Compare with"')
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

    def _whose(self, one: Evaluated) -> str:
        return escape(one.when) if self.run is None else f"after step {one.when}" if one.step else "before training"

    def _comparison(self, against: Evaluated) -> None:
        better, worse = (sum(sign * pair.change > 0 for pair in self.pairs) for sign in (-1, 1))
        with ui.element("div").classes("panel stack"):
            said = ui.label("Comparing …").classes("sentence").props("role=status")
            same = len(self.pairs) - better - worse
            told = {"Better": f"{better:,}", "Worse": f"{worse:,}", "As many errors": f"{same:,}"}
            for step, side in ((against.step, "before"), (self.chosen.step, "after")):
                errors = sum(row_errors(getattr(pair, side)) for pair in self.pairs)
                told[f"Errors at step {step:,}"] = f"{errors:,}" if errors == int(errors) else f"{errors:,.4g}"
            facts(told)
            tests = ui.label().classes("quiet number")
        chosen = self.chosen

        async def test() -> None:
            try:
                names = f"step {against.step:,}", f"step {chosen.step:,}"
                (result,) = await background.io_bound(judge, self.home, [against], [chosen], *names) or (None,)
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
            for key, options in (("only", SHOWN[self.kind]), ("sort", ORDERS[self.kind])):
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
        words = self.wanted.q.casefold()
        only = self.wanted.only if self.wanted.only in SHOWN[self.kind] else ""
        sort = self.wanted.sort if self.wanted.sort in ORDERS[self.kind] else ""
        if self.against:
            pairs = [one for one in self.pairs if _passes(one, only) and words in _text(one.after, one.before)]
            return sorted(pairs, key=lambda one: one.change if sort == "better" else -one.change)
        rows = [row for row in self.rows if _is(row, only) and words in _text(row)]
        return sorted(rows, key=_KEYS[sort]) if sort else _worst(rows)

    def _entry(self) -> Callable[[Any], str]:
        run, one, against = self.run, self.chosen, self.against
        if against:
            names = f"step {against.step:,}", f"step {one.step:,}"
            return lambda pair: utterances.compared(run, one.folder, pair, *names)
        of_kind = utterances.scored if one.kind == "scored" else utterances.recognized
        return lambda row: of_kind(run, one.folder, row)


def _worst(rows: list[Row]) -> list[Row]:
    """Worst first. Recognized rows are saved in this order; of scored rows, failed ones come first, then low scores."""
    if not rows or "score" not in rows[0]:
        return rows
    return sorted(rows, key=lambda row: -math.inf if row["score"] is None else row["score"])


def _is(row: Row, only: str) -> bool:
    match only:
        case "errors":
            return row_errors(row) > 0
        case "cut":
            return bool(row.get("truncated"))
        case "empty":
            return not row.get("pred_clean", row.get("pred_text"))
        case "failed":
            return row.get("error") is not None
    return True


def _passes(pair: Pair, only: str) -> bool:
    return {"changed": pair.change != 0, "better": pair.change < 0, "worse": pair.change > 0}.get(only, True)


def _text(*rows: Row) -> str:
    keys = ("id", "ref_clean", "pred_clean", "speaker", "group", "reference", "response", "prompt", "error")
    return "\n".join(str(row[key]) for row in rows for key in keys if row.get(key)).casefold()


_KEYS: dict[str, Callable[[Row], Any]] = {
    "rate": lambda row: -row_errors(row) / max(row_units(row), 1),
    "longest": lambda row: -row["seconds"],
    "best": lambda row: (row["score"] is None, -(row["score"] or 0.0)),
}
