"""Do two checkouts write the same figures? For a refactoring, which must change none.

Runs the demo and five small recipes with the sources of both, one thread a run, and compares `metrics.jsonl` as text:
the characters of every value, and the order of the keys. Metrics that only the second has are listed.

    git worktree add ../before REVISION
    python benchmarks/same_figures.py ../before . --renamed learnt_share=learned_share
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

NOISY = ["--data", "builtin:commands-train-noisy"]
SMALL = ["data.limit=120", "data.eval=builtin:commands-noisy", "eval.limit=40", "train.save_every=-1", "threads=1"]
STEPS = ["train.steps=12", "rollout.prompts_per_step=8"]
RUNS = {
    "grpo-whisper": ["--model", "builtin:whisper", "--algorithm", "grpo", *STEPS, "algorithm.beta=0.01"],
    "grpo-wav2vec2": ["--model", "builtin:wav2vec2", "--algorithm", "grpo", *STEPS],
    "opd": ["--algorithm", "opd", *STEPS, "teacher=builtin:teacher", "rollout.group_size=1"],
    "raft-whisper": ["--model", "builtin:whisper", "--algorithm", "raft", "--cycles", "2"],
    "lora": ["--algorithm", "grpo", *STEPS, "lora={}", "train.minibatches=2", "optimizer.lr=1e-3"],
}
RUN = "from antiphon.cli.main import main; main()"

Row = dict[str, str]


def metrics(sources: Path, arguments: list[str]) -> list[Row]:
    """The lines of `metrics.jsonl` of one run by `sources`, every value as it is written."""
    with tempfile.TemporaryDirectory() as output:
        environment = os.environ | {"PYTHONPATH": str((sources / "src").resolve())}
        command = [sys.executable, "-c", RUN, *arguments]
        where = ["--output", output] if arguments[0] == "demo" else [f"output={output}"]
        subprocess.run([*command, *where], env=environment, check=True, capture_output=True)
        (path,) = Path(output).glob("*/metrics.jsonl")
        return [json.loads(line, parse_float=str, parse_int=str) for line in path.read_text().splitlines()]


def differences(before: list[Row], after: list[Row], renamed: dict[str, str]) -> tuple[list[str], list[str]]:
    """What differs, in words, and the metrics that only `after` has."""
    before = [{renamed.get(key, key): value for key, value in row.items()} for row in before]
    new = sorted({key for row in after for key in row} - {key for row in before for key in row})
    found = [] if len(before) == len(after) else [f"{len(before)} steps against {len(after)}"]
    for old, row in zip(before, after, strict=False):
        changed = [key for key in old if old[key] != row.get(key)]
        found += [f"step {old['step']}: {key} {old[key]} -> {row.get(key)}" for key in changed]
        if [key for key in row if key in old] != list(old):
            found.append(f"step {old['step']}: the keys come in another order")
    return found, new


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="a checkout")
    parser.add_argument("after", type=Path, help="another")
    parser.add_argument(
        "--renamed", nargs="*", default=[], metavar="OLD=NEW", help="metrics that have another name now"
    )
    parser.add_argument("--demo-steps", type=int, default=200, help="0 leaves the demo out")
    options = parser.parse_args()
    renamed = dict(one.split("=", 1) for one in options.renamed)
    runs = {name: ["train", *arguments, *NOISY, *SMALL] for name, arguments in RUNS.items()}
    if options.demo_steps:
        runs["demo"] = ["demo", "--steps", str(options.demo_steps)]
    failed = False
    for name, arguments in runs.items():
        found, new = differences(*(metrics(one, arguments) for one in (options.before, options.after)), renamed)
        failed |= bool(found)
        print(
            f"{name}: {'; '.join(found[:5]) or 'the same'}" + (f" (new: {', '.join(new)})" if new else ""), flush=True
        )
    sys.exit(failed)


if __name__ == "__main__":
    main()
