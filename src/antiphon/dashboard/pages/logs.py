"""The end of a run's log, updated live."""

from __future__ import annotations

from html import escape
from pathlib import Path

from nicegui import ui

from antiphon.dashboard.frame import frame, missing
from antiphon.dashboard.read.cache import stamp
from antiphon.dashboard.read.log import Line, Tail, read_tail
from antiphon.dashboard.read.runs import find
from antiphon.dashboard.widgets import size
from antiphon.errors import RunError

REFRESH = 1.0
_DOWN = "document.querySelector('.log')?.scrollTo(0, 1e9)"


def register(root: Path) -> None:
    @ui.page("/run/{name}/logs")
    def show(name: str, q: str = "") -> None:
        try:
            path = find(root, name)
        except RunError as error:
            return missing(str(error))
        with frame(f"Log of {name}", name, "logs"):
            _Log(path / "log.txt", q)


class _Log:
    """The page of one visitor."""

    def __init__(self, path: Path, words: str) -> None:
        self.path, self.seen = path, None
        with ui.element("div").classes("row filters"):
            self.words = ui.input(placeholder="Search", value=words, on_change=self._fill)
            self.words.props('dense outlined clearable debounce=250 aria-label="Search"').classes("search")
            self.follow = ui.checkbox("Follow", value=True, on_change=self._fill).props("dense")
            self.about = ui.label().classes("quiet number")
        self.lines = ui.html("", sanitize=False).classes("panel log").props('tabindex=0 role=log aria-label="Log"')
        self._fill()
        ui.timer(REFRESH, self._look)

    def _look(self) -> None:
        now = stamp(self.path)
        if self.follow.value and now is not None and now != self.seen:
            self._fill()

    def _fill(self) -> None:
        self.seen = stamp(self.path)
        words = (self.words.value or "").strip()
        try:
            tail = read_tail(self.path, words)
        except RunError as error:
            self.lines.set_content(f'<p class="none">{escape(str(error))}</p>')
            return
        nothing = "No matching lines." if words else "Nothing has been logged yet."
        shown = "".join(map(_html, tail.lines)) or f'<p class="none quiet">{nothing}</p>'
        self.lines.set_content(shown)
        self.about.set_text(_about(tail, words))
        if self.follow.value:
            ui.run_javascript(_DOWN)


def _about(tail: Tail, words: str) -> str:
    count = f"{len(tail.lines):,} line{'' if len(tail.lines) == 1 else 's'}"
    if words:
        return f"{count} with these words" + (", in the last 8 MB" if tail.cut else "")
    return f"the last {count} of {size(tail.size)}" if tail.cut else f"{count}, {size(tail.size)}"


def _html(line: Line) -> str:
    return f'<div class="{line.level}"><time>{line.time}</time><span>{escape(line.text)}</span></div>'
