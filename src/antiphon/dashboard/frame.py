"""The frame of every page: navigation bar, style and theme.

Pages are written `with frame(title, run, tab):`, with plain elements that `style.css` styles by class. Tailwind is not
used, as its script would cost more than the pages themselves. All links are relative to the base that the frame sets,
so that the pages work below any path of a proxy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from urllib.parse import quote

from nicegui import app, ui

from antiphon.dashboard.read.runs import is_run
from antiphon.dashboard.widgets import empty, heading, notice

ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#17635f"/>'
    '<path d="M7 13v6M12 8v16M17 11v10M22 6v20M27 13v6" stroke="#fff" stroke-width="2.4" stroke-linecap="round"/></svg>'
)
TABS = {"": "Overview", "rollouts": "Rollouts", "evals": "Evaluations", "checkpoints": "Checkpoints", "logs": "Log"}
"""The pages of a run, by the last part of the path."""

HOME = "./"
"""The path of the list of runs, relative to the base of all pages."""

REFRESH = 2.0
_THEME = "theme"
_SWITCH = f"""() => {{
  const dark = !document.body.classList.contains("body--dark");
  setDark(dark);
  document.cookie = `{_THEME}=${{dark ? "dark" : "light"}}; path=/; max-age=31536000; SameSite=Strict`;
}}"""


def prepare(root: Path) -> None:
    """Set the style of all pages, and the folder to show in the bar."""
    style, script = (Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("style.css", "charts.js"))
    ui.add_head_html(f"<style>{style}</style><script>{script}</script>", shared=True)
    app.state.runs = root
    app.on_page_exception(_broken)


@contextmanager
def frame(title: str, run: str | None = None, tab: str | None = None) -> Iterator[None]:
    """A page with `title`; elements created in the block appear below the bar.

    With `run`, a run's id, the bar links that run's pages and marks `tab` (a key of `TABS`).
    """
    client = ui.context.client
    ui.page_title(f"{title} · antiphon")
    base = escape(client.request.scope.get("root_path", ""))
    ui.add_head_html(f'<base href="{base}/">')
    ui.dark_mode({"dark": True, "light": False}.get(client.request.cookies.get(_THEME, "")))
    with ui.element("header").classes("bar"):
        ui.link("antiphon", HOME).classes("brand").tooltip("All runs")
        if run is None:
            ui.label(str(app.state.runs)).classes("where").tooltip("The folder of these runs")
            if (app.state.runs / "evals").is_dir():
                ui.link("Evaluations of other models", "evals").classes("where")
        else:
            ui.link(run, run_url(run)).classes("where").props["title"] = run
            with ui.element("nav").props('aria-label="Pages of this run"'):
                for path, name in TABS.items():
                    ui.link(name, run_url(run, path)).classes("here" if path == tab else "")
        ui.space()
        button = ui.button(icon="contrast").props('flat round dense size=sm color=gray aria-label="Dark or light"')
        button.on("click", js_handler=_SWITCH)
    with ui.element("div").classes("page"):
        heading(title, 1).classes("unseen")
        if run is not None:
            _watch(app.state.runs / run)
        yield


def _watch(path: Path) -> None:
    """Say so when the run is removed while somebody looks at it; the page keeps what it shows."""
    words = "This run was removed or moved while you looked at it. The page shows what was last read of it."
    gone = notice(words, "bad").props("role=alert")
    gone.set_visibility(False)
    ui.timer(REFRESH, lambda: gone.set_visibility(not is_run(path)), immediate=False)


def missing(why: str) -> None:
    """A page with status 404."""
    ui.context.client.status_code = 404
    with frame("Not found"):
        empty("Not here", why)


def _broken(error: Exception) -> None:
    with frame("Error"):
        empty("This page failed", f"{type(error).__name__}: {error}. See the dashboard's terminal for details.")


def run_url(run: str, page: str = "") -> str:
    """The path of a run's page, relative to the base of all pages: `run/ID/rollouts`."""
    return f"run/{quote(run, safe='')}" + (f"/{page}" if page else "")
