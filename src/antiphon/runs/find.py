"""Finds a run folder by what a user types: `RUN`, `RUN@STEP`, `RUN@best`, `latest` or a path."""

from __future__ import annotations

from pathlib import Path

from antiphon.errors import RunError, did_you_mean
from antiphon.runs.checkpoints import step_of
from antiphon.runs.folder import RunFolder

LATEST = "latest"
BEST = "best"


def list_runs(output: Path) -> list[RunFolder]:
    """The runs in `output`, newest first; empty if the folder does not exist."""
    if not output.is_dir():
        return []
    runs = [RunFolder(path) for path in output.iterdir() if RunFolder.is_run(path)]
    return sorted(runs, key=lambda run: (run.status.started, run.id), reverse=True)


def find_run(spec: str, output: Path) -> tuple[RunFolder, int | None] | None:
    """The run that `spec` names and the step after its `@`, or None if there is no such run.

    `spec` is a run's id in `output`, a path to its folder, or `latest`, each with or without `@STEP` or `@best`, the
    best step by the run's `eval.best`. Raises `RunError` for `@best` of a run without an evaluation after training.
    """
    name, at, step = spec.rpartition("@")
    if not (at and (step.isdecimal() or step == BEST)):
        name, step = spec, ""
    run = _find(name, output)
    if run is None:
        return None
    return run, _best_step(run) if step == BEST else int(step) if step else None


def run_of(spec: str, output: Path) -> RunFolder | None:
    """The run that `spec` names, as for `find_run`, or the run of the checkpoint at the path `spec`."""
    found = find_run(spec, output)
    if found is not None:
        return found[0]
    folder = Path(spec)
    of_checkpoint = folder.parents[1] if step_of(folder.name) is not None and len(folder.parents) > 1 else None
    return RunFolder(of_checkpoint) if of_checkpoint is not None and RunFolder.is_run(of_checkpoint) else None


def _best_step(run: RunFolder) -> int:
    step = run.best_step()
    if step is None:
        raise RunError(
            f"the run {run.path} has no best step, as it was never evaluated after training began; "
            "set data.eval and eval.every, or name a step"
        )
    return step


def resolve(spec: str, output: Path) -> tuple[RunFolder, int | None]:
    """Like `find_run`, but raises `RunError` with the nearest id if there is no such run."""
    found = find_run(spec, output)
    if found is not None:
        return found
    ids = [run.id for run in list_runs(output)]
    if not ids:
        raise RunError(f"no run {spec!r}: there are no runs in {output}; give another folder with --output")
    remedy = did_you_mean(spec.rpartition("@")[0] or spec, ids, f"the latest is {ids[0]!r}", cutoff=0.4)
    raise RunError(f"no run {spec!r} in {output}; {remedy}")


def _find(name: str, output: Path) -> RunFolder | None:
    if name == LATEST:
        return next(iter(list_runs(output)), None)
    places = (output / name, Path(name)) if name else ()
    return next((RunFolder(path) for path in places if RunFolder.is_run(path)), None)
