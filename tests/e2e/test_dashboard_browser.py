"""The dashboard's lists and curves in a browser: a run that is watched while it trains, and every other kind."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from urllib.error import HTTPError

import pytest
from browser import accessible, chromium, needs_chromium, shoot
from dashboard import dashboard, get, make_run, visit
from playwright.sync_api import Browser, Page, expect

from antiphon.config import load_config
from antiphon.run.loop import Step
from antiphon.run.observers import Observer
from antiphon.run.train import train

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.usefixtures("runs")]

POINTS = """(title) => {
  const plot = document.querySelector(`figure[aria-label="${title}"] .plot`);
  const drawn = getElement(Number(plot.id.slice(1))).chart.getOption();
  return drawn.series.filter((one) => !one.silent).map((one) => one.data.length);
}"""
"""Points in each line of the chart with a title."""
CHART = """getElement(Number(document.querySelector(`figure[aria-label="${title}"] .plot`).id.slice(1))).chart"""
OPTION = f"(title) => {CHART}.getOption()"
EXTENT = f"(title) => {CHART}.getModel().getComponent('xAxis', 0).axis.scale.getExtent()"
"""The options of the chart with a title, and the part of its axis that is seen."""


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("dashboard") / "runs"


@pytest.fixture(scope="module")
def server(root, tmp_path_factory) -> Iterator[str]:
    """It is started on a folder that is not there yet."""
    with dashboard(root, tmp_path_factory.mktemp("log") / "dashboard.log") as url:
        yield url


@pytest.fixture(scope="module")
def browser(server) -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def runs(root, browser, server) -> None:
    """Runs that ended well and badly, and folders that something went wrong with; the page is there before them."""
    with visit(browser, server) as page:
        expect(page.get_by_text("No runs yet")).to_be_visible()
        expect(page.get_by_text(f"antiphon train --output {root}")).to_be_visible()
        make_runs(root)
        expect(page.locator(".runs tbody tr")).to_have_count(8, timeout=20000)


def make_runs(root: Path) -> None:
    low = make_run(root, "noisy-low-lr", 0.42, 0.24, "optimizer.lr=5e-6")
    make_run(root, "noisy-high-lr", 0.42, 0.13, "optimizer.lr=2e-5", seed=1)
    dapo = make_run(root, "noisy-dapo", 0.42, 0.15, "algorithm=dapo", "optimizer.lr=2e-5", seed=2)
    halved(dapo.path)
    raft = make_run(root, "whisper-raft", 0.31, 0.22, "algorithm=raft", "model=builtin:whisper", seed=3)
    raft.log_guard(60, {"worse": 1})
    raft.update("stopped", 80, reason="no new best in 5 evaluations")
    make_run(root, "failed", 0.42, 0.40, seed=4).update("failed", 33, error="RewardError: judge.py: timed out")
    junk = Path(shutil.copytree(low.path, root / "20261101-120000-junk"))
    for name in ("status.json", "config.yaml", "metrics.jsonl"):
        (junk / name).write_bytes(bytes(range(256)) * 9)
    rubble = Path(shutil.copytree(low.path, root / "20261101-110000-rubble"))
    (rubble / "rollouts" / "step-000001.parquet").touch()
    for file in rubble.rglob("*"):
        if file.is_file():
            file.write_bytes(bytes(range(256)) * 9)
    torn = Path(shutil.copytree(low.path, root / "20261101-130000-torn"))
    (torn / "config.yaml").unlink()
    (torn / "metrics.jsonl").write_bytes((low.path / "metrics.jsonl").read_bytes()[:7000] + b"\n")


def halved(run: Path) -> None:
    """A run that logged every second step, and no loss in some of them."""
    for name in ("metrics.jsonl", "timings.jsonl"):
        rows = [json.loads(line) for line in (run / name).read_text().splitlines()[1::2]]
        for row in rows[20:25]:
            row |= {"loss": None} if "loss" in row else {}
        (run / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def names(page: Page) -> list[str]:
    """What the list of runs shows, from the top."""
    return [name.split("-", 2)[2] for name in page.locator(".runs tbody td a").all_inner_texts()]


def test_runs_are_filtered_and_sorted(browser, server):
    with visit(browser, server, viewport={"width": 1280, "height": 520}) as page:
        expect(page.locator(".runs tbody tr")).to_have_count(8)
        shoot(page, "dashboard-runs")
        page.get_by_role("textbox", name="Search").fill("dapo")
        expect(page.locator(".runs tbody tr")).to_have_count(1)
        expect(page.get_by_text("1 of 8 runs")).to_be_visible()
        assert names(page) == ["noisy-dapo"]
        expect(page).to_have_url(f"{server}/?q=dapo")
        page.get_by_role("textbox", name="Search").fill("")
        expect(page.locator(".runs tbody tr")).to_have_count(8)

        for name in ("noisy-low-lr", "failed"):
            page.get_by_role("button", name=re.compile(f"Pin .*-{name}$")).click()
            expect(page.locator(".pin[aria-pressed=true]")).to_have_count(1 + (name == "failed"))
        page.reload()
        expect(page.locator(".pin[aria-pressed=true]")).to_have_count(2)
        assert set(names(page)[:2]) == {"noisy-low-lr", "failed"}, "this browser remembers them"
        page.get_by_role("textbox", name="Search").fill("dapo")
        expect(page.locator(".runs tbody tr")).to_have_count(3)
        for name in ("noisy-low-lr", "failed"):
            page.get_by_role("button", name=re.compile(f"Pin .*-{name}$")).click()
        page.get_by_role("textbox", name="Search").fill("")
        expect(page.locator(".runs tbody tr")).to_have_count(8)
        accessible(page)

        page.get_by_role("columnheader", name="Best").click()
        expect(page).to_have_url(f"{server}/?sort=best&down=False")
        expect(page.locator(".runs tbody td a").first).to_have_text(re.compile("-noisy-high-lr$"))
        assert names(page)[:3] == ["noisy-high-lr", "noisy-dapo", "whisper-raft"]

        page.get_by_label("state", exact=True).click()
        page.get_by_role("option", name="failed").click()
        expect(page.locator(".runs tbody tr")).to_have_count(1)
        expect(page.locator(".runs tbody")).to_contain_text("RewardError: judge.py: timed out")
        page.reload()
        expect(page.locator(".runs tbody tr")).to_have_count(1)
        assert names(page) == ["failed"], "the address says what is shown"


def test_runs_are_compared(browser, server):
    with visit(browser, server, "/?q=noisy&sort=id&down=False", color_scheme="dark") as page:
        expect(page.get_by_role("button", name="Compare")).to_be_disabled()
        for row in (1, 2, 3):
            page.locator(".runs tbody .q-checkbox").nth(row - 1).click()
        page.get_by_role("button", name="Compare 3").click()
        expect(page.locator(".legend > *")).to_have_count(3)
        page.wait_for_function(f"() => ({POINTS})('Reward').length === 6")
        assert sorted(page.evaluate(POINTS, "Reward")) == [40, 40, 80, 80, 80, 80]
        assert sorted(page.evaluate(POINTS, "Loss")) == [36, 80, 80], "five of 40 are one gap"
        assert page.evaluate(POINTS, "WER on commands-noisy") == [5] * 3
        differing = page.locator("table.settings tr")
        expect(differing.filter(has_text="optimizer.lr")).to_contain_text("5e-06")
        expect(differing.filter(has_text="algorithm.name")).to_contain_text("dapo")
        expect(differing.filter(has_text="train.steps")).to_have_count(0)
        shoot(page, "dashboard-compare")
        accessible(page)
        reads_and_zooms(page)
        hides_a_run(page)
        downloads(page)


def reads_and_zooms(page: Page) -> None:
    """The tooltip has all runs, each at its nearest point, on every axis; dragging zooms."""
    figure = page.locator('figure[aria-label="Reward"]')
    figure.scroll_into_view_if_needed()
    box = figure.locator(".plot").bounding_box()
    assert box is not None

    def at(share: float) -> tuple[float, float]:
        return box["x"] + share * box["width"], box["y"] + box["height"] / 2

    page.mouse.move(*at(0.3))
    rows = figure.locator(".tip tr").filter(has=page.locator(".dot"))
    for place in (0.62, 0.64):
        page.mouse.move(*at(place))
        expect(rows).to_have_count(3)
    steps = {int(text) for text in re.findall(r"[Ss]tep (\d+)", figure.locator(".tip").inner_text())}
    assert max(steps) - min(steps) <= 1
    page.get_by_role("button", name="Time", exact=True).click()
    page.wait_for_function(f"() => ({OPTION})('Reward').xAxis[0].max < 4")
    for place in (0.62, 0.66):
        page.mouse.move(*at(place))
        expect(rows).to_have_count(3)
    expect(figure.locator(".tip > div")).to_have_text(re.compile(r"^\d min( \d+ s)?$"))
    page.get_by_role("button", name="Step", exact=True).click()
    page.wait_for_function(f"() => ({OPTION})('Reward').xAxis[0].max === 80")

    page.mouse.move(*at(0.4))
    page.mouse.down()
    page.mouse.move(*at(0.6), steps=4)
    page.mouse.up()
    expect(figure).to_have_class(re.compile("zoomed"))
    low, high = page.evaluate(EXTENT, "Reward")
    assert 20 < low < 35
    assert 40 < high < 55
    figure.get_by_role("button", name="Reset zoom").click()
    assert page.evaluate(EXTENT, "Reward") == [0, 80]


def hides_a_run(page: Page) -> None:
    key = page.get_by_role("group", name="Runs").get_by_role("button").first
    key.click()
    expect(key).to_have_attribute("aria-pressed", "false")
    name = key.inner_text()
    assert page.evaluate(OPTION, "Reward")["legend"][0]["selected"][name] is False
    page.get_by_role("checkbox", name="Log scale").click()
    page.wait_for_function(f"() => ({OPTION})('Gradient norm').yAxis[0].type === 'log'")
    assert page.evaluate(OPTION, "Reward")["yAxis"][0]["type"] == "value", "it is negative"
    page.wait_for_function(f"(name) => ({OPTION})('Gradient norm').legend[0].selected[name] === false", arg=name)
    faded = "() => getElement(Number(document.querySelector('.plot').id.slice(1))).chart.getOption().series"
    page.get_by_role("group", name="Runs").get_by_role("button").last.hover()
    opacities = {one["id"][0]: one["lineStyle"]["opacity"] for one in page.evaluate(faded)}
    assert opacities["2"] == 1
    assert opacities["1"] < 0.2


def downloads(page: Page) -> None:
    figure = page.locator('figure[aria-label="Loss"]')
    figure.hover()
    with page.expect_download() as download:
        figure.get_by_role("button", name="Download CSV").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
    assert len({row["run"] for row in rows}) == 3
    assert len(rows) == 80 + 80 + 40
    with page.expect_download() as download:
        figure.get_by_role("button", name="Download PNG").click()
    assert download.value.suggested_filename == "Loss.png"
    assert download.value.path().read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_curves_change_their_axis_and_their_smoothing(browser, server):
    drawn = """() => {
      const plot = document.querySelector('figure[aria-label="Reward"] .plot');
      const option = getElement(Number(plot.id.slice(1))).chart.getOption();
      return {end: option.xAxis[0].max, series: option.series.length};
    }"""
    with visit(browser, server, "/?q=high") as page:
        page.locator(".runs tbody td a").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("noisy-high-lr")
        expect(page.locator(".facts")).to_contain_text("Best WER on commands-noisy, step 80")
        page.wait_for_function(f"() => ({POINTS})('Reward').length === 2")
        assert page.evaluate(drawn) == {"end": 80, "series": 3}
        shoot(page, "dashboard-run")
        page.get_by_role("button", name="Samples").click()
        page.wait_for_function(f"() => ({drawn})().end === {80 * 128}")
        page.get_by_role("slider", name="Smoothing").click(position={"x": 2, "y": 8})
        expect(page.locator(".controls")).to_contain_text("off")
        page.wait_for_function(f"() => ({drawn})().series === 2")
        small = page.locator('figure[aria-label="Reward"]').bounding_box()
        page.locator('figure[aria-label="Reward"]').get_by_label("Larger").click()
        page.wait_for_function("() => document.querySelector('.chart.large canvas').width > 1000")
        assert small is not None
        assert small["width"] < 500
        accessible(page)
        page.get_by_text(re.compile(r"^All \d+ settings")).click()
        expect(page.locator("table.settings tr").filter(has_text="gate.enabled")).to_be_visible()


class Paused(Observer):
    """Lets a run make three steps, and the others when it is told to."""

    def __init__(self) -> None:
        self.halfway, self.go_on = threading.Event(), threading.Event()

    def stepped(self, step: Step) -> None:
        if step.number == 3:
            self.halfway.set()
            self.go_on.wait(60)


def test_a_run_is_watched_while_it_trains(browser, server, root, recipe):
    reporter = Paused()
    config = load_config(None, [*recipe, f"output={root}", "name=live", "train.save_every=-1", "gate.enabled=false"])
    training = threading.Thread(target=train, args=(config,), kwargs={"observers": [reporter]})
    training.start()
    try:
        assert reporter.halfway.wait(60)
        with visit(browser, server) as page:
            row = page.locator(".runs tbody tr").filter(has_text="live")
            expect(row.locator(".badge.busy:visible")).to_have_text("running")
            expect(row).to_contain_text("3 / 6")
            row.get_by_role("link").click()
            expect(page.locator(".head .badge")).to_have_text("running")
            expect(page.locator(".facts")).to_contain_text("3 of 6")
            expect(page.locator(".facts")).to_contain_text(re.compile(r"Left\s*about \d+ s, until \d\d:\d\d"))
            page.wait_for_function(f"() => ({POINTS})('Reward')[0] === 3")
            assert page.evaluate(POINTS, "WER on dev") == [1]
            reporter.go_on.set()
            expect(page.locator(".head .badge")).to_have_text("finished", timeout=60000)
            page.wait_for_function(f"() => ({POINTS})('Reward')[0] === 6")
            page.wait_for_function(f"() => ({POINTS})('WER on dev')[0] === 2")
            expect(page.locator(".facts")).to_contain_text("6 of 6")
    finally:
        reporter.go_on.set()
        training.join(60)


def test_damaged_runs_are_shown_as_such(browser, server):
    with visit(browser, server, "/?q=20261101") as page:
        expect(page.locator(".runs tbody tr").filter(has_text="junk").locator(".badge.bad:visible")).to_have_text(
            "damaged"
        )
        expect(page.locator(".runs tbody tr").filter(has_text="torn")).to_contain_text("config.yaml cannot be read")
        page.get_by_role("link", name="20261101-120000-junk").click()
        for name in ("status.json", "config.yaml", "metrics.jsonl"):
            expect(page.locator(".notice.bad").filter(has_text=name).first).to_be_visible()
        assert page.evaluate(POINTS, "WER on commands-noisy") == [5], "what is whole is drawn"
    with visit(browser, server, "/run/20261101-130000-torn") as page:
        expect(page.locator(".notice.bad").filter(has_text="is skipped: it is not a JSON object")).to_be_visible()
        assert page.evaluate(POINTS, "Reward")[0] > 5
    status, text = get(f"{server}/compare?runs=20261101-120000-junk,20261101-130000-torn,gone")
    assert status == 200
    assert "there is no run &#39;gone&#39;" in text or "there is no run 'gone'" in text


@pytest.mark.parametrize("path", ["/run/20261101-120000-junk", "/run/20261101-110000-rubble/evals", "/?q=gone"])
def test_pages_with_nothing_to_show_are_accessible(browser, server, path):
    with visit(browser, server, path) as page:
        accessible(page)


@pytest.mark.parametrize("tab", ["", "/rollouts", "/evals", "/checkpoints", "/logs"])
@pytest.mark.parametrize("run", ["20261101-110000-rubble", "20261101-120000-junk", "20261101-130000-torn"])
def test_every_page_of_a_damaged_run_answers(server, run, tab):
    assert get(f"{server}/run/{run}{tab}")[0] == 200


def test_a_run_that_is_removed_while_somebody_looks_says_so(browser, server, root):
    run = next(root.glob("*-whisper-raft"))
    with ExitStack() as opened:
        tabs = ("", "/rollouts", "/evals", "/checkpoints", "/logs")
        pages = [opened.enter_context(visit(browser, server, f"/run/{run.name}{tab}")) for tab in tabs]
        before = [page.locator(".page").inner_text() for page in pages]
        run.rename(root.parent / run.name)
        try:
            for page, read in zip(pages, before, strict=True):
                expect(page.get_by_role("alert")).to_contain_text("was removed or moved", timeout=10000)
                assert set(read.split("\n")) <= set(page.locator(".page").inner_text().split("\n")), (
                    "what was read stays"
                )
        finally:
            (root.parent / run.name).rename(run)
        for page in pages:
            expect(page.get_by_role("alert")).to_be_hidden(timeout=10000)


def test_a_long_name_fits_and_is_told_whole(browser, server, root):
    long = root / f"20261101-100000-{'long-' * 38}end"
    shutil.copytree(next(root.glob("*-failed")), long)
    try:
        fits = """() => [document.documentElement, document.querySelector('.q-table__middle, .states')]
          .every((one) => !one || one.scrollWidth <= one.clientWidth + 1)"""
        compared = f"/compare?runs={long.name},{next(root.glob('*-dapo')).name}"
        for path in ("/?q=long", compared):
            with visit(browser, server, path) as page:
                expect(page.get_by_role("link", name=long.name).first).to_have_attribute("title", long.name)
                for width in (1280, 390):
                    page.set_viewport_size({"width": width, "height": 800})
                    page.wait_for_function(fits)
    finally:
        shutil.rmtree(long)


def test_light_dark_and_narrow(browser, server):
    with visit(browser, server, "/?q=noisy", viewport={"width": 390, "height": 800}, color_scheme="light") as page:
        ground = "() => getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(ground)
        page.get_by_role("button", name="Dark or light").click()
        assert page.evaluate(ground) != light
        dark = page.evaluate(ground)
        page.locator(".runs tbody td a").first.click()
        expect(page.locator(".chart").first).to_be_visible()
        assert page.evaluate(ground) == dark, "it is remembered"
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(
    "path",
    [
        "/run/none",
        "/run/..",
        "/run/%2e%2e",
        "/run/..%2f..%2fetc",
        "/run/%2fetc",
        "/run/..%5cruns",
        "/run/%00",
        "/compare",
        "/compare?runs=../runs",
        "/compare?runs=%2fetc,..",
    ],
)
def test_paths_that_lead_out_of_the_folder_are_not_found(server, path):
    asked = HTTPConnection(server.removeprefix("http://"), timeout=30)
    asked.request("GET", path)  # As it is written: other clients would resolve the dots.
    answer = asked.getresponse()
    text = answer.read().decode()
    assert answer.status == 404
    assert "root:" not in text


@pytest.mark.parametrize(
    "query", ["page=0", "page=x", "page=99999999999999999999", "sort=__class__", "q=%00%f0%9f%92%a9"]
)
def test_odd_questions_are_answered(server, query):
    assert get(f"{server}/?{query}")[0] == 200


def test_another_name_of_this_machine_is_refused(server):
    """A page of somebody else's whose name leads to 127.0.0.1 must not read the runs."""
    with pytest.raises(HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(server, headers={"Host": "evil.example"}), timeout=30)
    assert refused.value.code == 403
