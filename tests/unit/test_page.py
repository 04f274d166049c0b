"""The report: errors marked word by word, sound inside, nothing fetched."""

import re

import numpy as np
import pytest
from measured import measured, summarized

from antiphon.errors import AudioError
from antiphon.evaluate import page
from antiphon.evaluate.page import word_diff, write_page
from antiphon.evaluate.results import Evaluation
from antiphon.tasks.task import worst_first


class Hum:
    """A clip of one second."""

    name = "hum"

    def load(self, rate: int) -> np.ndarray:
        return np.sin(np.arange(rate) / 20).astype(np.float32)


class Gone:
    name = "gone"

    def load(self, rate: int) -> np.ndarray:
        raise AudioError("gone.wav: no such file; correct the path")


def shown(path, evaluation: Evaluation, clips) -> str:
    write_page(path / "report.html", evaluation, {"dev": clips})
    return (path / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def evaluation() -> Evaluation:
    rows = [
        measured("bad <one>", "go to the <market>", "go the mark it", language="de", speaker="jo", seconds=2.0),
        measured("cut", "left right", "left", seconds=1.0, truncated=True),
        measured("good", "stop", "stop", seconds=1.0),
    ]
    how = {"normalizer": "default 2", "rtfx": 12.3, "concurrency": 8, "precision": "float32", "device": "cpu"}
    groups = {"groups": {"north & west": summarized(rows[:2])}}
    sets = {"dev": summarized(rows) | how | groups}
    return Evaluation("my <model>", "0123456789abcdef", sets, {"dev": worst_first(rows)})


def test_a_word_diff_marks_what_was_missed_and_what_was_made_up():
    assert word_diff("a b c d", "a x c") == "a <del>b</del><ins>x</ins> c <del>d</del>"
    assert word_diff("", "thank you") == "<ins>thank</ins> <ins>you</ins>"
    assert word_diff("<b> 你好", "<b> 你们") == "&lt;b&gt; 你<del>好</del><ins>们</ins>"
    assert word_diff("안녕 세계", "안녕세상") == "안녕 세<del>계</del><ins>상</ins>"
    assert word_diff("a b", "x a b") == "<ins>x</ins> a b"


def test_the_page_has_figures_plots_and_the_worst_clips_with_sound(tmp_path, evaluation):
    html = shown(tmp_path, evaluation, {"bad <one>": Hum(), "cut": Hum()})
    assert html.count("<svg") == 2
    assert html.count("data:audio/mpeg;base64,") == 2
    assert "<del>to</del>" in html
    assert "the 2 clips with errors" in html
    assert "cut off by the token limit" in html
    assert "bad &lt;one&gt; · 3 errors in 4 · 2.0 s · jo" in html
    assert "my &lt;model&gt;" in html
    assert "north &amp; west" in html
    assert "8 clips side by side" in html
    assert "float32 on cpu" in html


def test_the_page_fetches_nothing(tmp_path, evaluation):
    html = shown(tmp_path, evaluation, {"cut": Hum()})
    sources = re.findall(r"""(?:src|href)=["']([^"']+)""", html)
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert "<script" not in html
    assert "url(http" not in html


def test_sound_is_bounded_and_a_clip_that_is_gone_is_said_to_be(tmp_path, evaluation, monkeypatch):
    monkeypatch.setattr(page, "AUDIO_BYTES", 100)
    html = shown(tmp_path, evaluation, {"bad <one>": Hum(), "cut": Gone()})
    assert "the report holds as much audio as it may" in html
    assert "gone.wav: no such file" in html
    assert "<audio" not in html


def test_a_set_without_errors_says_so(tmp_path, evaluation):
    rows = {"dev": [row for row in evaluation.rows["dev"] if not row["wer_errors"]]}
    assert "Every answer is right." in shown(tmp_path, Evaluation("m", "0" * 12, evaluation.sets, rows), {})
