"""Measures transcripts that are there already, as an evaluation measures those that it makes."""

from __future__ import annotations

from pathlib import Path

from antiphon.data.forms import set_name
from antiphon.evaluate.groups import group_names, grouped
from antiphon.evaluate.normalizers import Normalizer
from antiphon.evaluate.page import write_page
from antiphon.evaluate.recognize import Transcript, score
from antiphon.evaluate.results import FILE, REPORT, Evaluation, RowForm, save_evaluation
from antiphon.evaluate.sets import Progress
from antiphon.evaluate.transcript_files import Line, paired, read_transcripts
from antiphon.runs import atomic
from antiphon.tasks.load import find_task
from antiphon.types import Example, Text


def score_files(
    hypotheses: str,
    references: str,
    normalizer: Normalizer,
    progress: Progress,
    language: str | None = None,
    group_by: str | None = None,
    output: Path | None = None,
    form: RowForm = "parquet",
) -> Evaluation:
    """The evaluation of `hypotheses` against `references`, each a file that `read_transcripts` reads.

    It is saved in `output`, where `antiphon compare` finds it. `language` is that of utterances that name none.
    """
    task, name = find_task("asr"), set_name(references)
    pairs = paired(
        read_transcripts(references),
        read_transcripts(hypotheses, hypotheses=True),
        (hypotheses, references),
        progress.noted,
    )
    examples = [_example(*pair, language) for pair in pairs]
    answers = [Transcript(Text(heard.text), heard.seconds or said.seconds, None, None) for said, heard in pairs]
    names = group_names(examples, group_by, name) if group_by else None
    summary, rows = score(task, examples, answers, normalizer)
    how = {"skipped": 0, "rtfx": None, "concurrency": 0, "precision": "unknown", "device": FILE}
    summary, rows = grouped(task, summary | how, rows, names)
    evaluation = Evaluation(hypotheses, None, {name: summary}, {name: rows})
    if output:
        with atomic.naming(output):
            output.mkdir(parents=True, exist_ok=True)
        save_evaluation(output, evaluation, form)
        write_page(output / REPORT, evaluation, {})
    return evaluation


def _example(said: Line, heard: Line, language: str | None) -> Example:
    """The reference as an example; its language is its own, else the one given, else that of the hypothesis."""
    spoken = said.language or language or heard.language
    return Example(said.id, "asr", None, said.text, spoken, said.speaker or heard.speaker, columns=said.columns)
