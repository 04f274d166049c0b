"""`antiphon eval`: how well a model recognizes, and where it fails."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from antiphon.cli import options
from antiphon.cli.output import print_json, tables
from antiphon.cli.progress import Terminal, with_interval
from antiphon.errors import ConfigError

if TYPE_CHECKING:
    from antiphon.evaluate.results import Evaluation
WORST_SHOWN = 5
MORE_PRESETS = {"allow_extra_args": True}
"""An option has one value for click; what follows the first of --presets are further arguments."""
EPILOG = """\
Examples:

antiphon eval builtin:student --data builtin:commands-noisy --limit 100

antiphon eval latest --data dev.jsonl --output dev-results

antiphon eval RUN@60 --data dev.jsonl --data test.jsonl --json

antiphon eval latest --data-dir sets --presets aishell clean meeting net other

antiphon eval openai/whisper-small --preset open-asr --output whisper-small

antiphon eval latest --data hf:google/fleurs:de_de --limit 200

antiphon eval http://127.0.0.1:8025/v1 --data dev.jsonl --concurrency 16

antiphon eval http://127.0.0.1:8000/v1 --served-model Qwen/Qwen2-Audio-7B-Instruct --chat --data dev.jsonl

antiphon eval latest --data dev.jsonl --group-by speaker --normalizer my_rules.py:clean

antiphon eval ./my-classifier --data labeled.jsonl --task classify
"""


class Preset(StrEnum):
    open_asr = "open-asr"


class RowForm(StrEnum):
    parquet = "parquet"
    jsonl = "jsonl"


def command(
    context: typer.Context,
    model: options.Target,
    data: options.Data = None,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", metavar="DIR", help="Folder with the files of --presets, or a copy of --preset's."),
    ] = None,
    presets: Annotated[
        list[str] | None, typer.Option("--presets", metavar="NAME...", help="Measure on DIR/test_NAME.jsonl of each.")
    ] = None,
    preset: Annotated[
        Preset | None, typer.Option("--preset", help="The leaderboard's English sets, under its rules.")
    ] = None,
    limit: options.Limit = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="DIR", help="Write figures, rows and report.html; go on where it stopped."),
    ] = None,
    rows: Annotated[RowForm, typer.Option("--rows", help="The form of the rows in --output.")] = RowForm.parquet,
    group_by: Annotated[
        str | None, typer.Option("--group-by", metavar="COLUMN", help="Measure by group too: speaker, language, ...")
    ] = None,
    normalizer: options.Normalizer = None,
    reward: Annotated[
        str | None, typer.Option("--reward", metavar="NAME", help="Also report this reward: wer, file.py:function, ...")
    ] = None,
    task: options.TaskOption = options.TASK,
    columns: options.Columns = None,
    format: options.Format = None,
    language: options.Language = "auto",
    side_by_side: options.SideBySide = None,
    served_model: options.ServedModel = None,
    timeout: options.Timeout = None,
    chat: options.Chat = False,
    beam: options.Beam = None,
    max_new_tokens: options.MaxNewTokens = None,
    max_seconds: options.MaxSeconds = 30.0,
    on_bad_audio: options.OnBadAudioOption = options.OnBadAudio.error,
    long_audio: options.LongAudioOption = "error",
    device: options.DeviceOption = "auto",
    dtype: options.DTypeOption = "auto",
    trust_remote_code: options.TrustRemoteCode = False,
    runs: options.RunsFolder = "runs",
    as_json: options.Json = False,
) -> None:
    """Measure a model: corpus WER and CER of speech recognition, accuracy of other tasks, intervals and speed."""
    from antiphon.config import load_config
    from antiphon.config.rollout import RewardLimits
    from antiphon.data.forms import named_sets
    from antiphon.evaluate.normalizers import load_normalizer
    from antiphon.evaluate.sets import evaluate_sets
    from antiphon.rewards.load import load_reward

    flags = {
        "task": task,
        "language": language,
        "data.max_seconds": max_seconds,
        "data.columns": options.parse_columns(columns or []),
        "data.format": format,
        "data.on_bad_audio": on_bad_audio.value,
        "data.long_audio": long_audio,
    }
    config = load_config(flags=flags)
    sets = named_sets([*(data or []), *_preset_sets(preset, data_dir, presets or [], context.args)], format)
    if not sets:
        raise ConfigError("nothing to measure on; name a set with --data, or several with --presets or --preset")
    rules = load_normalizer(normalizer or ("open-asr" if preset else "default"))
    scorer = load_reward(reward, RewardLimits(on_failure="drop")) if reward else None
    asked = (side_by_side, beam, max_new_tokens, runs, served_model, timeout, chat)
    model_options = options.ModelOptions(device, dtype, *asked, trust_remote_code)
    with Terminal() as terminal:
        terminal.phase("loading the model")
        subject = model_options.subject(model)
        evaluation = evaluate_sets(subject, sets, config, rules, terminal, limit, group_by, output, scorer, rows.value)
    if as_json:
        print_json(evaluation.sets)
    else:
        show(evaluation, output, rows.value)


def _preset_sets(
    preset: Preset | None, folder: Path | None, presets: Sequence[str], further: Sequence[str]
) -> list[str]:
    from antiphon.data.readers import open_asr
    from antiphon.evaluate.sets import preset_files

    if further and not presets:
        raise ConfigError(f"unexpected argument {further[0]!r}; one model is evaluated on the sets named with --data")
    if preset and presets:
        raise ConfigError("--preset and --presets are two ways to name sets; give one of them")
    if preset:
        return open_asr.specs(folder and str(folder))
    if bool(folder) != bool(presets):
        raise ConfigError("--data-dir and --presets belong together: give the folder and the names, or use --data")
    return preset_files(folder, [*presets, *further]) if folder else []


def show(evaluation: Evaluation, output: Path | None, form: str = "parquet") -> None:
    """Print an evaluation's tables: figures, conditions, confusions and worst rows."""
    from antiphon.tasks.summary import columns_of, main_column

    results = evaluation.sets
    main = main_column(*results.values())
    columns = dict.fromkeys(column for one in results.values() for column in columns_of(one))
    shown = [one for one in columns if not one.optional or any(summary.get(one.key) for summary in results.values())]
    others = [one for one in shown if one != main]
    table = Table("set", f"{main.title} [95%]", *(one.head for one in others), "rows", "RTFx", box=None, pad_edge=False)
    for name, one in results.items():
        rates = [other.show(one.get(other.key)) for other in others]
        speed = "–" if one["rtfx"] is None else f"{one['rtfx']:.0f}"
        table.add_row(name, with_interval(one), *rates, str(one["n"]), speed)
        for group, figures in one.get("groups", {}).items():
            rates = [other.show(figures.get(other.key)) for other in others]
            table.add_row(f"  {group}", with_interval(figures), *rates, str(figures["n"]), "")
    tables.print(table)
    _show_conditions(results)
    for name, one in results.items():
        _show_confusions(name, one.get("confusion", {}))
    for name, rows in evaluation.rows.items():
        _show_worst(name, rows)
    if output:
        tables.print(f"\nreport: {output}/report.html; rows: {output}/SET.{form}", highlight=False, soft_wrap=True)


def _show_conditions(results: dict[str, dict[str, Any]]) -> None:
    from antiphon.evaluate.results import FILE, normalized_by, speed_conditions

    one = next(iter(results.values()))
    units = sorted({one["ci_unit"] for one in results.values()})
    speed = "" if one["device"] == FILE else f"RTFx with {speed_conditions(one)}; "
    tables.print(
        f"\nintervals over {'s or '.join(units)}s; {speed}normalizer {normalized_by(one)}",
        highlight=False,
        soft_wrap=True,
    )


def _show_worst(name: str, rows: Sequence[dict[str, Any]]) -> None:
    from antiphon.tasks.task import row_errors

    worst = [row for row in rows if row_errors(row)][:WORST_SHOWN]
    if worst:
        tables.print(f"\nworst of {name}:")
    for row in worst:
        errors = "1 error" if row_errors(row) == 1 else f"{row_errors(row):.4g} errors"
        tables.print(f"  {row['id']}  {errors}", highlight=False)
        tables.print(f"    said   {row.get('ref_clean', row['ref_text'])}", highlight=False, soft_wrap=True)
        tables.print(f"    heard  {row.get('pred_clean', row['pred_text'])}", highlight=False, soft_wrap=True)


def _show_confusions(name: str, confusion: dict[str, dict[str, int]]) -> None:
    from antiphon.tasks.labels import confusions

    most = confusions(confusion)[:WORST_SHOWN]
    if most:
        tables.print(f"\nmost confused of {name}:")
    for label, answer, times in most:
        tables.print(f"  {label} taken for {answer}: {times}", highlight=False)
