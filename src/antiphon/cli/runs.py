"""`antiphon runs` and `antiphon checkpoints`: lists of runs and their checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from antiphon.cli.output import print_json, tables
from antiphon.errors import ConfigError
from antiphon.evaluate.percent import percent

if TYPE_CHECKING:
    from antiphon.runs import RunFolder

Output = Annotated[Path, typer.Option("--output", metavar="DIR", help="Parent folder of the run folders.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]


def list_command(output: Output = Path("runs"), as_json: Json = False) -> None:
    """List the runs, newest first.

    Rates are means over the evaluation sets. A run is "killed" if its process ended without updating its status.
    """
    from antiphon.runs import list_runs

    rows = [_describe(run) for run in list_runs(output)]
    if as_json:
        print_json({"output": str(output), "runs": rows})
    elif rows:
        tables.print(_runs_table(rows))
    else:
        tables.print(f"There are no runs in {output!s}. Start one with: antiphon train")


def checkpoints_command(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id or path, or latest.", show_default=False)],
    output: Output = Path("runs"),
    as_json: Json = False,
) -> None:
    """List the checkpoints of a run, with the evaluations of their steps."""
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
        tables.print(f"The run {folder.id} has no checkpoint yet.")


def _describe(run: RunFolder) -> dict[str, Any]:
    from antiphon.runs import best
    from antiphon.tasks.summary import main_column

    status = run.status
    error = status.error
    model = algorithm = "unreadable"
    try:
        model, algorithm = run.config.model, run.config.algorithm_name
    except ConfigError as problem:
        error = str(problem)
    summaries, looks = run.evals(), run.guard()
    column = main_column(*summaries)
    rates = best.mean_by_step(summaries, column.key)
    of_best = min if column.lower_is_better else max
    return {
        "run": run.id,
        "state": status.seen_state,
        "step": status.step,
        "steps": status.steps,
        "model": model,
        "algorithm": algorithm,
        "measure": column.key if rates else None,
        "best": of_best(rates.values(), default=None),
        "last": rates[max(rates)] if rates else None,
        "started": status.started,
        "error": error,
        "reason": status.reason,
        "guard": looks[-1]["worse"] if looks else None,
        "problems": [one["message"] for one in run.problems()],
    }


def _runs_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    from antiphon.tasks.summary import column_named

    table = Table(box=None, pad_edge=False, collapse_padding=True)
    table.add_column("run", no_wrap=True, overflow="fold", min_width=max(len(row["run"]) for row in rows))
    table.add_column("state", no_wrap=True)
    table.add_column("steps", justify="right", no_wrap=True)
    table.add_column("model")
    table.add_column("algorithm")
    table.add_column("measure", no_wrap=True)
    table.add_column("best", justify="right", min_width=6)
    table.add_column("last", justify="right", min_width=6)
    table.add_column("age", justify="right", no_wrap=True, min_width=5)
    for row in rows:
        count = len(row["problems"])
        state = f"{row['state']}, {count} problem{'s' * (count > 1)}" if count else row["state"]
        cells = (row["run"], state, f"{row['step']}/{row['steps']}", row["model"], row["algorithm"])
        show = column_named(row["measure"]).show if row["measure"] else percent
        figures = (row["measure"] or "–", show(row["best"]), show(row["last"]))
        table.add_row(*cells, *figures, _age(row["started"]))
    return table


def _checkpoints_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("step", justify="right")
    table.add_column("size", justify="right")
    table.add_column("time (UTC)")
    table.add_column("evaluations")
    table.add_column("guard")
    for row in rows:
        figures = ", ".join(_figure(name, summary) for name, summary in row["eval"].items())
        size, guard = f"{row['bytes'] / 1e6:.1f} MB", row["guard"] and f"{row['guard']['worse']} worse"
        marks = ", ".join(filter(None, ["best" if row["best"] else "", guard]))
        table.add_row(str(row["step"]), size, row["time"][:19], figures or "–", marks)
    return table


def _figure(set_name: str, summary: Mapping[str, Any]) -> str:
    from antiphon.tasks.summary import main_column

    column = main_column(summary)
    return f"{set_name}: {column.key} {column.show(summary.get(column.key))}"


def _age(started: str) -> str:
    seconds = (datetime.now(UTC) - datetime.fromisoformat(started)).total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"
