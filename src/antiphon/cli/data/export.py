"""`antiphon data prepare`, `convert`, `split` and `synth`: write sets to folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from antiphon.cli import options, output
from antiphon.cli.data import arguments

if TYPE_CHECKING:
    from antiphon.data.rows import Rows
    from antiphon.types import Example

Out = Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write.", show_default=False)]
Force = Annotated[bool, typer.Option("--force", help="Replace OUT, if one of these commands wrote it.")]
To = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="NAME",
        help="Format to write: jsonl, csv, tsv, nemo, kaldi, lhotse, parquet, webdataset or arrayrecord.",
    ),
]
From = Annotated[
    str | None,
    typer.Option("--from", metavar="NAME", help="Reader of SET: jsonl, parquet … or your own, file.py:name."),
]
Untranscribed = Annotated[bool, typer.Option("--untranscribed", help="Texts are optional, as for distillation.")]


def prepare(
    spec: arguments.Set,
    out: Out,
    columns: arguments.Columns = None,
    format: options.Format = None,
    limit: arguments.Limit = None,
    task: options.TaskOption = options.TASK,
    untranscribed: Untranscribed = False,
    on_bad_audio: options.OnBadAudioOption = options.OnBadAudio.error,
    force: Force = False,
    as_json: arguments.Json = False,
) -> None:
    """Write a set of any form as JSONL, OUT/NAME.jsonl, with its recordings in OUT/audio if they are no files yet.

    Examples:

        antiphon data prepare hf:google/fleurs:de_de:validation fleurs-de

        antiphon data prepare librispeech:dev-clean dev --limit 200

        antiphon data prepare shards/train-{000..007}.tar train
    """
    rows = _read(spec, columns, format, limit, task, untranscribed)
    _write(spec, [(out.name, rows.examples)], out, "jsonl", force, on_bad_audio, as_json)


def convert(
    spec: arguments.Set,
    out: Out,
    to: To,
    columns: arguments.Columns = None,
    reader: From = None,
    limit: arguments.Limit = None,
    task: options.TaskOption = options.TASK,
    untranscribed: Untranscribed = False,
    on_bad_audio: options.OnBadAudioOption = options.OnBadAudio.error,
    force: Force = False,
    as_json: arguments.Json = False,
) -> None:
    """Write a set of any form in another one. Ids, texts, languages, speakers and further columns are kept.

    Examples:

        antiphon data convert train.jsonl shards --format webdataset

        antiphon data convert cv/dev.tsv dev-kaldi --format kaldi

        antiphon data convert hf:google/fleurs:de_de fleurs --format parquet --limit 500
    """
    rows = _read(spec, columns, reader, limit, task, untranscribed)
    _write(spec, [(out.name, rows.examples)], out, to, force, on_bad_audio, as_json)


def split(
    spec: arguments.Set,
    out: Out,
    parts: Annotated[str, typer.Option("--parts", metavar="NAME=SHARE,…", help="The parts and their shares.")],
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="COLUMN",
            help="speaker, row or a column whose values stay together; by default speaker, if there are enough.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Another seed is another split.")] = 0,
    to: To = "jsonl",
    columns: arguments.Columns = None,
    reader: From = None,
    limit: arguments.Limit = None,
    task: options.TaskOption = options.TASK,
    untranscribed: Untranscribed = False,
    on_bad_audio: options.OnBadAudioOption = options.OnBadAudio.error,
    force: Force = False,
    as_json: arguments.Json = False,
) -> None:
    """Split a set into parts, the same way each time, and write each as a list of its own.

    Examples:

        antiphon data split all.jsonl sets --parts train=0.9,dev=0.1

        antiphon data split all.jsonl sets --parts train=0.8,dev=0.1,test=0.1 --by speaker --seed 1
    """
    from antiphon.data.split import parse_parts
    from antiphon.data.split import split as divide

    shares = parse_parts(parts)
    rows = _read(spec, columns, reader, limit, task, untranscribed)
    by, found = divide(rows.examples, shares, by, seed)
    _write(spec, list(found.items()), out, to, force, on_bad_audio, as_json, {"by": by})


def synth(
    out: Out,
    spec: Annotated[str, typer.Option("--set", metavar="builtin:SET", help="A built-in set.", show_default=False)],
    to: To = "jsonl",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Write the first utterances only.")] = None,
    force: Force = False,
    as_json: arguments.Json = False,
) -> None:
    """Write built-in synthetic speech to a folder, in any format, at 16 kHz. It needs the extra antiphon[synth].

    Examples:

        antiphon data synth digits --set builtin:digits-train --limit 100

        antiphon data synth shards --set builtin:commands-train-noisy --format webdataset

        antiphon data synth records --set builtin:digits-clean --format arrayrecord
    """
    from antiphon.data.readers import builtin
    from antiphon.errors import ConfigError

    if not builtin.claims(spec):
        raise ConfigError(f"--set {spec}: synth writes the built-in sets, builtin:NAME; use antiphon data convert")
    rows = _read(spec, None, None, limit, options.TASK, False)
    _write(spec, [(out.name, rows.examples)], out, to, force, options.OnBadAudio.error, as_json)


def _read(
    spec: str, columns: list[str] | None, reader: str | None, limit: int | None, task: str, untranscribed: bool
) -> Rows:
    from antiphon.data.rows import ReadOptions
    from antiphon.data.source import read_set

    how = ReadOptions(
        columns=options.parse_columns(columns), task=task, limit=limit, text_required=not untranscribed, format=reader
    )
    return read_set(spec, how).require_good()


def _write(
    spec: str,
    sets: Sequence[tuple[str, Sequence[Example]]],
    out: Path,
    format: str,
    force: bool,
    on_bad_audio: options.OnBadAudio,
    as_json: bool,
    more: Mapping[str, Any] | None = None,
) -> None:
    from antiphon.data.export import write

    named = [(name or Path.cwd().name, examples) for name, examples in sets]
    with _bar(sum(len(examples) for _, examples in named)) as advance:
        found = write(
            named, out, format, source=spec, force=force, on_bad_audio=on_bad_audio.value, on_progress=advance
        )
    for note in (*dict.fromkeys(found.notes), *(f"left out: {reason}" for reason in found.skipped)):
        output.console.print(note, highlight=False)
    if as_json:
        paths = {name: str(place) for name, place in found.places.items()}
        output.print_json(
            {"sets": paths, "rows": found.rows, "skipped": found.skipped, "format": format, **(more or {})}
        )
        return
    for name, place in found.places.items():
        output.tables.print(f"{name}: {found.rows[name]} row(s), {place}", soft_wrap=True, highlight=False)


@contextmanager
def _bar(total: int):
    """A progress bar on a terminal; yields what advances it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    shown = Progress(
        "writing",
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=output.console,
        transient=True,
        disable=not output.console.is_terminal,
    )
    with shown:
        task = shown.add_task("", total=total)
        yield lambda done: shown.update(task, completed=done)
