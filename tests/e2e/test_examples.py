"""The tutorials, each as a reader runs it, and what it prints: the models get better."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from conftest import REPOSITORY


def printed(name: str, folder: Path) -> str:
    """What a tutorial prints, run from its top to its bottom in a process of its own."""
    ended = subprocess.run(
        [sys.executable, REPOSITORY / "examples" / name],
        cwd=folder,
        env={**os.environ, "XDG_STATE_HOME": str(folder), "OMP_NUM_THREADS": "1"},  # The cores may be shared.
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stdout


def rates(pattern: str, text: str) -> dict[str, float]:
    """Error rates by what stands before them; the pattern has both."""
    return {name.strip(): float(rate) for name, rate in re.findall(pattern, text, flags=re.MULTILINE)}


def test_grpo_on_a_recogniser(tmp_path):
    text = printed("asr_grpo.py", tmp_path)
    wer = rates(r"^(before|after) .* WER ([\d.]+)$", text)
    assert wer["after"] < wer["before"] - 0.05
    run_id = re.search(r"^training run id: (\S+)$", text, flags=re.MULTILINE)
    assert run_id
    assert (tmp_path / "runs" / run_id[1] / "checkpoints" / "step-000060" / "config.json").is_file()
    assert text.count("  said    ") == 3
    assert Path(re.findall(r"^rows and clips: (.*)$", text, flags=re.MULTILINE)[0], "scores.json").is_file()


def test_distillation_in_one_process(tmp_path):
    text = printed("opd_walkthrough.py", tmp_path)
    assert "calibration: teacher_aligned_share 1.000" in text
    first, last = map(float, re.findall(r"divergence ([\d.]+) → ([\d.]+)$", text, flags=re.MULTILINE)[0])
    assert last < first / 2
    wer = rates(r"^(student before|student after|teacher) +WER ([\d.]+)", text)
    assert wer["teacher"] < wer["student after"] < wer["student before"] - 0.05


def test_raft_on_an_encoder_decoder_and_on_ctc(tmp_path):
    for part in printed("raft_whisper_wav2vec2.py", tmp_path).split("builtin:w")[1:]:
        wer = [float(rate) for rate in re.findall(r"([\d.]+)%$", part, flags=re.MULTILINE)]
        assert len(wer) == 5, "at the start, and after each of four cycles"
        assert min(wer[1:]) < wer[0] - 3
        best = re.search(r"^best cycle: (\d)", part, flags=re.MULTILINE)
        assert best
        assert wer[int(best[1])] == min(wer[1:])
        rewards = [float(row.split()[1]) for row in part.splitlines() if re.match(r" +\d ", row)]
        assert rewards[-1] > rewards[0]
