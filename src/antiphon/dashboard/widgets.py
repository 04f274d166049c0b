"""Widgets that pages share: badges, messages, values, and formats of numbers and times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from nicegui import ui
from nicegui.element import Element

_TONES = {
    "starting": "busy",
    "running": "busy",
    "finished": "good",
    "stopped": "warn",
    "interrupted": "warn",
    "stale": "warn",
    "killed": "bad",
    "failed": "bad",
    "damaged": "bad",
    "removed": "bad",
}


def tone(state: str) -> str:
    """The CSS class of a state: busy, good, warn, bad, or none."""
    return _TONES.get(state, "")


def badge(text: str, tone: str = "") -> ui.label:
    return ui.label(text).classes(f"badge {tone}")


def notice(text: str, tone: str = "") -> ui.label:
    """A full-width message; `bad` for errors, `warn` for warnings."""
    return ui.label(text).classes(f"notice {tone}").props("role=status")


def empty(title: str, hint: str) -> None:
    """A placeholder for missing content, with a hint how to get it."""
    with ui.element("div").classes("empty"):
        ui.label(title).classes("title")
        ui.label(hint)


def facts(values: Mapping[str, str]) -> None:
    """Values in a row, each under its name."""
    with ui.element("div").classes("facts"):
        for name, value in values.items():
            with ui.element("div"):
                ui.label(name).classes("name")
                ui.label(value).classes("value")


def heading(text: str, level: int = 2) -> Element:
    element = ui.element(f"h{level}")
    element.props["textContent"] = text
    return element


def settings_table(heads: Sequence[str], rows: Iterable[Sequence[str | None]]) -> None:
    """A plain table with setting names in the first column; None is shown as a dash."""
    with ui.element("table").classes("plain settings"):
        with ui.element("tr"):
            for head in heads:
                ui.element("th").props["textContent"] = head
        for row in rows:
            with ui.element("tr"):
                for value in row:
                    ui.element("td").props["textContent"] = "–" if value is None else value


def plural(count: int, word: str) -> str:
    return f"{count:,} {word}" + ("" if count == 1 else "s")


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{max(seconds, 0):.0f} s"


def since(moment: str) -> float | None:
    """Seconds since `moment`, in ISO 8601; None if it is not a time."""
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
    except (ValueError, TypeError):
        return None


def remaining(seconds: float) -> str:
    """`about 12 min, until 14:05 CET`, by the clock of this machine."""
    end = datetime.now().astimezone() + timedelta(seconds=seconds)
    clock = "%H:%M %Z" if seconds < 72_000 else "%d %b %H:%M %Z"
    return f"about {duration(seconds)}, until {end.strftime(clock)}"


def ago(moment: str) -> str:
    seconds = since(moment)
    return "–" if seconds is None else f"{duration(seconds)} ago"


def size(count: float) -> str:
    """Format a size in bytes: `12.3 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
