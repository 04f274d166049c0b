"""`antiphon eval`: how well a model recognises, and where it fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from antiphon.cli import options
from antiphon.cli.data import parse_columns
from antiphon.cli.output import print_json, tables
from antiphon.cli.progress import Terminal, percent, with_interval

if TYPE_CHECKING:
    from antiphon.evaluate.metrics import Utterance

WORST_SHOWN = 5
EPILOG = """\
Examples:

antiphon eval builtin:student --data builtin:commands-noisy --limit 100

antiphon eval latest --data dev.jsonl --output dev-results

antiphon eval RUN@60 --data dev.jsonl --data test.jsonl --json

antiphon eval latest --data dev.jsonl --group-by speaker

antiphon eval ./my-classifier --data labelled.jsonl --task classify
"""


def command(
    model: options.Model,
    data: Annotated[list[str], typer.Option("--data", help="FILE.jsonl or builtin:SET; may be given several times.")],
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Rows used of each set.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="DIR", help="Write DIR/SET.jsonl, worst rows first.")
    ] = None,
    group_by: Annotated[
        str | None, typer.Option("--group-by", metavar="COLUMN", help="Measure by group too: speaker, language, ...")
    ] = None,
    task: options.TaskOption = options.Task.asr,
    columns: options.Columns = None,
    language: options.Language = "auto",
    batch_size: options.BatchSize = 64,
    beam: options.Beam = None,
    max_new_tokens: options.MaxNewTokens = 256,
    max_seconds: options.MaxSeconds = 30.0,
    on_bad_audio: options.OnBadAudioOption = options.OnBadAudio.error,
    device: options.DeviceOption = options.Device.auto,
    dtype: options.DTypeOption = options.DType.auto,
    runs: options.RunsFolder = "runs",
    as_json: options.Json = False,
) -> None:
    """Measure a model: corpus WER and CER of speech recognition, accuracy of other tasks, intervals and speed."""
    from antiphon.config import load_config
    from antiphon.data.source import load_set, named_sets
    from antiphon.evaluate.groups import group_names, grouped
    from antiphon.evaluate.recognise import evaluate
    from antiphon.runs import atomic
    from antiphon.tasks.load import prompter

    flags = {
        "task": task.value,
        "language": language,
        "data.max_seconds": max_seconds,
        "data.columns": parse_columns(columns or []),
        "data.on_bad_audio": on_bad_audio.value,
    }
    config = load_config(flags=flags)
    sets = named_sets(data)
    if output:
        with atomic.naming(output):
            output.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[str, Any]] = {}
    rows: dict[str, list[Utterance]] = {}
    written: dict[str, list[dict[str, Any]]] = {}
    with Terminal() as terminal:
        terminal.phase("loading the model")
        loaded = options.load(model, device, dtype, batch_size, beam, runs)
        prompt = prompter(config, loaded.policy.rate)
        for name, spec in sets.items():
            terminal.phase(f"checking {spec}")
            examples, skipped = load_set(spec, config, limit, terminal.advance)
            groups = group_names(examples, group_by, name) if group_by else None
            terminal.phase(f"evaluating {name}", len(examples))
            summary, rows[name] = evaluate(
                loaded.policy, loaded.decode, examples, prompt, max_new_tokens, terminal.advance
            )
            results[name], written[name] = grouped(summary | {"skipped": len(skipped)}, rows[name], groups)
            for row in skipped:
                terminal.note(f"skipped {row}")
    if output:
        for name, table in written.items():
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in table)
            atomic.write_text(output / f"{name}.jsonl", "".join(lines))
    if as_json:
        print_json(results)
    else:
        _show(results, rows, output)


def _show(results: dict[str, dict[str, Any]], rows: dict[str, list[Utterance]], output: Path | None) -> None:
    recognition = {"WER [95%]": "wer", "CER": "cer", "sub": "sub", "del": "del", "ins": "ins"}
    answers = {"accuracy [95%]": "accuracy", "macro F1": "macro_f1"}
    columns = recognition if any("wer" in one for one in results.values()) else answers
    first, *others = columns
    table = Table("set", first, *others, "rows", "RTFx", box=None, pad_edge=False)
    for name, one in results.items():
        rates = [percent(one.get(columns[other])) for other in others]
        table.add_row(name, with_interval(one), *rates, str(one["n"]), f"{one['rtfx']:.0f}")
        for group, figures in one.get("groups", {}).items():
            rates = [percent(figures.get(columns[other])) for other in others]
            table.add_row(f"  {escape(group)}", with_interval(figures), *rates, str(figures["n"]), "")
    tables.print(table)
    for name, one in results.items():
        _show_confusions(name, one.get("confusion", {}))
    for name, utterances in rows.items():
        worst = [row for row in utterances if row.wer_errors][:WORST_SHOWN]
        if worst:
            tables.print(f"\nworst of {name}:")
        for row in worst:
            tables.print(f"  {escape(row.id)}  {row.wer_errors} errors", highlight=False)
            tables.print(f"    said   {escape(row.ref_clean)}", highlight=False, soft_wrap=True)
            tables.print(f"    heard  {escape(row.pred_clean)}", highlight=False, soft_wrap=True)
    if output:
        tables.print(f"\nall rows, worst first: {output}/SET.jsonl", highlight=False)


def _show_confusions(name: str, confusion: dict[str, dict[str, int]]) -> None:
    from antiphon.evaluate.answers import confusions

    most = confusions(confusion)[:WORST_SHOWN]
    if most:
        tables.print(f"\nmost confused of {name}:")
    for label, answer, times in most:
        tables.print(f"  {escape(label)} taken for {escape(answer)}: {times}", highlight=False)
