"""`antiphon transcribe`: transcribes audio files, or a JSONL file of them."""

from __future__ import annotations

import json
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
"""


def command(
    model: options.Model,
    files: Annotated[list[Path] | None, typer.Argument(metavar="FILES", help="Audio files.")] = None,
    input: Annotated[Path | None, typer.Option("--input", metavar="F.jsonl", help="Rows with an `audio` path.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="P.jsonl", help="Write rows with `pred_text` here.")
    ] = None,
    columns: options.Columns = None,
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
    """Transcribe audio files."""
    from antiphon.config import load_config
    from antiphon.evaluate.pieces import piece_of
    from antiphon.evaluate.recognize import transcribe
    from antiphon.evaluate.subject import LONGEST
    from antiphon.models.fit import Fit, fitting
    from antiphon.runs import atomic
    from antiphon.tasks.load import prompter
    from antiphon.tasks.request import unread

    if bool(files) == bool(input):
        raise ConfigError("give either audio files or --input F.jsonl")
    examples = _from_files(files) if files else _from_jsonl(input, options.parse_columns(columns or []))
    config = load_config(
        flags={"language": language, "data.on_bad_audio": on_bad_audio.value, "data.long_audio": long_audio}
    )
    if output:
        with atomic.naming(output):
            output.parent.mkdir(parents=True, exist_ok=True)
    with Terminal() as terminal:
        terminal.phase("loading the model")
        loaded = options.load(model, device, dtype, batch_size, beam, runs, trust_remote_code)
        prompt = prompter(config, loaded.policy.rate, loaded.policy.language, loaded.policy.reads)
        terminal.phase("checking the audio", len(examples))
        usable = _usable(examples, on_bad_audio, terminal)
        piece = piece_of(loaded.policy, prompt.task, config)
        fit, data = Fit(loaded.policy, prompt, max_new_tokens, piece=piece), config.data
        usable, unfit = fitting(fit, usable, "the input", data.on_bad_audio, data.long_audio)
        for row in unfit:
            terminal.noted(f"skipped {row}")
        for note in unread(usable, loaded.policy.reads):
            terminal.noted(note)
        terminal.phase("transcribing", len(usable))
        most = max_new_tokens or LONGEST
        transcripts, spent = transcribe(loaded.policy, loaded.decode, usable, prompt, most, terminal.advance, piece)
        rows = [_row(prompt.task, *one) for one in zip(usable, transcripts, strict=True)]
        cut = sum(row["finish_reason"] == "length" for row in rows)
        if cut:
            terminal.noted(f"{cut} transcript(s) reached --max-new-tokens={most} and were truncated")
    if output:
        atomic.write_text(output, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    if as_json:
        skipped = len(examples) - len(usable)
        print_json({"model": model, "seconds": spent, "skipped": skipped, "results": rows})
    elif not output:
        for row in rows:
            typer.echo(row["pred_text"] if len(rows) == 1 else f"{row['audio']}\t{row['pred_text']}")


def _from_files(files: list[Path]) -> list[Example]:
    from antiphon.audio.decode import FileClip
    from antiphon.types import Example

    return [Example(str(file), "asr", FileClip(file), "") for file in files]


def _from_jsonl(path: Path | None, columns: dict[str, str]) -> list[Example]:
    from antiphon.data.rows import ReadOptions
    from antiphon.data.source import read_set

    assert path is not None
    return list(read_set(path, ReadOptions(columns=columns, text_required=False)).require_good().examples)


def _usable(examples: list[Example], on_bad_audio: options.OnBadAudio, terminal: Terminal) -> list[Example]:
    from antiphon.audio.decode import FileClip

    usable = []
    for done, example in enumerate(examples, 1):
        try:
            assert isinstance(example.clip, FileClip)
            example.clip.scan()
            usable.append(example)
        except AudioError as error:
            if on_bad_audio == options.OnBadAudio.error:
                raise AudioError(f"{error} (or leave it out with --on-bad-audio skip)") from error
            terminal.noted(f"skipped {error}")
        terminal.advance(done)
    return usable


def _row(task: Task, example: Example, transcript: Transcript) -> dict[str, Any]:
    from antiphon.tasks.task import words_of

    row = {"id": example.id, "audio": example.clip.name if example.clip else None, **example.columns}
    if example.text:
        row["text"] = example.text
    return row | {
        "pred_text": words_of(task.read(transcript.answer)),
        "seconds": transcript.seconds,
        "finish_reason": transcript.finish_reason,
        **_segments(transcript),
    }


def _segments(transcript: Transcript) -> dict[str, Any]:
    """The pieces of a long clip, by their times in seconds."""
    rows = [{"begin_time": one.begin, "end_time": one.end, "text": one.text} for one in transcript.segments]
    return {"segments": rows} if rows else {}
