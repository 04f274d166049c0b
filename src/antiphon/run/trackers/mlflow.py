"""MLflow: a tracking server, a database, or a folder of files."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import soundfile
from pydantic import Field, field_validator

from antiphon.errors import MissingExtraError
from antiphon.run.trackers.experiment import ExperimentTracker, TrackerSettings
from antiphon.run.trackers.figures import Sample, flat
from antiphon.runs.checkpoints import step_name
from antiphon.runs.folder import RunFolder
from antiphon.runs.status import State

_STATUS = {"finished": "FINISHED", "stopped": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
_LONGEST = 500
"""Characters of a parameter that every store takes."""
_BATCH = 100
"""Parameters that a store takes in one call."""


class Tracker(ExperimentTracker):
    """Uses MLflow's client, so a run that a script of yours has active is not touched."""

    name = "mlflow"

    class Settings(TrackerSettings):
        uri: str | None = Field(
            default=None, description="Tracking URI: what MLFLOW_TRACKING_URI says by default, else file:mlruns."
        )
        experiment: str = Field(default="antiphon", min_length=1, description="The experiment that runs belong to.")

        @field_validator("uri")
        @classmethod
        def _no_password(cls, uri: str | None) -> str | None:
            if uri and re.search(r"://[^/]*@", uri):
                raise ValueError("must hold no password; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD")
            return uri

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        try:
            import mlflow
        except ImportError as error:
            raise MissingExtraError("track: mlflow", "mlflow-skinny", "mlflow") from error
        self._mlflow: Any = mlflow

    def open(self, run: RunFolder, id: str | None, done: int) -> str:
        uri = self.settings.uri or os.environ.get("MLFLOW_TRACKING_URI") or "file:mlruns"
        if uri.startswith("file:") or "://" not in uri:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3 asks before it uses one.
        self._client = self._mlflow.MlflowClient(uri)
        self._id = self._new_run(run) if id is None else id
        if id is not None:
            self._client.update_run(id, "RUNNING")
        self._log_config(flat(run.config))
        return self._id

    def _new_run(self, run: RunFolder) -> str:
        name = self.settings.experiment
        experiment = self._client.get_experiment_by_name(name)
        place = experiment.experiment_id if experiment else self._client.create_experiment(name)
        return self._client.create_run(place, run_name=run.id, tags={"antiphon.run": run.id}).info.run_id

    def _log_config(self, config: Mapping[str, object]) -> None:
        """Parameters cannot be changed, so what a resumed run changes of its recipe is a tag."""
        entities = self._mlflow.entities
        texts = {_word(key): str(value)[:_LONGEST] for key, value in config.items()}
        known = self._client.get_run(self._id).data.params
        new = [entities.Param(key, text) for key, text in texts.items() if key not in known]
        changed = {key: text for key, text in texts.items() if known.get(key, text) != text}
        for start in range(0, len(new), _BATCH):
            self._client.log_batch(self._id, params=new[start : start + _BATCH])
        for key, text in changed.items():
            self._client.set_tag(self._id, f"resumed.{key}", text)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        now, metric = int(time.time() * 1000), self._mlflow.entities.Metric
        points = [metric(_word(name), value, now, step) for name, value in values.items()]
        self._client.log_batch(self._id, metrics=points)

    def table(self, step: int, name: str, samples: Sequence[Sample]) -> None:
        folder = f"samples/{_word(name)}/{step_name(step)}"
        files = [f"{place}.wav" if one.audio else None for place, one in enumerate(samples)]
        columns = {key: [getattr(one, key) for one in samples] for key in ("id", "reference", "answer", "reward")}
        self._client.log_table(self._id, {**columns, "audio": files}, f"{folder}/table.json")
        with tempfile.TemporaryDirectory() as place:
            for one, file in zip(samples, files, strict=True):
                if one.audio and file:
                    soundfile.write(Path(place) / file, one.audio.waveform, one.audio.rate)
            self._client.log_artifacts(self._id, place, folder)

    def notes(self, step: int, lines: Sequence[str]) -> None:
        self._client.log_text(self._id, "".join(f"{line}\n" for line in lines), "notes.txt")

    def close(self, state: State) -> None:
        self._client.set_terminated(self._id, _STATUS[state])


def _word(name: str) -> str:
    """A name in the characters that MLflow takes."""
    return re.sub(r"[^\w./ -]", "_", name)
