"""`antiphon demo`: training and evaluation in a minute, without downloads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from antiphon.cli import options
from antiphon.cli.output import print_json, tables
from antiphon.cli.progress import Terminal, with_interval

if TYPE_CHECKING:
    from antiphon.run.train import TrainResult

TRAIN_SET = "builtin:commands-train-noisy"
EVAL_SET = "builtin:commands-noisy"
SETTINGS: dict[str, Any] = {
    "model": "builtin:student",
    "data.train": TRAIN_SET,
    "data.limit": 960,
    "data.eval": [EVAL_SET],
    "reward": "wer",
    "algorithm": "grpo",
    "rollout.prompts_per_step": 16,
    "rollout.group_size": 8,
    "rollout.max_new_tokens": 24,
    "optimizer.lr": 5e-4,
    "optimizer.warmup_steps": 20,
    "optimizer.schedule": "cosine",
    "optimizer.min_lr_ratio": 0.1,
    "eval.every": 50,
    "train.save_every": -1,
    "name": "demo",
}
TRANSCRIPTS = 3
EPILOG = """\
Examples:

antiphon demo

antiphon demo --steps 400 --json
"""


def command(
    steps: Annotated[int, typer.Option("--steps", min=1, help="Training steps.")] = 200,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of all randomness.")] = 0,
    output: Annotated[str, typer.Option("--output", metavar="DIR", help="Parent folder of the run folders.")] = "runs",
    device: options.DeviceOption = "auto",
    dtype: options.DTypeOption = "auto",
    as_json: options.Json = False,
) -> None:
    """Train the built-in recognizer on noisy speech by GRPO, with synthetic data.

    The student was pretrained on mostly quiet speech. The demo samples eight transcripts for each noisy command and
    trains with their word error rate as the only reward. The test speakers are not in the training data.
    """
    from antiphon.config import load_config
    from antiphon.run.train import train

    flags = {**SETTINGS, "train.steps": steps, "seed": seed, "output": output}
    flags |= {"device": device, "dtype": dtype}
    with Terminal() as terminal:
        terminal.noted("GRPO on the built-in recognizer: spoken commands in noise, reward −WER")
        result = train(load_config(flags=flags), observers=[terminal], command=["antiphon", "demo"])
    (before,), (after,) = result.before.values(), result.after.values()
    payload = {
        "wer_before": before["wer"],
        "wer_after": after["wer"],
        "ci_before": before["ci"],
        "ci_after": after["ci"],
        "seconds": result.seconds,
        "run": result.run.id,
        "path": str(result.run.path),
        "plot": str(result.run.plots / "training.png"),
    }
    if as_json:
        print_json(payload)
    else:
        _show(result, before, after)


def _show(result: TrainResult, before: dict[str, Any], after: dict[str, Any]) -> None:
    table = Table("unseen voices in noise", "WER [95% interval]", box=None, pad_edge=False)
    table.add_row("before", with_interval(before))
    table.add_row("after", with_interval(after))
    tables.print(table)
    for reference, heard_before, heard_after in _transcripts(result):
        tables.print(f"\n  said    {reference}", highlight=False)
        tables.print(f"  before  {heard_before}", highlight=False)
        tables.print(f"  after   {heard_after}", highlight=False)
    for problem in result.problems:
        tables.print(f"\nproblem: {problem}", highlight=False)
    path = result.run.path
    tables.print(f"\n{result.steps} steps in {result.seconds:.0f} s. Plot: {path}/plots/training.png")
    tables.print("\nNext:", highlight=False)
    for line in (
        f"antiphon eval {path} --data builtin:commands-clean --data builtin:commands-reverb",
        f"antiphon transcribe {path} YOUR.wav",
        "antiphon train recipes/digits-jsonl.yaml data.train=YOURS.jsonl data.eval=HELD_OUT.jsonl",
    ):
        tables.print(f"  {line}", highlight=False, soft_wrap=True)


def _transcripts(result: TrainResult) -> list[tuple[str, str, str]]:
    """Reference and transcripts before and after training, for the examples that changed the most."""
    rows = result.run.eval_rows
    (name,) = result.after
    before = {row["id"]: row for row in rows(name, 0)}
    after = {row["id"]: row for row in rows(name, result.steps)}
    order = sorted(before, key=lambda one: (after[one]["wer_errors"] - before[one]["wer_errors"], one))
    return [(before[one]["ref_text"], before[one]["pred_text"], after[one]["pred_text"]) for one in order[:TRANSCRIPTS]]
