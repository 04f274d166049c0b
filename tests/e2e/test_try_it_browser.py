"""The page to try models on, in a browser: two recognizers of `antiphon serve`, a file, a microphone, a reference."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import httpx2
import numpy as np
import pytest
import soundfile
from browser import accessible, chromium, microphone, needs_chromium, shoot
from measured import measured
from playwright.sync_api import Browser, Page, expect
from serving import say, served, text_policy

from antiphon.client.port import free_port
from antiphon.data.corpora.sets import builtin_set
from antiphon.text.alignment import align

pytestmark = [pytest.mark.browser, needs_chromium]
RATE = 16000
MODELS = ("builtin:student", "builtin:teacher")
PHRASES = [("commands-clean", 1), ("commands-clean", 2), ("commands-reverb", 8)]
SPOKEN = builtin_set("digits-clean")[5]


@dataclass
class Recording:
    path: Path
    text: str


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("recordings")


@pytest.fixture(scope="module")
def errands(folder) -> Recording:
    """Three commands with pauses between them."""
    examples = [builtin_set(name)[i] for name, i in PHRASES]
    pause = np.zeros(2 * RATE, np.float32)
    parts = [part for one in examples if one.clip for part in (one.clip.load(RATE), pause)]
    soundfile.write(folder / "errands.wav", np.concatenate(parts[:-1]), RATE)
    return Recording(folder / "errands.wav", ". ".join(one.text.capitalize() for one in examples) + ".")


@pytest.fixture(scope="module")
def browser(folder) -> Iterator[Browser]:
    """One whose microphone hears `SPOKEN`, then nothing for ten seconds."""
    assert SPOKEN.clip is not None
    speech = np.concatenate([np.zeros(RATE // 2, np.float32), SPOKEN.clip.load(RATE), np.zeros(10 * RATE, np.float32)])
    soundfile.write(folder / "microphone.wav", speech, RATE)
    with chromium(*microphone(folder / "microphone.wav")) as browser:
        yield browser


@pytest.fixture(scope="module")
def url(cli, tmp_path_factory) -> Iterator[str]:
    """A server with both models, each piece of a recording 4 s at most."""
    first, second = MODELS
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        options = ("--port", free_port(), "--threads", 1, "--chunk-seconds", 4, "--detach", "--json")
        row = cli("serve", first, "--beside", second, *options).json
        assert (row["name"], row["beside"]) == (first, [second])
        yield row["url"]
        cli("serve", "stop", "--port", row["port"], "--json").json  # noqa: B018


@dataclass
class Window:
    """A page, and what it did that it should not do."""

    page: Page
    url: str
    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def column(self, model: str):
        return self.page.locator(".column", has=self.page.get_by_role("heading", name=model, exact=True))

    def upload(self, path: Path) -> None:
        self.page.set_input_files("#file", path)
        expect(self.page.locator("#about")).to_contain_text(path.name)

    def transcripts(self) -> list[str]:
        """When all models are done."""
        columns = self.page.locator(".column")
        expect(columns.locator("dl:visible")).to_have_count(columns.count(), timeout=30_000)
        return columns.locator(".transcript").all_inner_texts()


@contextmanager
def opened(browser: Browser, url: str) -> Iterator[Window]:
    """The page at `url`, 1400 pixels wide. It asks nothing of others."""
    context = browser.new_context(viewport={"width": 1400, "height": 1170}, color_scheme="light")
    window = Window(context.new_page(), url)
    window.page.on("console", lambda line: window.errors.append(line.text) if line.type == "error" else None)
    window.page.on("pageerror", lambda error: window.errors.append(str(error)))
    ours = (url, f"blob:{url}")
    context.on("request", lambda one: None if one.url.startswith(ours) else window.outside.append(one.url))
    window.page.goto(url)
    yield window
    context.close()
    assert window.outside == []


@pytest.fixture
def window(browser, url) -> Iterator[Window]:
    """Both models' page, about which the browser does not complain."""
    with opened(browser, url) as window:
        expect(window.page.locator(".column")).to_have_count(2)
        yield window
    assert window.errors == []


def test_a_recording_is_transcribed_by_both_models_and_compared_with_what_was_said(window, url, errands):
    page = window.page
    page.evaluate(GROWTH)
    window.upload(errands.path)
    texts = window.transcripts()
    for model, text in zip(MODELS, texts, strict=True):
        column, answer = window.column(model), transcribed(url, errands.path, model)
        assert text == answer["text"]
        assert column.locator(".segments button").count() == len(answer["segments"]) == 3
        for shown, segment in zip(
            column.locator(".segments button").all_inner_texts(), answer["segments"], strict=True
        ):
            assert shown == f"0:{segment['start']:04.1f} – 0:{segment['end']:04.1f} {segment['text']}"
        time, speed = (value.rstrip(" s×") for value in column.locator("dd").all_inner_texts()[:2])
        assert float(speed) == pytest.approx(answer["duration"] / float(time), rel=0.1)
        grown = page.evaluate("model => grown[model]", model)
        assert len(grown) > 2
        assert all(after.startswith(before) for before, after in pairwise(grown))

    page.fill("#reference", errands.text)
    for model, text in zip(MODELS, texts, strict=True):
        column, wanted = window.column(model), measured("a", errands.text, text, language="English")
        rate = 100 * wanted["wer_errors"] / wanted["ref_words"]
        expect(column.locator(".score strong")).to_have_text(f"WER {rate:.1f}%")
        parts = {"wrong": "sub", "missed": "del", "added": "ins"}
        counts = ", ".join(f"{wanted[key]} {word}" for word, key in parts.items()) + f", of {wanted['ref_words']} words"
        expect(column.locator(".score")).to_contain_text(counts)
        assert column.locator(".diff del").count() == wanted["sub"] + wanted["del"]
        assert column.locator(".diff ins").count() == wanted["sub"] + wanted["ins"]
    assert window.column(MODELS[0]).locator(".diff del").count() > 0
    page.mouse.move(0, 0)
    page.locator("#reference").blur()
    shoot(page, "try-it")
    page.locator(".mask summary").first.click()
    accessible(page)

    window.column(MODELS[1]).get_by_role("button", name="Use as reference").click()
    expect(window.column(MODELS[1]).locator(".score strong")).to_have_text("WER 0.0%")


def test_a_segment_is_played_and_the_playhead_goes_where_one_clicks(window, errands):
    page = window.page
    window.upload(errands.path)
    window.transcripts()
    first, second = (page.locator(".segments").first.locator("button").nth(i) for i in (0, 1))
    begin, end = (float(time[2:]) for time in second.locator(".figures").inner_text().split(" – "))
    page.evaluate("audio.playbackRate = 4")
    second.click()
    expect(page.locator("#play")).to_have_attribute("aria-label", "Pause")
    assert begin - 0.06 <= page.evaluate("audio.currentTime") <= end + 0.3
    expect(page.locator("#play")).to_have_attribute("aria-label", "Play")
    assert page.evaluate("audio.currentTime") == pytest.approx(end, abs=0.5)
    assert first.is_visible()

    waveform = page.locator("#waveform")
    width = waveform.bounding_box()["width"]
    waveform.click(position={"x": width / 2, "y": 20})
    whole = float(waveform.get_attribute("aria-valuemax"))
    assert page.evaluate("audio.currentTime") == pytest.approx(whole / 2, abs=0.1)
    waveform.press("ArrowLeft")
    assert page.evaluate("audio.currentTime") == pytest.approx(whole / 2 - 1, abs=0.1)
    waveform.press("End")
    expect(waveform).to_have_attribute("aria-valuenow", f"{whole:.2f}")


def test_a_transcript_is_copied_and_downloaded(window, url, errands):
    page = window.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    window.upload(errands.path)
    text = window.transcripts()[0]
    column = window.column(MODELS[0])
    column.get_by_role("button", name="Copy").click()
    expect(column.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == text
    saved = {}
    for kind in ("txt", "srt", "json"):
        with page.expect_download() as download:
            column.get_by_role("button", name=kind, exact=True).click()
        assert download.value.suggested_filename == f"errands.{kind}"
        saved[kind] = download.value.path().read_text()
    assert saved["txt"] == f"{text}\n"
    assert saved["srt"].startswith("1\n00:00:00,")
    answer = json.loads(saved["json"])
    assert answer["text"] == text
    assert [one["text"] for one in answer["segments"]] == [
        one["text"] for one in transcribed(url, errands.path, MODELS[0])["segments"]
    ]


def test_several_recordings_are_heard_one_after_the_other(window, errands, folder):
    page = window.page
    short = folder / "digits.wav"
    soundfile.write(short, SPOKEN.clip.load(RATE), RATE)
    page.set_input_files("#file", [errands.path, short, folder / "microphone.wav"])
    history = page.locator("#history button")
    expect(history).to_have_count(3)
    expect(history.nth(2)).to_contain_text("microphone.wav")
    expect(history.filter(has_text="waiting …")).to_have_count(0, timeout=60_000)
    expect(page.locator("#about")).to_contain_text("microphone.wav")
    history.nth(1).click()
    expect(page.locator("#about")).to_contain_text("digits.wav")
    assert similar(SPOKEN.text.split(), window.transcripts()[1].split()) >= len(SPOKEN.text.split()) / 2


def test_languages_are_those_of_the_models(browser):
    page = browser.new_page()
    listed = {"data": [{"id": "w", "accepts": ["audio", "language"], "languages": ["de", "en", "x-?"]}]}
    policy = text_policy()
    with served(policy) as server:
        page.route("**/v1/models", lambda route: route.fulfill(json=listed))
        page.route("**/token-mask*", lambda route: route.fulfill(json={"enabled": False, "blocked": []}))
        page.goto(server.url)
        options = page.locator("#languages option")
        expect(options).to_have_count(3)
        assert options.evaluate_all("all => all.map((one) => [one.value, one.textContent])") == [
            ["de", "German"],
            ["en", "English"],
            ["x-?", "x-?"],
        ]
    page.close()


def test_the_microphone_is_heard(window):
    page = window.page
    page.click("#record")
    expect(page.locator("#record")).to_have_text("Stop")
    expect(page.locator("#clock")).to_have_text(re.compile(r"0:0(2\.[3-9]|[3-9])"), timeout=20_000)
    page.click("#record")
    expect(page.locator("#about")).to_contain_text(re.compile(r"Microphone .*\.webm · 0:0[2-9]"))
    words = SPOKEN.text.split()
    texts = window.transcripts()
    assert max(similar(words, text.split()) for text in texts) >= len(words) / 2, texts


def test_a_visit_remembers_its_recordings(window, errands, folder):
    page = window.page
    window.upload(errands.path)
    window.transcripts()
    page.fill("#reference", errands.text)
    shown = page.locator(".diff").first
    expect(shown).to_be_visible()
    before = page.locator("#columns").inner_text()
    window.upload(folder / "microphone.wav")
    window.transcripts()
    assert page.input_value("#reference") == ""
    expect(shown).to_be_hidden()
    page.locator("#history button", has_text="errands.wav").click()
    expect(shown).to_be_visible()
    assert page.locator("#columns").inner_text() == before
    assert page.input_value("#reference") == errands.text


def test_language_and_prompt_reach_the_models(window, url, errands):
    page = window.page
    window.upload(errands.path)
    window.transcripts()
    page.fill("#language", "English")
    page.fill("#prompt", "Julia")
    with page.expect_request("**/transcriptions"):
        page.get_by_role("button", name="Transcribe", exact=True).click()
    for model, text in zip(MODELS, window.transcripts(), strict=True):
        assert text == transcribed(url, errands.path, model, language="English", prompt="Julia")["text"]


def test_what_is_no_recording_is_refused_in_words(window, errands):
    window.page.evaluate(DROP, ["notes.txt", "Nothing to hear."])
    problems = window.page.locator(".column .problem")
    for i in range(2):
        expect(problems.nth(i)).to_contain_text("notes.txt: not a recording; send")
    window.upload(errands.path)
    assert all(window.transcripts())
    expect(problems.first).to_be_hidden()
    assert all("status of 400" in error for error in window.errors)
    window.errors.clear()


def test_a_transcript_is_stopped_by_who_asked_for_it(window, errands):
    page = window.page
    page.route("**/transcriptions", lambda route: None)
    window.upload(errands.path)
    page.get_by_role("button", name="Stop").click()
    expect(window.column(MODELS[0]).locator(".problem")).to_have_text("Stopped.")
    expect(window.column(MODELS[1]).locator(".problem")).to_be_hidden()
    page.unroute("**/transcriptions")
    page.get_by_role("button", name="Transcribe", exact=True).click()
    assert all(window.transcripts())


def test_a_server_that_is_not_well_says_so(window):
    page = window.page
    expect(page.locator("#health")).to_have_text("ready")
    body = {"error": {"message": "builtin:student: the worker has stopped"}}
    page.route("**/health", lambda route: route.fulfill(status=503, json=body))
    page.reload()
    expect(page.locator("#health")).to_have_text("not well: builtin:student: the worker has stopped")
    page.route("**/v1/models", lambda route: route.abort())
    page.reload()
    expect(page.locator("#problem")).to_have_text("The server does not answer. Is it still running?")
    window.errors.clear()


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (1400, "dark")])
def test_it_fits_narrow_windows_and_dark_ones(window, errands, width, scheme):
    page = window.page
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 1400})
    window.upload(errands.path)
    window.transcripts()
    page.fill("#reference", errands.text)
    expect(page.locator(".diff").last).to_be_visible()
    page.locator(".mask summary").first.click()
    expect(page.locator(".mask p").first).to_contain_text("no transcript has one")
    expect(page.locator(".mask code").first).to_contain_text("<|im_start|>")
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_the_policy_of_the_page_holds(window):
    """Were something to get into it, it would neither run nor report to others."""
    page = window.page
    page.evaluate("""() => {
        const script = document.createElement("script");
        script.textContent = "window.ran = true";
        document.body.append(script);
    }""")
    assert page.evaluate("window.ran") is None
    assert page.evaluate("fetch('http://127.0.0.2/').then(() => 'sent', () => 'not sent')") == "not sent"
    assert len(window.errors) >= 2
    assert all("Content Security Policy" in error or "Fetch API cannot load" in error for error in window.errors)
    window.errors.clear()
    headers = httpx2.get(window.url).headers["content-security-policy"]
    assert headers.startswith("default-src 'self';")
    assert "unsafe" not in headers


def test_the_description_of_the_api_is_the_servers_own(window):
    page = window.page
    page.get_by_role("link", name="API").click()
    paths = httpx2.get(f"{window.url}/openapi.json").json()["paths"]
    assert set(page.locator("h2 code").all_inner_texts()) == set(paths)
    accessible(page)


def test_a_key_is_asked_for_where_there_is_one(browser):
    with served(text_policy(), api_key="secret") as server, opened(browser, server.url) as window:
        page = window.page
        field, problem = page.get_by_label("This server asks for an API key"), page.locator("#problem")
        for key in ("wrong", "secret"):
            field.fill(key)
            page.get_by_role("button", name="Use key").click()
            if key == "wrong":
                expect(problem).to_have_text("The server has another key.")
        expect(page.get_by_label("Message")).to_be_visible()
        expect(field).to_be_hidden()
        expect(problem).to_be_hidden()
        assert all("status of 401" in error for error in window.errors)


def test_with_models_that_read_one_chats(browser):
    models = {"one": text_policy(), "two": text_policy()}
    models["two"].model.lm_head.weight.data.neg_()
    with served(models) as server, opened(browser, server.url) as window, server.client() as client:
        page = window.page
        page.get_by_label("Temperature").fill("0")
        page.get_by_label("Message").fill("Why?")
        page.get_by_label("Message").press("Enter")
        turns = page.locator(".turns li")
        expect(turns).to_have_count(4)
        expect(page.locator(".turns .going")).to_have_count(0, timeout=30_000)
        for name in models:
            answer = client.post("/v1/chat/completions", json=say("Why?", model=name)).json()
            shown = page.get_by_role("region", name=name, exact=True).locator("p").last
            assert shown.text_content() == answer["choices"][0]["message"]["content"]
        accessible(page)
        page.get_by_role("button", name="New conversation").click()
        expect(turns).to_have_count(0)
        assert window.errors == []


GROWTH = """() => {
    window.grown = {};
    for (const column of document.querySelectorAll(".column")) {
        const texts = (window.grown[column.querySelector("h2").textContent] = []);
        const transcript = column.querySelector(".transcript");
        new MutationObserver(() => {
            if (transcript.classList.contains("going")) texts.push(transcript.textContent);
        }).observe(transcript, { childList: true });
    }
}"""
"""Notes each text that a transcript has on its way."""


DROP = """([name, content]) => {
    const data = new DataTransfer();
    data.items.add(new File([content], name));
    document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
}"""


def transcribed(url: str, path: Path, model: str, **more: str) -> dict:
    fields = {"model": model, "response_format": "verbose_json", **more}
    with path.open("rb") as file:
        return httpx2.post(f"{url}/v1/audio/transcriptions", data=fields, files={"file": file}).json()


def similar(said: list[str], heard: list[str]) -> int:
    """Words of the longest common subsequence."""
    return sum(op.kind == "hit" for op in align(said, heard))
