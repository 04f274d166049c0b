"""Headless Chromium for the tests of pages, and the screenshots that the docs show."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]
"""Chromium on a machine without a display, which looks up no name."""

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="no chromium on the path: make browser installs it"
)


@contextmanager
def chromium(*arguments: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, *arguments])
        try:
            yield browser
        finally:
            browser.close()


def microphone(recording: Path) -> list[str]:
    """Arguments with which Chromium's microphone plays a WAV file over and over, and nobody is asked for it."""
    return [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={recording}",
    ]


def shoot(page: Page, name: str) -> None:
    """Keeps a screenshot in the folder that ANTIPHON_SCREENSHOTS names; `make screenshots` sets it to the docs'."""
    if folder := os.environ.get("ANTIPHON_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def accessible(page: Page) -> None:
    """Axe finds nothing wrong with the page, light and dark, as wide as a desk's screen and a phone's.

    All rules are checked twice; the colors, which alone differ between the other two, in all four.
    """
    before = page.viewport_size
    still = """async () => {
      for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
      for (const one of document.getAnimations()) try { one.finish(); } catch { one.cancel(); }
    }"""
    for scheme, width, rules in (
        ("light", 1280, None),
        ("dark", 390, None),
        ("light", 390, ["color-contrast"]),
        ("dark", 1280, ["color-contrast"]),
    ):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate(still)
        options = {"preload": False, "resultTypes": ["violations"], **({"runOnly": rules} if rules else {})}
        found = Axe().run(page, options=options)
        assert found.violations_count == 0, f"{page.url}, {scheme}, {width} px\n{found.generate_report()}"
    page.emulate_media(color_scheme=None)
    if before:
        page.set_viewport_size(before)
