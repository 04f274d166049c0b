"""What the dashboard's tests share: one in a process of its own, and pages that must load without a flaw."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

from conftest import COMMAND
from playwright.sync_api import Browser, Page
from serving import free_port, until


@contextmanager
def dashboard(root: Path, log: Path) -> Iterator[str]:
    """The address of `antiphon dashboard` for the runs in `root`; what it prints goes to the file `log`."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-c", COMMAND, "dashboard", f"--root={root}", f"--port={port}"]
    with log.open("w") as printed:
        process = subprocess.Popen(command, stdout=printed, stderr=printed, env=_environment())
    try:
        assert until(lambda: process.poll() is not None or answers(url), 90), log.read_text()
        assert process.poll() is None, log.read_text()
        yield url
    finally:
        process.terminate()
        process.wait(20)
    assert "Traceback" not in log.read_text(), log.read_text()


def _environment() -> dict[str, str]:
    """Without what tells NiceGUI that pytest started it: it would not compress its pages."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")} | {"OMP_NUM_THREADS": "1"}


def get(url: str) -> tuple[int, str]:
    """Status and text."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def answers(url: str) -> bool:
    try:
        return get(url)[0] == 200
    except (URLError, OSError):
        return False


@contextmanager
def visit(browser: Browser, url: str, path: str = "/", **context: Any) -> Iterator[Page]:
    """A page of the dashboard at `url`, in a window of its own.

    It must ask nobody else for anything, and see no failed request, no error of a script and no warning.
    """
    flaws: list[str] = []
    window = browser.new_context(**{"viewport": {"width": 1280, "height": 860}, **context})
    page = window.new_page()
    page.set_default_timeout(15000)
    page.on("request", lambda asked: None if asked.url.startswith((url, "data:", "blob:")) else flaws.append(asked.url))
    page.on("requestfailed", lambda asked: _failed(flaws, asked.url, asked.failure))
    page.on("response", lambda answer: flaws.append(f"{answer.status} {answer.url}") if answer.status >= 500 else None)
    page.on("pageerror", lambda error: flaws.append(str(error)))
    page.on("console", lambda said: flaws.append(said.text) if said.type == "error" else None)
    page.goto(url + path)
    page.wait_for_selector(".bar")
    try:
        yield page
    finally:
        window.close()
    assert not flaws, flaws


def _failed(flaws: list[str], url: str, why: str | None) -> None:
    """What the page itself gave up, by leaving or by stopping a player, has not failed."""
    if why != "net::ERR_ABORTED":
        flaws.append(f"{why} {url}")
