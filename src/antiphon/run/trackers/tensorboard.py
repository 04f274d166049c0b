"""TensorBoard: event files in the run folder, or in a folder of the recipe's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field

from antiphon.errors import MissingExtraError
from antiphon.run.trackers.experiment import ExperimentTracker, TrackerSettings
from antiphon.run.trackers.figures import Sample, flat
from antiphon.runs.folder import RunFolder
from antiphon.runs.status import State


class Tracker(ExperimentTracker):
    """Event files hide what came after the step that a run is resumed from."""

    name = "tensorboard"
    rewinds = True

    class Settings(TrackerSettings):
        dir: str | None = Field(
            default=None, description="Event files go to DIR/RUN; to `tensorboard/` of the run folder by default."
        )

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("track: tensorboard", "tensorboard", "tensorboard") from error
        self._writer_class = SummaryWriter

    def open(self, run: RunFolder, id: str | None, done: int) -> str:
        folder = Path(self.settings.dir) / run.id if self.settings.dir else run.path / "tensorboard"
        # Readers take the second and later starts in a folder for restarts: they drop what came from there on.
        self._writer = self._writer_class(str(folder), purge_step=done + 1, flush_secs=10)
        rows = "\n".join(f"| {key} | {_cell(value)} |" for key, value in flat(run.config).items())
        self._writer.add_text("config", f"| key | value |\n|---|---|\n{rows}", done)
        return run.id

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def table(self, step: int, name: str, samples: Sequence[Sample]) -> None:
        rows = [f"| {one.id} | {_cell(one.reference)} | {_cell(one.answer)} | {_cell(one.reward)} |" for one in samples]
        head = "| id | reference | answer | reward |\n|---|---|---|---|\n"
        self._writer.add_text(f"samples/{name}", head + "\n".join(rows), step)
        for place, one in enumerate(samples):
            if one.audio:
                sound = one.audio
                self._writer.add_audio(f"samples/{name}/{place}", sound.waveform[None], step, sample_rate=sound.rate)

    def notes(self, step: int, lines: Sequence[str]) -> None:
        self._writer.add_text("notes", "\n".join(f"- {_cell(line)}" for line in lines), step)

    def close(self, state: State) -> None:
        self._writer.close()


def _cell(value: object) -> str:
    """A value within a table in Markdown."""
    return "" if value is None else str(value).replace("|", "\\|").replace("\n", " ")
