"""`antiphon train`: starts a run from a recipe, flags and overrides."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from antiphon.cli import options
from antiphon.cli.output import print_json, tables
from antiphon.cli.progress import Terminal, measure_name, with_interval
from antiphon.distributed import environment
from antiphon.errors import ConfigError
from antiphon.types import Device, DType

if TYPE_CHECKING:
    from antiphon.run.calibration import Calibration
    from antiphon.run.train import TrainResult

EPILOG = """\
Examples:

antiphon train --data train.jsonl data.eval=dev.jsonl

antiphon train recipes/digits-jsonl.yaml data.train=train.jsonl data.eval=dev.jsonl train.steps=200

antiphon train --data texts.jsonl --columns text=pred_text data.eval=dev.jsonl

antiphon train --model Qwen/Qwen3-ASR-1.7B-hf --data train.jsonl optimizer.lr=1e-6 device=cuda

antiphon train --model builtin:whisper --data train.jsonl --task asr --algorithm raft --cycles 4

antiphon train --data untranscribed.jsonl --algorithm opd teacher=builtin:teacher

antiphon train --data untranscribed.jsonl --algorithm opd teacher=builtin:teacher --calibrate

antiphon train --resume latest train.steps=400
"""


def command(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="RECIPE.yaml|KEY=VALUE", help="A recipe, then dotted.key=value. Keys: docs/recipes.md."),
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Path, hub id, RUN, RUN@STEP or builtin:NAME.")] = None,
    data: Annotated[str | None, typer.Option("--data", help="Training set: FILE.jsonl or builtin:SET.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="Task: asr, classify or text.")] = None,
    algorithm: Annotated[
        str | None, typer.Option("--algorithm", help="Algorithm: grpo, mwer, raft, opd, sft, ... (see docs).")
    ] = None,
    columns: options.Columns = None,
    format: options.Format = None,
    cycles: Annotated[int | None, typer.Option("--cycles", min=1, help="For raft: rollouts of the whole set.")] = None,
    output: Annotated[str | None, typer.Option("--output", help="Folder for run folders; default: runs.")] = None,
    track: Annotated[
        list[str] | None,
        typer.Option("--track", metavar="NAME", help="Log to tensorboard, wandb, trackio, mlflow or file.py:name."),
    ] = None,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="RUN", help="Run to continue: RUN, RUN@STEP, latest or auto.")
    ] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Dry run: roll out and score, without updates.")
    ] = False,
    calibrate_steps: Annotated[int, typer.Option("--calibrate-steps", min=1, help="Rollouts to calibrate on.")] = 1,
    device: Annotated[Device | None, typer.Option("--device", help="auto, cpu or cuda.")] = None,
    dtype: Annotated[DType | None, typer.Option("--dtype", help="auto, float32 or bfloat16.")] = None,
    as_json: options.Json = False,
) -> None:
    """Train a model on its own completions, and evaluate it before and after."""
    from antiphon.config import load_config
    from antiphon.run.calibration import calibrate as run_calibration
    from antiphon.run.resume import resumed_config
    from antiphon.run.train import train
    from antiphon.train.objectives import recipe_defaults

    recipe, overrides = _split(arguments or [])
    flags = {"model": model, "data": data, "task": task, "algorithm": algorithm, "output": output, "cycles": cycles}
    flags |= {"device": device, "dtype": dtype, "track": track or None, "data.format": format}
    flags |= {"data.columns": options.parse_columns(columns) if columns else None}
    if resume is not None and resume != "auto":
        if recipe:
            raise ConfigError(
                "--resume continues a run with its own recipe; leave the recipe out "
                "(KEY=VALUE may change it: train.steps=400)"
            )
        config = resumed_config(resume, flags, overrides)
    else:
        config = load_config(recipe, overrides, flags, recipe_defaults)
    if cycles is not None and config.algorithm_name != "raft":
        raise ConfigError(f"--cycles is for --algorithm raft; for {config.algorithm_name} set train.steps")
    if calibrate:
        if resume is not None:
            raise ConfigError("--calibrate does not start a run, so --resume has nothing to continue; leave one out")
        with Terminal() as terminal:
            calibration = run_calibration(config, calibrate_steps, [terminal])
        print_json(asdict(calibration)) if as_json else show_calibration(calibration)
        return
    with Terminal() as terminal:
        result = train(config, resume, [terminal])
    if environment.rank() == 0:
        print_json(result.to_dict()) if as_json else show(result)
    if result.stopped and result.stopped.by == "guard":
        raise typer.Exit(1)


def _split(arguments: list[str]) -> tuple[Path | None, list[str]]:
    """The recipe, if the first argument is one, and the overrides."""
    recipe = None
    if arguments and "=" not in arguments[0]:
        recipe, arguments = Path(arguments[0]), arguments[1:]
    stray = [argument for argument in arguments if "=" not in argument]
    if stray:
        raise ConfigError(f"{stray[0]!r} is neither the recipe (which comes first) nor KEY=VALUE")
    return recipe, arguments


def show(result: TrainResult) -> None:
    """Print the summary of a run."""
    from antiphon.tasks.summary import main_column

    if result.after:
        title = measure_name(next(iter(result.after.values())))
        table = Table("set", f"{title} before", f"{title} after", "change", box=None, pad_edge=False)
        for name, after in result.after.items():
            before = result.before.get(name)
            change, measure = "–", main_column(after).key
            if before and before[measure] and after[measure] is not None:
                change = f"{100 * (after[measure] / before[measure] - 1):+.0f}%"
            table.add_row(name, with_interval(before) if before else "–", with_interval(after), change)
        tables.print(table)
    if result.stopped:
        tables.print(f"stopped     {result.stopped.reason}", highlight=False)
    for problem in result.problems:
        tables.print(f"problem     {problem}", highlight=False)
    tables.print(f"{result.steps} steps in {result.seconds:.0f} s", highlight=False)
    tables.print(f"run         {result.run.path}", highlight=False, soft_wrap=True)
    tables.print(f"checkpoint  {result.checkpoint}", highlight=False, soft_wrap=True)


def show_calibration(calibration: Calibration) -> None:
    """Print the metrics of a calibration and the seconds of each phase."""
    table = Table("metric", "value", box=None, pad_edge=False)
    for name, value in calibration.metrics.items():
        table.add_row(name, f"{value:.4g}")
    for name, value in calibration.seconds.items():
        table.add_row(f"{name} (seconds)", f"{value:.2f}")
    tables.print(table)
    often = "1 step" if calibration.steps == 1 else f"{calibration.steps} steps"
    tables.print(f"calibrated over {often}; no weights were updated and no run was created", highlight=False)
