"""Saves an evaluation by a user's function in the run of the evaluated checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from antiphon.api.recordings import encoded, ending
from antiphon.api.rows import EvalRowResult
from antiphon.errors import AudioError
from antiphon.runs.checkpoints import step_of
from antiphon.runs.evals import eval_name, safe_name
from antiphon.runs.find import find_run
from antiphon.runs.folder import RunFolder
from antiphon.runs.scores import save_scores

_FOLDED = ("_metadata_type", "audio", "reference", "metrics")
"""Keys of an audio row's metadata that get their own columns."""


def save_result(
    deployment: Any,
    summary: Mapping[str, Any],
    rows: Sequence[EvalRowResult],
    examples: Sequence[Mapping[str, Any]],
    output: Path,
) -> Path:
    """Save the summary and rows to the run of the deployed checkpoint, or else to `output`.

    Returns the folder. `summary` has "set" and "function". Raises `RunError` if it cannot be written.
    """
    config = getattr(deployment, "deployment_config", None)
    weights = getattr(config, "weights", "")
    served = getattr(config, "served_model_name", type(deployment).__name__)
    origin = _checkpoint_of(weights, output) if weights else None
    name, step = f"{summary['set']}:{summary['function']}", None
    if origin is None:
        when = f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
        folder = output / "evals" / safe_name(f"{when}-{Path(served).name}-{name}")
    else:
        run, step = origin
        folder = run.path / "evals" / eval_name(name, step)
    clips: dict[str, bytes] = {}
    records = [_record(number, row, examples[number], clips) for number, row in enumerate(rows)]
    about = {"step": step, "model": weights or served, "served_model_name": served}
    save_scores(folder, {**summary, **about}, records, clips)
    return folder


def _checkpoint_of(weights: str, output: Path) -> tuple[RunFolder, int] | None:
    """The run and step of a checkpoint, given by its path, or by the run's name with or without a step."""
    path = Path(weights).absolute()
    step = step_of(path.name)
    if step is not None and path.parent.name == "checkpoints" and RunFolder.is_run(path.parent.parent):
        return RunFolder(path.parent.parent), step
    found = find_run(weights, output)
    if found is None:
        return None
    run, step = found
    return run, run.checkpoints.at(step).step


def _record(number: int, row: EvalRowResult, example: Mapping[str, Any], clips: dict[str, bytes]) -> dict[str, Any]:
    """A table row. Its clip is added to `clips`, or the reason that it cannot be to the metadata."""
    told, prompt, name = row.metadata, row.prompt, None
    further = {key: value for key, value in told.items() if key not in _FOLDED}
    if told.get("audio") is not None:
        try:
            content = encoded(told["audio"])
            name = f"audio/{number:06d}{ending(content)}"
            clips[name] = content
        except AudioError as error:
            further["audio_error"] = str(error)
    return {
        "row": number,
        "id": None if example.get("id") is None else str(example["id"]),
        "score": row.score,
        "error": row.error,
        "prompt": prompt if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False, default=str),
        "response": row.response,
        "reference": told.get("reference"),
        "audio": name,
        "metrics": told.get("metrics"),
        "metadata": further,
    }
