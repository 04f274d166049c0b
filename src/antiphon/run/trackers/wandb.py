"""Weights & Biases, online or offline."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from antiphon.errors import ConfigError, MissingExtraError
from antiphon.run.trackers.experiment import ExperimentTracker, TrackerSettings
from antiphon.run.trackers.figures import Sample, flat
from antiphon.runs.folder import RunFolder
from antiphon.runs.status import State


class Tracker(ExperimentTracker):
    """Curves are over `step`, W&B's own counter being that of its log calls. The API key is W&B's to find."""

    name = "wandb"

    class Settings(TrackerSettings):
        project: str = Field(default="antiphon", min_length=1, description="The project that runs belong to.")
        entity: str | None = Field(default=None, description="User or team; your default one by default.")
        group: str | None = Field(default=None, description="A group of runs in the project.")
        tags: list[str] = Field(default=[], description="Tags of the run.")
        mode: Literal["online", "offline"] | None = Field(
            default=None, description="What WANDB_MODE says by default, else online."
        )

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        try:
            import wandb
        except ImportError as error:
            raise MissingExtraError("track: wandb", "wandb", "wandb") from error
        self._wandb: Any = wandb

    def open(self, run: RunFolder, id: str | None, done: int) -> str:
        wandb, settings = self._wandb, self.settings
        mode = settings.mode or os.environ.get("WANDB_MODE", "online")
        if mode == "online" and not wandb.login(prompt=False):
            raise ConfigError("there is no API key; run: wandb login, or set WANDB_API_KEY or WANDB_MODE=offline")
        self._of_wandb = wandb.init(
            project=settings.project,
            entity=settings.entity,
            group=settings.group,
            tags=settings.tags,
            mode=mode,
            id=id or uuid.uuid4().hex[:12],
            name=run.id,
            resume="allow",
            reinit="create_new",
            dir=str(run.path),
            config=flat(run.config),
            allow_val_change=True,
            # Git remotes and code may hold secrets; what is printed is in the run folder already.
            settings=wandb.Settings(console="off", silent=True, disable_git=True, save_code=False),
        )
        self._of_wandb.define_metric("step", hidden=True)
        self._of_wandb.define_metric("*", step_metric="step")
        return self._of_wandb.id

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._of_wandb.log({"step": step, **values})

    def table(self, step: int, name: str, samples: Sequence[Sample]) -> None:
        columns = ["step", "id", "reference", "answer", "reward", "audio"]
        rows = [[step, one.id, one.reference, one.answer, one.reward, self._audio(one)] for one in samples]
        self._of_wandb.log({"step": step, f"samples/{name}": self._wandb.Table(columns, rows)})

    def _audio(self, sample: Sample) -> Any:
        sound = sample.audio
        return sound and self._wandb.Audio(sound.waveform, sample_rate=sound.rate, caption=sample.id)

    def notes(self, step: int, lines: Sequence[str]) -> None:
        self._of_wandb.summary["notes"] = "\n".join(lines)

    def close(self, state: State) -> None:
        self._of_wandb.summary["state"] = state
        self._of_wandb.finish(exit_code=0 if state in ("finished", "stopped") else 1)
