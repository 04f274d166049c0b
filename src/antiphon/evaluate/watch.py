"""What the evaluations of a run say about its going on: the regression guard, and early stopping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from antiphon.config import Config
from antiphon.evaluate.guard import Look, look
from antiphon.runs.best import evaluations_since_best, require_measure
from antiphon.runs.folder import RunFolder
from antiphon.tasks.columns import REWARD
from antiphon.tasks.summary import main_column


@dataclass(frozen=True)
class Stop:
    """Why a run ends before its last step."""

    by: Literal["guard", "patience"]
    reason: str


def planned_looks(config: Config) -> int:
    """How many evaluations the guard compares with the one before training, if the run goes to its end."""
    during = (config.train.steps - 1) // config.eval.every if config.eval.every else 0
    return during + config.eval.after


def watch(run: RunFolder, step: int, note: Callable[[str], None]) -> Stop | None:
    """To be asked after each evaluation. What the guard sees is written to the run folder, and told to `note`.

    Raises `ConfigError` when `eval.best` names what is not measured.
    """
    require_measure(run.evals(), run.config.eval.best)
    return _ask_guard(run, step, note) or _ask_patience(run, step)


def _ask_guard(run: RunFolder, step: int, note: Callable[[str], None]) -> Stop | None:
    action = run.config.guard.action
    if action == "off" or step == 0:
        return None
    seen = _look(run, step)
    if seen is None:
        return None
    run.log_guard(step, seen.to_dict())
    if not seen.worse:
        return None
    message = _say(seen, step)
    note(message)
    return Stop("guard", message) if action == "stop" else None


def _look(run: RunFolder, step: int) -> Look | None:
    """None when no set was evaluated both before training and now."""
    names = {at: {one["set"] for one in run.evals() if one["step"] == at} for at in (0, step)}
    common = sorted(names[0] & names[step])
    if not common:
        return None
    settings = run.config.guard
    by_reward = main_column(*run.evals()).key == REWARD.key
    before, after = ({name: run.eval_rows(name, at) for name in common} for at in (0, step))
    return look(before, after, settings.alpha, max(planned_looks(run.config), 1), settings.min_utterances, by_reward)


def _say(seen: Look, step: int) -> str:
    return (
        f"guard: {len(seen.worse)} of {len(seen.comparisons)} groups significantly worse after {step} steps than "
        f"before training: {'; '.join(map(str, seen.worse))}. Train on more of their speech, or with a lower "
        "optimizer.lr"
    )


def _ask_patience(run: RunFolder, step: int) -> Stop | None:
    settings = run.config.eval
    if settings.patience is None or step == run.config.train.steps:
        return None
    waited = evaluations_since_best(run.evals(), settings.best)
    if waited < settings.patience:
        return None
    what = settings.best or f"the mean {main_column(*run.evals()).title}"
    return Stop("patience", f"{what} has not improved in {waited} evaluations (eval.patience)")
