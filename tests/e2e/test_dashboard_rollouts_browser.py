"""One run in the dashboard: its rollouts, evaluations, checkpoints and log, of a run that was really trained."""

from __future__ import annotations

import re
import shutil
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from itertools import accumulate
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from browser import accessible, chromium, needs_chromium, shoot
from dashboard import dashboard, get, visit
from playwright.sync_api import Browser, Page, expect
from proxy import below

from antiphon.runs import RunFolder
from antiphon.runs.scores import save_scores
from antiphon.text.credit import edit_credit

pytestmark = [pytest.mark.browser, needs_chromium]
LAST, BROKEN = 16, 3


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory) -> RunFolder:
    """A copy of the run, with a step of alignment credit, a damaged step, and an evaluation by a function."""
    root = tmp_path_factory.mktemp("dashboard") / "runs"
    run = RunFolder(Path(shutil.copytree(trained.run.path, root / trained.run.id)))
    credited(run.path / "rollouts" / f"step-{LAST:06d}.parquet")
    (run.path / "rollouts" / f"step-{BROKEN:06d}.parquet").write_bytes(b"PAR1 and then nothing")
    clip = next((run.path / "audio" / "evals").glob("*.flac"))
    rows = [
        {"row": 0, "id": "a", "score": 0.5, "response": "one two", "reference": "one <three>", "audio": "audio/0.flac"},
        {"row": 1, "id": "b", "error": "ValueError: no digits in the answer"},
    ]
    summary = {"set": "dev", "function": "digits", "step": LAST, "n": 2, "failed": 1, "score": 0.5}
    save_scores(run.path / "evals" / "step-000016-dev%3Adigits", summary, rows, {"audio/0.flac": clip.read_bytes()})
    other = summary | {"step": None, "served_model_name": "whisper", "time": "2026-11-21T14:30:00+00:00"}
    save_scores(
        root / "evals" / "20261121-143000-whisper-dev%3Adigits", other, rows, {"audio/0.flac": clip.read_bytes()}
    )
    shutil.copytree(run.path, root / f"{run.id[:15]}-other")
    return run


def credited(path: Path) -> None:
    """Adds to each token's advantage what `algorithm.credit=alignment` would."""
    table = pq.read_table(path)
    advantages = []
    for row in table.to_pylist():
        ends = list(accumulate(map(len, row["tokens"])))
        start = "".join(row["tokens"]).index("<asr_text>") + len("<asr_text>")
        spans = [(end - len(token) - start, end - start) for end, token in zip(ends, row["tokens"], strict=True)]
        written = [span if 0 <= span[0] < span[1] <= len(row["text"]) else None for span in spans]
        credit = edit_credit(row["text"], written, row["reference"], "en", row["finish_reason"] == "stop")
        advantages.append([a + 0.1 * c for a, c in zip(row["advantages"], credit, strict=True)])
    place = table.column_names.index("advantages")
    pq.write_table(table.set_column(place, "advantages", pa.array(advantages, pa.list_(pa.float32()))), path)


@pytest.fixture(scope="module")
def server(run, tmp_path_factory) -> Iterator[str]:
    """It is seen through a proxy, below a path."""
    log = tmp_path_factory.mktemp("log") / "dashboard.log"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        started = dashboard(run.path.parent, log, "--root-path=/lab/runs")
        with started as url, below("/lab/runs", int(url.rpartition(":")[2])) as seen:
            yield seen


@pytest.fixture(scope="module")
def browser(server) -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


FORGED = """(text) => {
  for (const [id, element] of Object.entries(mounted_app.elements))
    if (element.props?.label === text)
      for (const event of element.events)
        socket.emit("event", {id: Number(id), client_id: clientId, listener_id: event.listener_id, args: ['"x"']});
}"""
"""Clicks on buttons with a label, as somebody would who does not have the page's token."""


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_label(label, exact=True).click()
    page.get_by_role("option", name=option, exact=True).click()


def column(page: Page, place: int) -> list[float]:
    """Figures of the list of groups, from the top."""
    cells = page.locator(f".groups a.group > :nth-child({place})").all_inner_texts()
    return [float(text.replace("−", "-")) for text in cells]


def test_steps_are_turned_and_groups_sorted_and_filtered(browser, server, run):
    with visit(browser, server, f"/run/{run.id}/rollouts") as page:
        title = page.locator("h2.step")
        expect(title).to_have_text(f"Step {LAST} the last")
        expect(page.locator(".groups a.group")).to_have_count(8)
        page.get_by_role("button", name="Previous step").click()
        expect(title).to_have_text(f"Step {LAST - 1} of {LAST}")
        expect(page).to_have_url(f"{server}/run/{run.id}/rollouts?step={LAST - 1}")
        page.keyboard.press("ArrowLeft")
        expect(title).to_have_text(f"Step {LAST - 2} of {LAST}")

        choose(page, "sort", "Worst first")
        expect(page).to_have_url(f"{server}/run/{run.id}/rollouts?step={LAST - 2}&sort=worst")
        means = column(page, 3)
        assert means == sorted(means)
        assert means[0] < means[-1]
        second = page.locator(".groups a.group").nth(1)
        second.click()
        expect(second).to_have_class("group chosen")
        expect(page.locator(".reference")).to_have_text(second.locator(".words").inner_text())

        choose(page, "only", "Zero variance")
        page.wait_for_url("**only=zero_variance**")
        assert set(column(page, 4)) <= {0.0}
        page.reload()
        assert set(column(page, 4)) <= {0.0}, "the address says what is shown"


def test_a_damaged_step_is_named_and_hides_no_other(browser, server, run):
    with visit(browser, server, f"/run/{run.id}/rollouts?step={BROKEN}") as page:
        expect(page.locator(".notice.bad:visible")).to_contain_text(f"step-{BROKEN:06d}.parquet cannot be read")
        page.get_by_role("button", name="Next step").click()
        expect(page.locator(".groups a.group")).to_have_count(8)


def test_every_sample_of_a_group_is_shown_with_its_reward_and_advantage(browser, server, run):
    rows = pq.read_table(run.path / "rollouts" / f"step-{LAST:06d}.parquet").to_pylist()
    wanted = max(range(8), key=lambda group: len({row["text"] for row in rows[8 * group : 8 * group + 8]}))
    group = rows[8 * wanted : 8 * wanted + 8]
    with visit(
        browser, server, f"/run/{run.id}/rollouts?group={wanted}", viewport={"width": 1280, "height": 700}
    ) as page:
        expect(page.locator(".example")).to_contain_text(group[0]["example_id"])
        expect(page.locator(".sample")).to_have_count(len({(row["text"], *row["token_ids"]) for row in group}))
        rewards = [float(text.replace("−", "-")) for text in page.locator(".earned > b").all_inner_texts()]
        assert rewards[0] == pytest.approx(max(row["reward"] for row in group), abs=1e-3)
        assert rewards == sorted(rewards, reverse=True)
        expect(page.locator(".sample .parts").first).to_contain_text("wer")
        assert page.locator(".sample .tokens .p4, .sample .tokens .m4").count()
        expect(page.locator("clip-player.ready")).to_be_visible()
        shoot(page, "dashboard-rollouts")
        accessible(page)
        page.get_by_role("button", name="Probability").click()
        expect(page.locator(".sample .tokens .p4, .sample .tokens .m4")).to_have_count(0)
        assert page.locator(".sample .tokens .u0").count()


def test_a_clip_plays_and_its_waveform_is_drawn(browser, server, run):
    heights = """(canvas) => {
      const {width, height} = canvas, data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
      const tall = (x) => Array.from({length: height}, (_, y) => data[4 * (y * width + x) + 3]).filter(Boolean).length;
      return [...new Set(Array.from({length: width}, (_, x) => tall(x)))];
    }"""
    with visit(browser, server, f"/run/{run.id}/rollouts") as page:
        expect(page.locator("clip-player.ready")).to_be_visible()
        drawn = page.locator("clip-player canvas").evaluate(heights)
        assert len(drawn) > 6, "bars of different heights"
        assert max(drawn) > 30

        page.get_by_role("button", name="Play").click()
        expect(page.get_by_role("button", name="Pause")).to_be_visible()
        page.wait_for_function("() => document.querySelector('clip-player audio').currentTime > 0.2")
        sound = "document.querySelector('clip-player audio')"
        assert page.evaluate(f"{sound}.duration") > 0.5
        page.get_by_role("button", name="Pause").click()
        page.locator("clip-player canvas").click(position={"x": 5, "y": 20})
        page.wait_for_function(f"() => {sound}.currentTime < 0.1 && {sound}.paused")

        source = page.locator("clip-player audio").get_attribute("src")
        asked = urllib.request.Request(f"{server}/{source}", headers={"Range": "bytes=4-11"})
        with urllib.request.urlopen(asked) as answer:
            assert (answer.status, len(answer.read())) == (206, 8)


def test_evaluations_are_read_worst_first_searched_and_set_side_by_side(browser, server, run):
    before, after = (run.eval_rows("dev", step) for step in (8, LAST))
    with visit(browser, server, f"/run/{run.id}/evals", viewport={"width": 1280, "height": 760}) as page:
        entries = page.locator(".utterance")
        expect(entries).to_have_count(len(after))
        assert [int(text) for text in page.locator(".errors b").all_inner_texts()] == [
            row["wer_errors"] for row in after
        ]
        page.get_by_role("textbox", name="Search").fill(after[2]["id"])
        expect(entries).to_have_count(1)
        page.get_by_role("textbox", name="Search").fill("")

        choose(page, "Compare with", "Compare with step 8")
        expect(page.locator(".sentence")).to_contain_text("errors")
        expect(page.locator(".sentence")).to_contain_text("step 8 on dev")
        then = {row["id"]: row["wer_errors"] for row in before}
        changes = [row["wer_errors"] - then[row["id"]] for row in after]
        shown = [text.replace("−", "-").replace("=", "0") for text in page.locator(".errors b").all_inner_texts()]
        assert [int(text) for text in shown] == sorted(changes, reverse=True)
        expect(page.locator(".facts")).to_contain_text(
            f"Better\n{sum(change < 0 for change in changes)}", use_inner_text=True
        )
        expect(page.locator("clip-player.ready").first).to_be_visible()
        shoot(page, "dashboard-evals")

        accessible(page)

        other = next(path.name for path in run.path.parent.iterdir() if path.name.endswith("-other"))
        choose(page, "Run to compare with", other)
        expect(page).to_have_url(re.compile(f"against={LAST}&run={other}"))
        expect(page.locator(".sentence")).to_contain_text(f"{other} step {LAST} on dev")
        expect(page.locator(".errors b").first).to_have_text("=")
        page.reload()
        expect(page.locator(".sentence")).to_contain_text(f"{run.id} step {LAST} makes exactly as many errors as")

        page.locator("td a", has_text="0.500").click()
        expect(page.locator(".facts")).to_contain_text("Mean score")
        expect(entries.first).to_contain_text("ValueError: no digits in the answer")
        expect(entries.nth(1).locator("del")).to_have_text("<three>")
        expect(entries.nth(1).locator("clip-player.ready")).to_be_visible()

        page.get_by_role("link", name="antiphon").click()
        page.get_by_role("link", name="Evaluations of other models").click()
        accessible(page)
        expect(page.locator("h2.title")).to_have_text("dev:digits 2026-11-21 14:30 whisper")
        expect(entries.nth(1).locator("clip-player.ready")).to_be_visible()


def test_two_checkpoints_are_compared_and_one_is_served(browser, server, run):
    with visit(browser, server, f"/run/{run.id}/checkpoints", viewport={"width": 1280, "height": 560}) as page:
        expect(page.locator(".checkpoints .step")).to_have_text(["16", "12"])
        page.evaluate(FORGED, "Serve")
        page.wait_for_timeout(300)
        expect(page.get_by_text("Starting …")).to_have_count(0)
        page.get_by_role("button", name="Serve").last.click()
        expect(page.get_by_text("Starting …")).to_be_visible()
        page.get_by_role("button", name="Compare with").first.click()
        page.get_by_text("Before training", exact=True).click()
        expect(page.locator(".sentence")).to_contain_text("errors than builtin:student on dev")
        page.get_by_role("button", name="Compare with").first.click()
        page.get_by_text("Step 12", exact=True).click()
        expect(page.get_by_role("progressbar")).to_be_visible()
        sentence = page.locator(".comparison").filter(has_text="Step 16 against step 12").locator(".sentence")
        expect(sentence).to_contain_text(f"{run.id}@12 on dev", timeout=120000)

        served = page.locator("a.served")
        expect(served).to_be_visible(timeout=120000)
        shoot(page, "dashboard-checkpoints")
        accessible(page)
        assert get(f"{served.get_attribute('href')}/health")[0] == 200
        page.get_by_role("button", name="Stop", exact=True).last.click()
        expect(served).to_have_count(0, timeout=60000)


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1", "null"])
def test_a_page_of_another_origin_opens_no_connection(server, origin):
    assert [handshake(server, who) for who in (origin, server.removesuffix("/lab/runs"))] == [403, 101]


def handshake(server: str, origin: str) -> int:
    """The status with which a WebSocket is answered that a page of `origin` opens."""
    host, _, path = server.removeprefix("http://").partition("/")
    asked = HTTPConnection(host, timeout=30)
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Origin": origin}
    asked.request("GET", f"/{path}/_nicegui_ws/socket.io/?EIO=4&transport=websocket", headers=upgrade | key)
    status = asked.getresponse().status
    asked.close()
    return status


def test_a_log_is_followed_and_searched(browser, server, run):
    with visit(browser, server, f"/run/{run.id}/logs") as page:
        lines = page.locator(".log > div")
        expect(lines.filter(has_text="finished 16 steps")).to_have_class("good")
        accessible(page)
        before = lines.count()
        run.log("step 17: reward 'mine' failed: <timeout>")
        expect(lines).to_have_count(before + 1)
        expect(lines.last).to_have_class("bad")
        page.get_by_role("textbox", name="Search").fill("TIMEOUT")
        expect(lines).to_have_count(1)
        expect(lines).to_contain_text("failed: <timeout>")


def test_further_steps_are_offered_and_what_is_read_stays(browser, server, run):
    rollouts = run.path / "rollouts"
    with visit(browser, server, f"/run/{run.id}/rollouts") as page:
        title = page.locator("h2.step")
        expect(title).to_have_text(f"Step {LAST} the last")
        expect(page.get_by_role("button", name="Next step")).to_be_disabled()
        shutil.copy(rollouts / f"step-{LAST:06d}.parquet", rollouts / f"step-{LAST + 1:06d}.parquet")
        expect(title).to_have_text(f"Step {LAST} of {LAST + 1}")
        page.get_by_role("button", name="Next step").click()
        expect(title).to_have_text(f"Step {LAST + 1} the last")


@pytest.mark.parametrize(
    "path",
    [
        "/run/..%2F..%2Fetc/rollouts",
        "/run/none/evals",
        "/run/RUN/clip/evals/..%2F..%2Frollouts/0",
        "/run/RUN/clip/rollouts/1/64",
        "/run/RUN/clip/rollouts/99/0",
        "/run/RUN/clip/evals/step-000016-dev%253Adigits/1",
        "/evals/clip/..%2Fevals/0",
    ],
)
def test_what_no_file_of_the_run_names_is_not_found(server, run, path):
    assert get(server + path.replace("RUN", run.id))[0] == 404
