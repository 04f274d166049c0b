"""Run folders: writing, crash safety, and finding them again."""

from antiphon.runs.checkpoints import Checkpoint
from antiphon.runs.find import find_run, list_runs, resolve
from antiphon.runs.folder import RunFolder
from antiphon.runs.rollouts import RolloutRow
from antiphon.runs.status import Status

__all__ = ["Checkpoint", "RolloutRow", "RunFolder", "Status", "find_run", "list_runs", "resolve"]
