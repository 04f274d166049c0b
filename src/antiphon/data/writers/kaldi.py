"""Kaldi data directories: `wav.scp`, `text`, `utt2spk`, `spk2utt`, `utt2dur`, as needed `segments` and `utt2lang`."""

from __future__ import annotations

from collections.abc import Iterable

from antiphon.data.check import seconds_of
from antiphon.data.export import Out, clip_of
from antiphon.errors import DataError
from antiphon.types import Example


def write(examples: Iterable[Example], out: Out) -> str:
    """Write a directory, sorted as Kaldi sorts; of several sets, each has a directory of its own.

    An utterance is called by its id, after its speaker's name if it has one, with `_` for other characters than
    letters, digits, `_`, `-` and `.`. Without a speaker it is a speaker of its own. Paths are absolute.
    """
    tables: dict[str, dict[str, str]] = {name: {} for name in ("wav.scp", "text", "utt2spk", "utt2dur", "utt2lang")}
    segments: dict[str, str] = {}
    recordings: dict[str, str] = {}
    lost: set[str] = set()
    for example in examples:
        found = out.recording(example)
        path = out.absolute(found.path)
        if found.channel is not None:
            raise DataError(f"example {example.id} is one channel of {path}, which wav.scp cannot say; write jsonl")
        speaker = out.safe(example.speaker) if example.speaker else None
        utterance = out.safe(example.id)
        utterance = f"{speaker}-{utterance}" if speaker and not utterance.startswith(speaker) else utterance
        part = found.begin not in (None, -1) or found.end not in (None, -1)
        recording = recordings.setdefault(path, f"rec-{len(recordings):08d}" if part else utterance)
        seconds = seconds_of(clip_of(example))
        if part or recording != utterance:
            begin = found.begin if found.begin and found.begin > 0 else 0.0
            segments[utterance] = f"{recording} {begin:.6f} {begin + seconds:.6f}"
        tables["wav.scp"][recording] = path
        tables["text"][utterance] = " ".join(example.text.split())
        tables["utt2spk"][utterance] = speaker or utterance
        tables["utt2dur"][utterance] = f"{seconds:.6f}"
        if example.language:
            tables["utt2lang"][utterance] = example.language
        lost |= example.columns.keys()
    if segments:
        whole = {name: f"{name} 0.000000 {tables['utt2dur'][name]}" for name in tables["text"] if name not in segments}
        tables["segments"] = segments | whole
    if lost:
        out.notes.append(f"kaldi has no place for the columns {', '.join(sorted(lost))}; they are left out")
    if 0 < len(tables["utt2lang"]) < len(tables["text"]):
        out.notes.append("some rows have no language, and utt2lang must have all; it is left out")
        del tables["utt2lang"]
    return _written(tables, out)


def _written(tables: dict[str, dict[str, str]], out: Out) -> str:
    place = out.name if out.parts else "."
    (out.folder / place).mkdir(exist_ok=True)
    said: dict[str, list[str]] = {}
    for utterance, speaker in sorted(tables["utt2spk"].items()):
        said.setdefault(speaker, []).append(utterance)
    tables["spk2utt"] = {speaker: " ".join(utterances) for speaker, utterances in said.items()}
    for name, table in tables.items():
        if table:
            lines = (f"{key} {value}".rstrip() + "\n" for key, value in sorted(table.items()))
            (out.folder / place / name).write_text("".join(lines), encoding="utf-8")
    return place
