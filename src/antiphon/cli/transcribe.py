"""`antiphon transcribe`: transcribes audio files, or a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from antiphon.cli import options
from antiphon.cli.output import print_json
from antiphon.cli.progress import Terminal
from antiphon.errors import AudioError, ConfigError

if TYPE_CHECKING:
    from antiphon.evaluate.recognize import Transcript
    from antiphon.tasks.task import Task
    from antiphon.types import Example

EPILOG = """\
Examples:

antiphon transcribe builtin:student hello.wav

antiphon transcribe latest --input clips.jsonl --output texts.jsonl --batch-size 32 --dtype bfloat16

antiphon train --model builtin:student --data texts.jsonl --columns text=pred_text
"""


def command(
    model: options.Model,
    files: Annotated[list[Path] | None, typer.Argument(metavar="FILES", help="Audio files.")] = None,
    input: Annotated[
        str | None, typer.Option("--input", metavar="SET", help="A data set; its rows need no text.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="P.jsonl", help="Write rows with `pred_text` here; go on where it stopped."),
    ] = None,
    columns: options.Columns = None,
    format: options.Format = None,
    language: options.Language = "auto",
    batch_size: options.BatchSize = 32,
    beam: options.Beam = None,
    max_new_tokens: options.MaxNewTokens = None,
    on_bad_audio: options.OnBadAudioOption = options.OnBadAudio.error,
    long_audio: options.LongAudioOption = "split",
    device: options.DeviceOption = "auto",
    dtype: options.DTypeOption = "auto",
    trust_remote_code: options.TrustRemoteCode = False,
    runs: options.RunsFolder = "runs",
    as_json: options.Json = False,
) -> None:
    """Transcribe audio files or a data set. What --output writes is a data set itself."""
    from antiphon.config import load_config
    from antiphon.evaluate.outputs import TranscriptFile
    from antiphon.evaluate.subject import LONGEST, LocalModel
    from antiphon.tasks.load import find_task
    from antiphon.tasks.request import unread

    if bool(files) == bool(input):
        raise ConfigError("give either audio files or --input SET")
    examples = _from_files(files) if files else _from_set(input or "", options.parse_columns(columns or []), format)
    config = load_config(
        flags={"language": language, "data.on_bad_audio": on_bad_audio.value, "data.long_audio": long_audio}
    )
    task = find_task(config.task)
    with Terminal() as terminal:
        terminal.phase("loading the model")
        loaded = options.load(model, device, dtype, batch_size, beam, runs, trust_remote_code)
        subject = LocalModel(model, loaded.policy, loaded.decode, batch_size, beam, max_new_tokens)
        kept = TranscriptFile(output, subject.setup(config), examples) if output else None
        rest = [example for example in examples if not kept or example.id not in kept.rows]
        terminal.phase("checking the audio", len(rest))
        readable = _usable(rest, on_bad_audio, terminal)
        tell = lambda done, total: terminal.advance(done)  # noqa: E731
        usable, unfit = subject.fitting(readable, "the input", config, tell) if readable or not kept else ([], [])
        for row in unfit:
            terminal.noted(f"skipped {row}")
        for note in unread(usable, subject.reads):
            terminal.noted(note)
        terminal.phase("transcribing", len(usable))
        rows: dict[str, dict[str, Any]] = dict(kept.rows) if kept else {}
        spent, done = 0.0, 0
        for portion in subject.portions(usable, config):
            part = usable[done : done + len(portion.ids)]
            if kept:
                kept.add(task, part, portion.transcripts)
            rows |= {one.id: _row(task, one, said) for one, said in zip(part, portion.transcripts, strict=True)}
            spent, done = spent + portion.spent, done + len(part)
            terminal.advance(done)
        results = [(kept.rows if kept else rows)[one.id] for one in examples if one.id in rows]
        cut = sum(row["finish_reason"] == "length" for row in results)
        if cut:
            most = max_new_tokens or LONGEST
            terminal.noted(f"{cut} transcript(s) reached --max-new-tokens={most} and were truncated")
    if as_json:
        skipped = len(examples) - len(results)
        print_json({"model": model, "seconds": spent, "skipped": skipped, "results": results})
    elif not output:
        names = {example.id: example.clip.name for example in examples if example.clip}
        for row in results:
            typer.echo(row["pred_text"] if len(results) == 1 else f"{names[row['id']]}\t{row['pred_text']}")


def _from_files(files: list[Path]) -> list[Example]:
    from antiphon.audio.decode import FileClip
    from antiphon.types import Example

    return [Example(str(file), "asr", FileClip(file), "") for file in files]


def _from_set(spec: str, columns: dict[str, str], format: str | None) -> list[Example]:
    from antiphon.data.rows import ReadOptions
    from antiphon.data.source import read_set

    options = ReadOptions(columns=columns, text_required=False, format=format)
    return list(read_set(spec, options).require_good().examples)


def _usable(examples: list[Example], on_bad_audio: options.OnBadAudio, terminal: Terminal) -> list[Example]:
    from antiphon.audio.decode import FileClip

    usable = []
    for done, example in enumerate(examples, 1):
        try:
            if isinstance(example.clip, FileClip):
                example.clip.scan()
            usable.append(example)
        except AudioError as error:
            if on_bad_audio == options.OnBadAudio.error:
                raise AudioError(f"{error} (or leave it out with --on-bad-audio skip)") from error
            terminal.noted(f"skipped {error}")
        terminal.advance(done)
    return usable


def _row(task: Task, example: Example, transcript: Transcript) -> dict[str, Any]:
    """A row as it is printed: its audio as the user named it."""
    from antiphon.evaluate.outputs import heard, transcribed

    found = {key: value for key, value in heard(example.clip).items() if value is not None}
    path = getattr(example.clip, "path", None)
    named = str(path) if "audio" in found else example.clip and example.clip.name
    return found | {"audio": named} | transcribed(task, example, transcript)
