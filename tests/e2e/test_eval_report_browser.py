"""The report of an evaluation in Chromium: it fetches nothing, its players play, and it can be read anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import accessible, chromium, needs_chromium, shoot
from playwright.sync_api import Browser, Page, expect

pytestmark = [pytest.mark.browser, needs_chromium]
WIDE, NARROW = {"width": 1180, "height": 1120}, {"width": 390, "height": 800}


@pytest.fixture(scope="module")
def report(cli, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    sets = ("--data", "builtin:commands-clean", "--data", "builtin:commands-noisy", "--limit", 24)
    done = cli("eval", "builtin:student", *sets, "--group-by", "noise", "--output", folder)
    assert done.status == 0, done.err
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


@pytest.fixture
def page(browser, report, request) -> Iterator[Page]:
    """The report, opened; whatever it asks for beyond itself, or complains of, fails the test."""
    how = getattr(request, "param", {"viewport": WIDE})
    page = browser.new_page(**how)
    wrong: list[str] = []
    page.on("request", lambda one: None if one.url.startswith(("data:", report.as_uri())) else wrong.append(one.url))
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(report.as_uri())
    yield page
    page.close()
    assert wrong == []


def test_figures_plots_and_the_worst_clips_are_there(page):
    expect(page.get_by_role("heading", level=1)).to_contain_text("builtin:student")
    expect(page.locator("tr.set")).to_have_count(2)
    expect(page.locator("tr.group", has_text="babble")).to_contain_text("utterances")
    assert all(plot["height"] > 100 for plot in (one.bounding_box() for one in page.locator("figure svg").all()))
    page.get_by_role("link", name="commands-noisy").click()
    expect(page.locator("h2#commands-noisy")).to_be_in_viewport()
    page.mouse.move(0, 0)
    page.evaluate("scrollTo({top: 0, behavior: 'instant'})")
    shoot(page, "eval-report")
    accessible(page)


def test_a_player_plays_the_clip(page):
    article = page.locator("article").first
    seconds = float(article.locator("header").inner_text().split(" s")[0].split()[-1])
    player = article.locator("audio")
    player.evaluate("audio => audio.play()")
    page.wait_for_function("document.querySelector('audio').currentTime > 0.1")
    assert player.evaluate("audio => audio.duration") == pytest.approx(seconds, abs=0.2)
    assert player.evaluate("audio => audio.error") is None


@pytest.mark.parametrize(
    "page", [{"viewport": WIDE}, {"viewport": WIDE, "color_scheme": "dark"}], indirect=True, ids=["light", "dark"]
)
def test_errors_stand_out_by_light_and_in_the_dark(page):
    def color(selector: str, what: str) -> list[int]:
        value = page.locator(selector).first.evaluate(f"element => getComputedStyle(element).{what}")
        return [int(part) for part in value.removeprefix("rgb(").removesuffix(")").split(",")]

    for selector in ("article del", "article ins", "article .diff", "figure svg text"):
        ink = color(selector, "fill" if "svg" in selector else "color")
        ground = color(selector if selector[-3:] in ("del", "ins") else ".card", "backgroundColor")
        assert contrast(ink, ground) >= 4.5, (selector, ink, ground)


@pytest.mark.parametrize("page", [{"viewport": NARROW}], indirect=True, ids=["narrow"])
def test_on_a_telephone_only_the_table_scrolls_sideways(page):
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator(".wide").evaluate("element => element.scrollWidth > element.clientWidth")
    box = page.locator("article").first.locator("audio").bounding_box()
    assert box["width"] > 280


def contrast(ink: list[int], ground: list[int]) -> float:
    """The ratio of WCAG 2, which asks 4.5 of text."""

    def luminance(color: list[int]) -> float:
        linear = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in color]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = sorted((luminance(ink), luminance(ground)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)
