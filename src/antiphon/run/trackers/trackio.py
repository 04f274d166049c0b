"""trackio: curves in a local store, or in a Space of the Hugging Face Hub."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from pydantic import Field

from antiphon.errors import MissingExtraError
from antiphon.run.trackers.experiment import ExperimentTracker, TrackerSettings
from antiphon.run.trackers.figures import Sample, Sound, flat
from antiphon.runs.folder import RunFolder
from antiphon.runs.status import State


class Tracker(ExperimentTracker):
    """trackio knows a run by its name, which is the run's id."""

    name = "trackio"

    class Settings(TrackerSettings):
        project: str = Field(default="antiphon", min_length=1, description="The project that runs belong to.")
        space_id: str | None = Field(default=None, description="A Space to keep it in: USER/SPACE; else this machine.")
        group: str | None = Field(default=None, description="A group of runs in the project.")

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        try:
            import trackio
            import trackio.run
            import trackio.utils
        except ImportError as error:
            raise MissingExtraError("track: trackio", "trackio", "trackio") from error
        self._trackio: Any = trackio
        for module in (trackio, trackio.run, trackio.utils):  # What it prints is no result of a command's.
            vars(module)["print"] = partial(print, file=sys.stderr)

    def open(self, run: RunFolder, id: str | None, done: int) -> str:
        self._of_trackio = self._trackio.init(
            project=self.settings.project,
            name=run.id,
            group=self.settings.group,
            space_id=self.settings.space_id,
            config=flat(run.config),
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        return self._of_trackio.id

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._of_trackio.log(dict(values), step=step)

    def table(self, step: int, name: str, samples: Sequence[Sample]) -> None:
        rows = [
            {"id": one.id, "reference": one.reference, "answer": one.answer, "reward": one.reward} for one in samples
        ]
        audio = {
            f"samples/{name}/{place}": self._audio(one, one.audio) for place, one in enumerate(samples) if one.audio
        }
        self._of_trackio.log({f"samples/{name}": self._trackio.Table(data=rows), **audio}, step=step)

    def _audio(self, sample: Sample, sound: Sound) -> Any:
        as_pcm = (np.clip(sound.waveform, -1, 1) * 32767).astype(np.int16)
        return self._trackio.Audio(as_pcm, caption=f"{sample.id}: {sample.answer}", sample_rate=sound.rate)

    def notes(self, step: int, lines: Sequence[str]) -> None:
        self._of_trackio.log({"notes": self._trackio.Markdown("\n".join(f"- {line}" for line in lines))}, step=step)

    def close(self, state: State) -> None:
        self._of_trackio.finish()
