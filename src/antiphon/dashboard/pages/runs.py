"""The list of all runs, with filters, sorting and selection for comparison."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from nicegui import ui

from antiphon.dashboard.draw import PALETTE
from antiphon.dashboard.frame import HOME, frame, run_url
from antiphon.dashboard.group import figure
from antiphon.dashboard.read.runs import Row, list_rows
from antiphon.dashboard.widgets import ago, duration, empty, plural, tone

REFRESH = 3.0
PER_PAGE = 50
_PINNED = "antiphon_pinned"
"""Where a browser keeps the names of pinned runs, which stay on top of every view."""

LEFT = {"id": "Run", "state": "State", "step": "Steps", "model": "Model", "algorithm": "Algorithm"}
RIGHT = {"reward": "Reward", "last": "Last", "best": "Best", "started": "Started"}
COLUMNS = [
    {"name": name, "field": name, "label": label, "sortable": True, "align": "left" if name in LEFT else "right"}
    for name, label in (LEFT | RIGHT).items()
]
_SLOTS = {
    "id": """<q-td :props="props">
        <div class="named">
          <a :href="props.row.url" :title="props.row.id">{{ props.row.id }}</a>
          <button type="button" class="pin" title="Keep this run on top" :aria-label="'Pin ' + props.row.id"
            :aria-pressed="String(props.row.pinned)" @click="() => $parent.$emit('pin', props.row.id)"
            ><q-icon name="push_pin" /></button>
        </div>
        <span :class="'narrow badge ' + props.row.tone">{{ props.row.state }}</span>
        <div v-if="props.row.why" class="why" :title="props.row.why">{{ props.row.why }}</div>
      </q-td>""",
    "model": '<q-td :props="props"><div class="model" :title="props.row.model"><bdi>{{ props.row.model }}</bdi></div>'
    "</q-td>",
    "state": '<q-td :props="props"><span :class="\'badge \' + props.row.tone">{{ props.row.state }}</span></q-td>',
    "step": '<q-td :props="props"><div class="progress"><span>{{ props.row.step }}</span>'
    '<i v-if="props.row.share != null"><b :style="{width: 100 * props.row.share + \'%\'}"></b></i></div>'
    '<div v-if="props.row.left" class="why">{{ props.row.left }}</div></q-td>',
    "selection": '<q-checkbox v-model="props.selected" dense :aria-label="\'Select \' + props.row.id" />',
    "last": '<q-td :props="props">{{ props.row.last }}<small v-if="props.row.measure"> {{ props.row.measure }}</small>'
    "</q-td>",
}


@dataclass(frozen=True)
class Wanted:
    """What the page shows, as in its URL."""

    q: str = ""
    state: str = ""
    algorithm: str = ""
    model: str = ""
    sort: str = "started"
    down: bool = True
    page: int = 1

    @property
    def url(self) -> str:
        told = {key: value for key, value in asdict(self).items() if value != getattr(Wanted, key)}
        return HOME + ("?" + urlencode(told) if told else "")

    def chosen(self, rows: Sequence[Row]) -> list[Row]:
        """The filtered and sorted rows; rows without a value are last in both directions."""
        words = self.q.lower().split()
        passed = [
            row
            for row in rows
            if all(word in f"{row.id} {row.model} {row.algorithm} {row.state}".lower() for word in words)
            and self.state in ("", row.state)
            and self.algorithm in ("", row.algorithm)
            and self.model in ("", row.model)
        ]
        with_value = [row for row in passed if getattr(row, self.sort) is not None]
        without = [row for row in passed if getattr(row, self.sort) is None]
        return sorted(with_value, key=lambda row: getattr(row, self.sort), reverse=self.down) + without


def paged(rows: Sequence[Row], page: int) -> tuple[int, int, Sequence[Row]]:
    """The nearest valid page number to `page`, the number of pages, and the page's rows."""
    pages = max(1, -(-len(rows) // PER_PAGE))
    page = min(page, pages)
    return page, pages, rows[(page - 1) * PER_PAGE : page * PER_PAGE]


def register(root: Path) -> None:
    @ui.page("/")
    def show(
        q: str = "",
        state: str = "",
        algorithm: str = "",
        model: str = "",
        sort: str = "",
        down: str = "",
        page: str = "",
    ) -> None:
        known = sort if sort in LEFT | RIGHT else Wanted.sort
        number = max(1, int(page[:9])) if page.isdecimal() else 1
        with frame("Runs"):
            _Runs(root, Wanted(q, state, algorithm, model, known, down != "False", number))


class _Runs:
    """The page of one visitor."""

    def __init__(self, root: Path, wanted: Wanted) -> None:
        self.root, self.wanted = root, wanted
        self.pinned: set[str] = set()
        rows = list_rows(root)
        if not rows:
            empty("No runs yet", f"Start one with: antiphon train --output {root}")
            ui.timer(REFRESH, lambda: ui.navigate.reload() if list_rows(root) else None, immediate=False)
            return
        with ui.element("div").classes("row filters"):
            self._search()
            self._choices = {key: self._select(key) for key in ("state", "algorithm", "model")}
            self.count = ui.label().classes("quiet number")
            ui.space()
            self.compare = ui.button("Compare", on_click=self._compare).props("unelevated dense color=primary")
        self.table = ui.table(columns=COLUMNS, rows=[], selection="multiple", on_select=self._selected)
        self.table.props("flat dense binary-state-sort hide-pagination").classes("runs")
        for name, slot in _SLOTS.items():
            self.table.add_slot("body-selection" if name == "selection" else f"body-cell-{name}", slot)
        self.table.add_slot("header-selection", '<q-checkbox v-model="props.selected" dense aria-label="Select all" />')
        self.table.on("pin", lambda event: self._pin(str(event.args)))
        self.table.on("request", lambda event: self._sort(event.args["pagination"]))
        self.pages = ui.pagination(1, 1, direction_links=True, value=wanted.page, on_change=self._turn)
        self.pages.props("dense flat color=gray active-color=primary").classes("self-center")
        self._fill(rows)
        self._selected()
        ui.timer(0, self._recall, once=True)
        ui.timer(REFRESH, lambda: self._fill(list_rows(root)), immediate=False)

    def _search(self) -> None:
        field = ui.input(placeholder="Search name, model, algorithm, state", value=self.wanted.q)
        field.on_value_change(lambda event: self._want(q=event.value or ""))
        field.props('dense outlined clearable debounce=200 aria-label="Search"').classes("search")

    def _select(self, key: str) -> ui.select:
        chosen = getattr(self.wanted, key)
        select = ui.select({"": f"Any {key}"} | ({chosen: chosen} if chosen else {}), value=chosen)
        select.on_value_change(lambda event: self._want(**{key: event.value or ""}))
        return select.props(f'dense outlined options-dense aria-label="{key}"').classes("select")

    def _want(self, **changes: Any) -> None:
        """Change the view and return to its first page."""
        self.wanted = replace(self.wanted, **{"page": 1, **changes})
        ui.navigate.history.replace(self.wanted.url)
        self._fill(list_rows(self.root))

    def _turn(self, event: Any) -> None:
        if event.value and event.value != self.wanted.page:
            self._want(page=event.value)

    def _sort(self, asked: dict[str, Any]) -> None:
        self._want(sort=asked.get("sortBy") or Wanted.sort, down=bool(asked.get("descending")))

    async def _recall(self) -> None:
        """The pins of this browser."""
        try:
            self.pinned = set(await ui.run_javascript(f"JSON.parse(localStorage.{_PINNED} ?? '[]')", timeout=5))
        except (TimeoutError, TypeError):
            return  # The page was left, or somebody wrote something else there.
        if self.pinned:
            self._fill(list_rows(self.root))

    def _pin(self, run: str) -> None:
        self.pinned ^= {run}
        ui.run_javascript(f"localStorage.{_PINNED} = JSON.stringify({json.dumps(sorted(self.pinned))})")
        self._fill(list_rows(self.root))

    def _fill(self, rows: Sequence[Row]) -> None:
        for key, select in self._choices.items():
            values = sorted({getattr(row, key) for row in rows} - {None} | {getattr(self.wanted, key)} - {""})
            options = {"": f"Any {key}"} | {value: value for value in values}
            if select.options != options:
                select.set_options(options)
        chosen = self.wanted.chosen(rows)
        page, pages, shown = paged([row for row in chosen if row.id not in self.pinned], self.wanted.page)
        pinned = Wanted(sort=self.wanted.sort, down=self.wanted.down).chosen(
            [row for row in rows if row.id in self.pinned]
        )
        cells = [_cells(row, row.id in self.pinned) for row in (*pinned, *shown)]
        if cells != self.table.rows:
            self.table.rows = cells
        pagination = {"sortBy": self.wanted.sort, "descending": self.wanted.down, "page": 1}
        pagination |= {"rowsPerPage": PER_PAGE, "rowsNumber": len(chosen)}
        if pagination != self.table.pagination:
            self.table.pagination = pagination
        self.count.set_text(
            f"{len(chosen)} of {len(rows)} runs" if len(chosen) < len(rows) else plural(len(rows), "run")
        )
        self.pages.max, self.pages.value = pages, page
        self.pages.set_visibility(pages > 1)

    def _selected(self) -> None:
        number = len(self.table.selected)
        self.compare.set_text(f"Compare {number}" if number else "Compare")
        self.compare.set_enabled(1 < number <= len(PALETTE))

    def _compare(self) -> None:
        ui.navigate.to("compare?" + urlencode({"runs": ",".join(row["id"] for row in self.table.selected)}))


def _cells(row: Row, pinned: bool) -> dict[str, Any]:
    """The table row of a run."""
    done = "–" if row.step is None else f"{row.step:,}" + (f" / {row.steps:,}" if row.steps else "")
    return {
        "id": row.id,
        "url": run_url(row.id),
        "pinned": pinned,
        "left": f"{duration(row.left)} left" if row.left else None,
        "state": row.state,
        "tone": tone(row.state),
        "step": done,
        "share": (row.step or 0) / row.steps if row.steps and (row.step or 0) < row.steps else None,
        "model": row.model or "–",
        "algorithm": row.algorithm or "–",
        "reward": figure(row.reward),
        "last": row.measure.show(row.last) if row.measure else "–",
        "measure": row.measure and row.measure.title,
        "best": row.measure.show(row.best) if row.measure else "–",
        "started": ago(row.started) if row.started else "–",
        "why": "; ".join(filter(None, (row.why, *row.damage))) or None,
    }
