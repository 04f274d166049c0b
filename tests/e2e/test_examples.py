"""The tutorials, each as a reader runs it, and what it prints: the models get better."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from conftest import REPOSITORY
from processes import start_script

pytestmark = pytest.mark.tutorial


@dataclass(frozen=True)
class Tutorial:
    process: BaseProcess
    folder: Path

    def printed(self) -> str:
        """What it prints to its end."""
        self.process.join(280)
        assert self.process.exitcode == 0, (self.folder / "stderr").read_text()[-3000:]
        return (self.folder / "stdout").read_text()


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[dict[str, Tutorial]]:
    """All of them, side by side, each from its top to its bottom in a process and a folder of its own."""
    started = {}
    for script in sorted((REPOSITORY / "examples").glob("*.py")):
        folder = tmp_path_factory.mktemp(script.stem)
        started[script.name] = Tutorial(start_script(script, folder=folder), folder)
    yield started
    for one in started.values():
        one.process.kill()


def rates(pattern: str, text: str) -> dict[str, float]:
    """Error rates by what stands before them; the pattern has both."""
    return {name.strip(): float(rate) for name, rate in re.findall(pattern, text, flags=re.MULTILINE)}


def test_grpo_on_a_recognizer(running):
    tutorial = running["asr_grpo.py"]
    text = tutorial.printed()
    wer = rates(r"^(before|after) .* WER ([\d.]+)$", text)
    assert wer["after"] < wer["before"] - 0.05
    run_id = re.search(r"^training run id: (\S+)$", text, flags=re.MULTILINE)
    assert run_id
    assert (tutorial.folder / "runs" / run_id[1] / "checkpoints" / "step-000030" / "config.json").is_file()
    assert text.count("  said    ") == 3
    assert Path(re.findall(r"^rows and clips: (.*)$", text, flags=re.MULTILINE)[0], "scores.json").is_file()


def test_distillation_in_one_process(running):
    text = running["opd_walkthrough.py"].printed()
    assert "calibration: teacher_aligned_share 1.000" in text
    first, last = map(float, re.findall(r"divergence ([\d.]+) → ([\d.]+)$", text, flags=re.MULTILINE)[0])
    assert last < first / 2
    wer = rates(r"^(student before|student after|teacher) +WER ([\d.]+)", text)
    assert wer["teacher"] < wer["student after"] < wer["student before"] - 0.05


def test_raft_on_an_encoder_decoder_and_on_ctc(running):
    for part in running["raft_whisper_wav2vec2.py"].printed().split("builtin:w")[1:]:
        wer = [float(rate) for rate in re.findall(r"([\d.]+)%$", part, flags=re.MULTILINE)]
        assert len(wer) == 4, "at the start, and after each of three cycles"
        assert min(wer[1:]) < wer[0] - 3
        best = re.search(r"^best cycle: (\d)", part, flags=re.MULTILINE)
        assert best
        assert wer[int(best[1])] == min(wer[1:])
        rewards = [float(row.split()[1]) for row in part.splitlines() if re.match(r" +\d ", row)]
        assert rewards[-1] > rewards[0]
