"""How long the dashboard takes over its pages with many runs: 500 of them and a million rollout rows by default.

    python benchmarks/dashboard.py [--runs 500] [--folder DIR]

Makes the runs in DIR (a temporary folder by default; one that has them already is used as it is), starts
`antiphon dashboard`, and asks for every page by HTTP: once right after the start, with nothing read yet, and then
nine times more. Prints one line of JSON a page: seconds of the first answer, median and longest of the others, and kB.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from antiphon.client.port import free_port
from antiphon.config import load_config
from antiphon.evaluate.metrics import measure, summarize
from antiphon.runs import RolloutRow, RunFolder
from antiphon.runs.atomic import write_json
from antiphon.tasks.load import find_task
from antiphon.tasks.task import Answered, worst_first
from antiphon.text.normalize import normalizer
from antiphon.types import Example

STEPS = 1000
ROLLOUT_FILES, PROMPTS, GROUP = 16, 16, 8
EVALUATIONS, UTTERANCES = 5, 200
AGAIN = 9
LIMIT = 1.0
"""Seconds that a page may take."""
SENTENCE = "turn the volume down in the kitchen and wake me at seven"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        if not any(folder.glob("*/status.json")):
            make_runs(folder, arguments.runs)
        slow = [line for line in time_pages(folder) if max(line["first_s"], line["longest_s"]) > LIMIT]
    sys.exit(f"slower than {LIMIT} s: {', '.join(line['page'] for line in slow)}" if slow else 0)


def make_runs(folder: Path, count: int) -> None:
    """One run written as training writes it, and copies of it with curves of their own."""
    first = make_run(folder)
    rng = np.random.default_rng(0)
    status = json.loads((first.path / "status.json").read_bytes())
    for number in range(1, count):
        copy = folder / f"{first.id}-{number:03d}"
        shutil.copytree(first.path, copy)
        write_metrics(copy, rng)
        started = datetime.now(UTC) - timedelta(minutes=number)
        write_json(copy / "status.json", {**status, "started": started.isoformat()})
    rows = count * ROLLOUT_FILES * PROMPTS * GROUP
    print(json.dumps({"runs": count, "steps": count * STEPS, "rollout_rows": rows}), flush=True)


def make_run(folder: Path) -> RunFolder:
    config = load_config(None, [f"output={folder}", f"train.steps={STEPS}", "data.eval=builtin:commands-noisy"])
    run = RunFolder.create(config, ["antiphon", "train"])
    rng = np.random.default_rng(1)
    for file in range(ROLLOUT_FILES):
        step = (file + 1) * STEPS // ROLLOUT_FILES
        run.write_rollouts(
            step, [rollout(step, prompt, sample) for prompt in range(PROMPTS) for sample in range(GROUP)]
        )
    for evaluation in range(EVALUATIONS):
        rows = worst_first([utterance(number, rng) for number in range(UTTERANCES)])
        step = evaluation * STEPS // (EVALUATIONS - 1)
        run.save_eval("commands-noisy", step, summarize(rows, find_task("asr")), rows)
    with run.checkpoints.save(STEPS) as checkpoint:
        (checkpoint / "model.safetensors").write_bytes(bytes(1 << 10))
    for step in range(STEPS):
        run.log(f"step {step}: nothing of note")
    write_metrics(run.path, rng)
    run.update("finished", STEPS)
    return run


def rollout(step: int, prompt: int, sample: int) -> RolloutRow:
    words = SENTENCE.split()
    tokens = list(range(24))
    return RolloutRow(
        step=step,
        example_id=f"utterance-{prompt:04d}",
        sample=sample,
        prompt="",
        reference=SENTENCE,
        text=" ".join(words[: len(words) - sample]),
        token_ids=tokens,
        tokens=[f"piece{token}" for token in tokens],
        logprobs=[-0.1 * (token % 7) for token in tokens],
        reward=-sample / len(words),
        advantages=[1.0 - sample / 4] * len(tokens),
        finish_reason="stop",
        audio=f"audio/utterance-{prompt:04d}.flac",
        reward_parts={"wer": sample / len(words), "edits": float(sample)},
    )


def utterance(number: int, rng: np.random.Generator):
    words = SENTENCE.split()
    heard = [word for word in words if rng.random() > 0.1]
    example = Example(f"utterance-{number:04d}", "asr", None, SENTENCE, speaker=f"speaker-{number % 20}")
    return measure(find_task("asr"), Answered(example, " ".join(heard), 3.0), normalizer)


def write_metrics(run: Path, rng: np.random.Generator) -> None:
    """`metrics.jsonl` and `timings.jsonl` as long as those of a run that has ended."""
    reward = np.tanh(np.linspace(0, 2, STEPS)) + rng.normal(0, 0.1, STEPS)
    noise = rng.random((STEPS, 12))
    names = ["reward_std", "reward_best_mean", "reward_group_std", "reward/wer", "tokens_mean", "truncated_share"]
    names += ["zero_variance_share", "loss", "grad_norm", "kl_old", "entropy", "clip_high_share"]
    fixed = {"lr": 1e-6, "samples": 128, "audio_seconds": 40.0, "engine_difference_max": 1e-5}
    with (run / "metrics.jsonl").open("w") as metrics, (run / "timings.jsonl").open("w") as timings:
        for step in range(STEPS):
            row = {"step": step + 1, "reward_mean": reward[step], **dict(zip(names, noise[step], strict=True)), **fixed}
            metrics.write(json.dumps(row) + "\n")
            seconds = {"step": step + 1, "rollout": 0.3, "train": 0.2, "step_seconds": 0.5, "memory_gb": 1.5}
            timings.write(json.dumps(seconds) + "\n")


def time_pages(folder: Path) -> list[dict[str, Any]]:
    runs = sorted((path.name for path in folder.iterdir()), reverse=True)
    pages = ["/", "/?page=10", "/?q=grpo&sort=best", "/compare?runs=" + ",".join(runs[:10])]
    pages += [f"/run/{runs[0]}", *(f"/run/{runs[0]}/{tab}" for tab in ("rollouts", "evals", "checkpoints", "logs"))]
    port = free_port()
    command = [sys.executable, "-m", "antiphon", "dashboard"]
    server = subprocess.Popen([*command, f"--root={folder}", f"--port={port}"])
    try:
        await_port(port)
        return [time_page(f"http://127.0.0.1:{port}", page) for page in pages]
    finally:
        server.terminate()
        server.wait(20)


def time_page(server: str, page: str) -> dict[str, Any]:
    first, size = ask(server + page)
    again = [ask(server + page)[0] for _ in range(AGAIN)]
    line: dict[str, Any] = {"page": page if len(page) < 60 else page[:57] + "…", "first_s": round(first, 3)}
    line |= {"median_s": round(statistics.median(again), 3), "longest_s": round(max(again), 3), "kB": size // 1000}
    print(json.dumps(line, ensure_ascii=False), flush=True)
    return line


def ask(url: str) -> tuple[float, int]:
    began = time.perf_counter()
    with urllib.request.urlopen(url, timeout=60) as answer:
        size = len(answer.read())
    return time.perf_counter() - began, size


def await_port(port: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    sys.exit("the dashboard did not start")


if __name__ == "__main__":
    main()
