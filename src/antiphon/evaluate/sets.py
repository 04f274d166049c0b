"""A model measured on several sets: what `antiphon eval` and `antiphon compare` do between loading and printing."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from antiphon.config import Config
from antiphon.data.indexed import asking
from antiphon.data.source import checked_set
from antiphon.errors import ConfigError
from antiphon.evaluate.groups import group_names, grouped
from antiphon.evaluate.kept import KeptTranscripts, clip_names
from antiphon.evaluate.normalizers import Normalizer
from antiphon.evaluate.outputs import heard
from antiphon.evaluate.page import write_page
from antiphon.evaluate.recognize import Transcript, score
from antiphon.evaluate.results import REPORT, Evaluation, RowForm, save_evaluation
from antiphon.evaluate.rewarded import rewarded, sample_of
from antiphon.evaluate.subject import Subject
from antiphon.rewards.sample import RewardFunction
from antiphon.runs import atomic
from antiphon.tasks.load import find_task
from antiphon.tasks.request import unread
from antiphon.types import Clip, Example


class Progress(Protocol):
    """Is told how far the work has come."""

    def phase(self, title: str, total: int | None = None) -> None: ...
    def advance(self, done: int) -> None: ...
    def noted(self, message: str) -> None: ...


def bar(progress: Progress, title: str) -> Callable[[int, int], None]:
    """Shows how far a phase is whose total is known once it has begun."""
    begun = False

    def tell(done: int, total: int) -> None:
        nonlocal begun
        if not begun:
            progress.phase(title, total)
            begun = True
        progress.advance(done)

    return tell


def unbounded(config: Config) -> Config:
    """The recipe without `data.max_seconds` where long clips are split."""
    if config.data.long_audio != "split":
        return config
    return config.model_copy(update={"data": config.data.model_copy(update={"max_seconds": math.inf})})


def preset_files(folder: Path, presets: Sequence[str]) -> list[str]:
    """`folder/test_PRESET.jsonl` of each. Raises `ConfigError` naming the presets there are."""
    missing = [preset for preset in presets if not (folder / f"test_{preset}.jsonl").is_file()]
    if missing:
        there = sorted(file.stem.removeprefix("test_") for file in folder.glob("test_*.jsonl"))
        raise ConfigError(
            f"{folder} has no test_{missing[0]}.jsonl; its presets are: {', '.join(there) or 'none'} (--presets)"
        )
    return [str(folder / f"test_{preset}.jsonl") for preset in presets]


def evaluate_sets(
    subject: Subject,
    sets: Mapping[str, str],
    config: Config,
    normalizer: Normalizer,
    progress: Progress,
    limit: int | None = None,
    group_by: str | None = None,
    output: Path | None = None,
    reward: RewardFunction | None = None,
    form: RowForm = "parquet",
) -> Evaluation:
    """Measures a model on `sets`, what `antiphon.data.source.checked_set` takes by name.

    Into `output` go its transcripts as they are made, so that the same call goes on after an interruption and an
    evaluation with another normalizer recognizes nothing again; at the end figures, rows and report
    (`antiphon.evaluate.results`). A `reward` scores the answers too. Raises `RunError` when `output` holds the
    transcripts of another model or setup.
    """
    setup, task = subject.setup(config), find_task(config.task)
    evaluation = Evaluation(subject.name, setup.get("weights"), {}, {})
    clips: dict[str, dict[str, Clip]] = {}
    with _folder(output) as folder:
        for name, spec in sets.items():
            progress.phase(f"checking {spec}")
            checked = checked_set(spec, unbounded(config), limit, bar(progress, f"checking {spec}"))
            title = f"checking {spec} against the model"
            lengths = checked.scans["seconds"]
            examples, unfit = subject.fitting(checked.examples, spec, config, bar(progress, title), lengths)
            skipped = [*checked.skipped, *unfit]
            for note in unread(asking(examples), subject.reads):
                progress.noted(f"{name}: {note}")
            names = group_names(examples, group_by, name) if group_by else None
            kept = KeptTranscripts(folder / "transcripts" / f"{name}.jsonl", setup)
            progress.phase(f"evaluating {name}", len(examples))
            transcripts = _transcripts(subject, examples, config, kept, progress.advance)
            summary, rows = score(task, examples, transcripts, normalizer)
            unnamed = sum(row["rules"] == "general" and not row["language"] for row in rows)
            if unnamed and task.transcribes:
                progress.noted(
                    f"the language of {unnamed} row(s) of {name} is unknown, so the general rules apply to them; "
                    "give the set a column language, or set --language"
                )
            places = {example.id: heard(example.clip) for example in examples}
            rows = [row | places[row["id"]] for row in rows]
            if reward is not None:
                answers = [[sample_of(task, *one)] for one in zip(examples, transcripts, strict=True)]
                summary, rows = rewarded(task, reward, answers, summary, rows, progress.noted)
            how = {
                "skipped": len(skipped),
                "rtfx": kept.speed(subject.side_by_side),
                "concurrency": subject.side_by_side,
                "precision": setup["precision"],
                "device": setup["device"],
            }
            evaluation.sets[name], evaluation.rows[name] = grouped(task, summary | how, rows, names)
            clips[name] = {example.id: example.clip for example in examples if example.clip is not None}
            for row in skipped:
                progress.noted(f"skipped {row}")
        if output:
            save_evaluation(output, evaluation, form)
            write_page(output / REPORT, evaluation, clips)
    return evaluation


def _transcripts(
    subject: Subject,
    examples: Sequence[Example],
    config: Config,
    kept: KeptTranscripts,
    on_progress: Callable[[int], None],
) -> list[Transcript]:
    """Of all examples, in order; what is kept already is not recognized again."""
    clips = clip_names(examples)
    found = kept.of(examples)
    on_progress(len(found))
    rest = [example for example in examples if example.id not in found]
    for portion in subject.portions(rest, config):
        kept.add(portion, clips, subject.side_by_side)
        found.update(zip(portion.ids, portion.transcripts, strict=True))
        on_progress(len(found))
    return [found[example.id] for example in examples]


@contextmanager
def _folder(output: Path | None) -> Iterator[Path]:
    """`output`, made where there is none, or a folder that is gone afterward."""
    if output is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    with atomic.naming(output):
        output.mkdir(parents=True, exist_ok=True)
    yield output
