"""`antiphon runs` and `antiphon checkpoints`: what has been trained, and what is kept of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from antiphon.cli.output import print_json, tables
from antiphon.errors import ConfigError

if TYPE_CHECKING:
    from antiphon.runs import RunFolder

Output = Annotated[Path, typer.Option("--output", metavar="DIR", help="Folder that holds the run folders.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]


def list_command(output: Output = Path("runs"), as_json: Json = False) -> None:
    """List the runs, the latest first.

    WER is the mean over a step's evaluation sets. A run whose process is gone without a word is "killed".
    """
    from antiphon.runs import list_runs

    rows = [_describe(run) for run in list_runs(output)]
    if as_json:
        print_json({"output": str(output), "runs": rows})
    elif rows:
        tables.print(_runs_table(rows))
    else:
        tables.print(f"There are no runs in {escape(str(output))}. Start one with: antiphon train")


def checkpoints_command(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id or path, or latest.", show_default=False)],
    output: Output = Path("runs"),
    as_json: Json = False,
) -> None:
    """List the checkpoints of a run, with the evaluations made at their steps."""
    from antiphon.runs import resolve

    folder, _ = resolve(run, output)
    summaries, best = folder.evals(), folder.best_step()
    looks = {line["step"]: line for line in folder.guard()}
    rows = [
        {
            "step": checkpoint.step,
            "path": str(checkpoint.path),
            "bytes": checkpoint.size,
            "time": datetime.fromtimestamp(checkpoint.time, UTC).isoformat(timespec="seconds"),
            "eval": {s["set"]: s for s in summaries if s["step"] == checkpoint.step},
            "best": checkpoint.step == best,
            "guard": looks.get(checkpoint.step),
        }
        for checkpoint in folder.checkpoints.list()
    ]
    if as_json:
        print_json({"run": folder.id, "checkpoints": rows})
    elif rows:
        tables.print(_checkpoints_table(rows))
    else:
        tables.print(f"The run {escape(folder.id)} has no checkpoint yet.")


def _describe(run: RunFolder) -> dict[str, Any]:
    status = run.status
    error = status.error
    model = algorithm = "unreadable"
    try:
        model, algorithm = run.config.model, run.config.algorithm_name
    except ConfigError as problem:
        error = str(problem)
    wers = _mean_wers(run.evals())
    looks = run.guard()
    return {
        "run": run.id,
        "state": status.seen_state,
        "step": status.step,
        "steps": status.steps,
        "model": model,
        "algorithm": algorithm,
        "best_wer": min(wers.values(), default=None),
        "last_wer": wers[max(wers)] if wers else None,
        "started": status.started,
        "error": error,
        "reason": status.reason,
        "guard": looks[-1]["worse"] if looks else None,
    }


def _mean_wers(summaries: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """WER by step, averaged over the sets that have one."""
    by_step: dict[int, list[float]] = {}
    for summary in summaries:
        if summary.get("wer") is not None:
            by_step.setdefault(summary["step"], []).append(summary["wer"])
    return {step: sum(wers) / len(wers) for step, wers in by_step.items()}


def _runs_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    table.add_column("run", no_wrap=True, overflow="fold", min_width=max(len(row["run"]) for row in rows))
    table.add_column("state", no_wrap=True)
    table.add_column("steps", justify="right", no_wrap=True)
    table.add_column("model")
    table.add_column("algorithm")
    table.add_column("best WER", justify="right", min_width=6)
    table.add_column("last WER", justify="right", min_width=6)
    table.add_column("age", justify="right", no_wrap=True, min_width=5)
    for row in rows:
        cells = (row["run"], row["state"], f"{row['step']}/{row['steps']}", row["model"], row["algorithm"])
        rates = (_percent(row["best_wer"]), _percent(row["last_wer"]))
        table.add_row(*map(escape, cells), *rates, _age(row["started"]))
    return table


def _checkpoints_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("step", justify="right")
    table.add_column("size", justify="right")
    table.add_column("time (UTC)")
    table.add_column("WER")
    table.add_column("guard")
    for row in rows:
        wers = ", ".join(f"{name} {_percent(summary.get('wer'))}" for name, summary in row["eval"].items())
        size, guard = f"{row['bytes'] / 1e6:.1f} MB", row["guard"] and f"{row['guard']['worse']} worse"
        marks = ", ".join(filter(None, ["best" if row["best"] else "", guard]))
        table.add_row(str(row["step"]), size, row["time"][:19], escape(wers) or "–", marks)
    return table


def _percent(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.1f}%"


def _age(started: str) -> str:
    seconds = (datetime.now(UTC) - datetime.fromisoformat(started)).total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"
