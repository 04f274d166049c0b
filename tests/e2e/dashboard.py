"""What the dashboard's tests share: one in a process of its own, and pages that must load without a flaw."""

from __future__ import annotations

import math
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import numpy as np
from conftest import COMMAND
from playwright.sync_api import Browser, Page
from serving import until

from antiphon.client.port import free_port
from antiphon.config import load_config
from antiphon.runs import RunFolder
from antiphon.runs.atomic import write_text
from antiphon.runs.lines import encode


@contextmanager
def dashboard(root: Path, log: Path, *options: str) -> Iterator[str]:
    """The address of `antiphon dashboard` for the runs in `root`; what it prints goes to the file `log`."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [*COMMAND, "dashboard", f"--root={root.name}", f"--port={port}", *options]
    with log.open("w") as printed:
        process = subprocess.Popen(command, cwd=root.parent, stdout=printed, stderr=printed, env=_environment())
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


def make_run(root: Path, name: str, start: float, end: float, *overrides: str, seed: int = 0) -> RunFolder:
    """A run of 80 steps that never was: its WER goes from `start` to `end`, its other curves are made up likewise."""
    settings = [f"output={root}", f"name={name}", "train.steps=80", "data.train=builtin:commands-train-noisy"]
    run = RunFolder.create(load_config(None, [*settings, *overrides]), ["antiphon", "train"])
    rng = np.random.default_rng(seed)
    metrics, timings = [], []
    for step in range(81):
        rate = end + (start - end) * math.exp(-step / 25)
        if step:
            metrics.append({"step": step, **_metrics(rate + rng.normal(0, 0.03), step, rng)})
            seconds = {"rollout": 1.1, "train": 0.6, "step_seconds": 1.8 + rng.random() / 5}
            timings.append({"step": step, **seconds, "memory_gb": 1.6})
        if step % 20 == 0:
            ends = [rate * 0.85, rate * 1.15]
            run.save_eval(
                "commands-noisy", step, {"wer": rate, "ci": ends, "ci_unit": "speaker", "n": 300}, [{"id": "a"}]
            )
    for name, lines in (("metrics", metrics), ("timings", timings)):
        write_text(run.path / f"{name}.jsonl", "".join(f"{encode(line)}\n" for line in lines))
    run.log_gate(0, {"difference_max": 9e-6, "difference_mean": 3e-7, "ablation_change": 2.8, "passed": True})
    run.update("finished", 80)
    return run


def _metrics(wer: float, step: int, rng: np.random.Generator) -> dict[str, float]:
    noise = rng.random(8)
    return {
        "reward_mean": -wer,
        "reward_std": 0.2 + noise[0] / 20,
        "reward_best_mean": -wer * 0.6,
        "reward_group_std": 0.12 + noise[1] / 30,
        "reward/wer": wer,
        "samples": 128,
        "tokens_mean": 9.5 + noise[2],
        "truncated_share": 0.02 * noise[3] * (noise[3] > 0.8),
        "empty_share": 0.0,
        "audio_seconds": 36 + 4 * noise[4],
        "zero_variance_share": 0.3 + step / 400 + noise[5] / 10,
        "loss": 0.01 * (noise[6] - 0.5),
        "grad_norm": 0.4 + noise[7] / 5,
        "lr": 2e-5 * min(1, step / 10),
        "entropy": 0.1 + wer / 2,
        "kl_old": 4e-4 * noise[0],
        "clip_high_share": 0.01 * noise[1],
        "clip_low_share": 0.006 * noise[2],
        "engine_difference_max": 7e-6 + 4e-6 * noise[3],
    }


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
