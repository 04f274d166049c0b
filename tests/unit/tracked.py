"""What the trackers' tests share: one short run as its observers see it, and readers of what each library keeps."""

from __future__ import annotations

import json
import struct
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from antiphon.config import load_config
from antiphon.rollout.gate import Check
from antiphon.run.loop import Step
from antiphon.run.observers import Observer
from antiphon.runs.folder import RunFolder
from antiphon.types import Completion, Example, Group, Prompt, Reward, Text

TONE = np.sin(np.arange(1600) / 5).astype(np.float32) * 0.25
SUMMARY = {"wer": 0.25, "cer": 0.125, "ci": [0.125, 0.5], "n": 2, "groups": {"a": {"wer": 0.5, "ci": None, "n": 1}}}


class Report:
    """A report of the parity gate."""

    checks = (Check("engine_difference", 1e-6, 1e-4, ""),)


def make_run(folder: Path, tracker: dict[str, Any]) -> RunFolder:
    """A run folder with one clip that an evaluation heard."""
    overrides = {"output": str(folder), "name": "tracked", "track": [tracker], "teacher.url": "http://me:hush@host/v1"}
    run = RunFolder.create(load_config(None, overrides), ["antiphon", "train"])
    soundfile.write(run.path / "audio" / "evals" / "clip.flac", TONE, 16000)
    return run


def make_step(number: int, reward: float = 0.5) -> Step:
    """Two prompts with two completions each."""
    groups = [
        Group(
            Example(f"row{place}", "asr", None, "hello world"),
            Prompt(f"row{place}", TONE / (1 + place), 16000),
            [Completion((1, 2), (-0.5, -0.5), "hello", "stop")] * 2,
            [Text("hello"), Text("world")],
            ["hello", "world"],
            [Reward(reward), None],
        )
        for place in range(2)
    ]
    metrics = {"reward_mean": reward, "reward/wer": reward, "loss": 0.25}
    return Step(number, groups, torch.zeros(4, 2), metrics, {"rollout": 2.0, "train": 1.0})


def follow(observer: Observer, run: RunFolder, steps: Sequence[int], done: int = 0, state: Any = "finished") -> None:
    """A run of those steps, each with its evaluation, as observers are told of it."""
    row = {"id": "row0", "ref_text": "hello world", "pred_text": "hallo", "audio": "audio/evals/clip.flac"}
    elsewhere = {**row, "id": "row1", "audio": "/data/clip.wav"}
    observer.started(run, done)
    observer.gated(done, Report())  # type: ignore[arg-type]
    for number in steps:
        observer.stepped(make_step(number))
        observer.evaluated(number, "dev", SUMMARY, [row, elsewhere])
    observer.noted("something happened")
    observer.finished(state, steps[-1] if steps else done)


@dataclass
class Kept:
    """What a library kept of a run."""

    scalars: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))
    config: dict[str, str] = field(default_factory=dict)
    tables: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """The text of each table, by its name."""
    clips: int = 0
    notes: str = ""


def read_tensorboard(run: RunFolder) -> Kept:
    from tensorboard.backend.event_processing import plugin_event_accumulator
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = str(run.path / "tensorboard")
    events = EventAccumulator(folder, size_guidance={"audio": 0})
    events.Reload()
    shown = plugin_event_accumulator.EventAccumulator(folder, tensor_size_guidance={"text": 0})
    shown.Reload()
    texts = {
        tag: [event.tensor_proto.string_val[0].decode() for event in shown.Tensors(tag)]
        for tag in shown.PluginTagToContent("text")
    }
    kept = Kept(notes=texts["notes/text_summary"][-1])
    for tag in events.Tags()["scalars"]:
        kept.scalars[tag] = [(event.step, event.value) for event in events.Scalars(tag)]
    for name, found in texts.items():
        if name.startswith("samples/"):
            kept.tables[name.split("/")[1]] = found
    cells = (line.split("|") for line in texts["config/text_summary"][-1].splitlines()[2:])
    kept.config = {key.strip(): value.strip() for _, key, value, _ in cells}
    kept.clips = sum(len(events.Audio(tag)) for tag in events.Tags()["audio"])
    return kept


def read_wandb(run: RunFolder) -> Kept:
    """Of all offline runs in the run folder, in the order in which they were made."""
    kept = Kept()
    for place in sorted((run.path / "wandb").glob("offline-run-*/*.wandb")):
        for record in wandb_records(place):
            for item in record.run.config.update:
                kept.config[item.key] = str(json.loads(item.value_json))
            for item in record.summary.update:
                if item.key == "notes":
                    kept.notes = json.loads(item.value_json)
            kept.clips += sum(entry.path.endswith(".wav") for entry in record.artifact.manifest.contents)
            values = {tuple(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            for name, value in values.items():
                if name[1:] == ("path",):
                    kept.tables[name[0].removeprefix("samples/")].append((place.parent / "files" / value).read_text())
                elif len(name) == 1:
                    kept.scalars[name[0]].append((values["step",], value))
    return kept


def wandb_records(path: Path) -> Iterator[Any]:
    """The records of a `.wandb` file: LevelDB's log format behind a header of seven bytes."""
    from wandb.proto import wandb_internal_pb2

    data, at, record = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # Whole, or the last part.
            yield wandb_internal_pb2.Record.FromString(record)
            record = b""


def read_trackio(run: RunFolder) -> Kept:
    from trackio import Api
    from trackio.sqlite_storage import SQLiteStorage

    found = [one for one in Api().runs("antiphon") if one.name == run.id]
    assert len(found) == 1, "a resumed run is one run"
    kept = Kept(config={key: str(value) for key, value in (found[0].config or {}).items()})
    for row in SQLiteStorage.get_logs("antiphon", run.id):
        for name, value in row.items():
            if isinstance(value, int | float) and name not in ("step", "timestamp"):
                kept.scalars[name].append((row["step"], value))
            elif isinstance(value, dict) and value["_type"] == "trackio.table":
                kept.tables[name.removeprefix("samples/")].append(json.dumps(value["_value"]))
            elif isinstance(value, dict) and value["_type"] == "trackio.audio":
                kept.clips += 1
            elif name == "notes":
                kept.notes = value["_value"]
    return kept


def read_mlflow(run: RunFolder) -> Kept:
    import mlflow

    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("antiphon")
    assert experiment
    found = [one for one in client.search_runs([experiment.experiment_id]) if one.info.run_name == run.id]
    assert len(found) == 1, "a resumed run is one run"
    of_mlflow = found[0]
    kept = Kept(config=dict(of_mlflow.data.params))
    for name in of_mlflow.data.metrics:
        points = client.get_metric_history(of_mlflow.info.run_id, name)
        kept.scalars[name] = [(point.step, point.value) for point in points]
    artifacts = Path(of_mlflow.info.artifact_uri.removeprefix("file://"))
    for table in sorted(artifacts.glob("samples/*/*/table.json")):
        kept.tables[table.parts[-3]].append(table.read_text())
    kept.clips = len(list(artifacts.rglob("*.wav")))
    kept.notes = (artifacts / "notes.txt").read_text()
    return kept
