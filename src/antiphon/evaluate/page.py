"""An evaluation as one HTML file: figures, plots, and the worst clips to hear and to read with their errors marked.

Nothing is fetched: style, plots and audio are inside.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from antiphon.errors import AudioError
from antiphon.evaluate.figures import length_plot, rate_plot
from antiphon.evaluate.results import Evaluation, normalized_by, speed_conditions
from antiphon.runs import atomic
from antiphon.tasks.columns import Column
from antiphon.tasks.summary import columns_of, interval, main_column
from antiphon.tasks.task import row_errors, row_units
from antiphon.text.alignment import align, units
from antiphon.types import Audio, Clip

WORST = 20
"""Rows shown of each set, unless fewer have errors."""
AUDIO_BYTES = 8 << 20
"""Of all players together, as base64; the rows after that are shown without one."""
AUDIO_RATE = 16000


def write_page(path: Path, evaluation: Evaluation, clips: Mapping[str, Mapping[str, Clip]]) -> None:
    """Writes the report; `clips` gives the recordings of each set by id. Raises `RunError` when it cannot."""
    players = _Players()
    summaries = evaluation.sets
    parts = [
        f"<h1><small>Evaluation</small>{escape(evaluation.model)}</h1>",
        _setup(evaluation),
        _table(summaries),
        _plots(evaluation),
        *(_worst(name, rows, clips.get(name, {}), players) for name, rows in evaluation.rows.items()),
    ]
    style = (files("antiphon.evaluate") / "page.css").read_text(encoding="utf-8")
    title = escape(f"{evaluation.model}: evaluation")
    atomic.write_text(
        path,
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{title}</title><style>{style}</style></head>'
        f"<body><main>{''.join(parts)}</main></body></html>\n",
    )


def word_diff(reference: str, recognized: str) -> str:
    """Both texts as one line of HTML: `<del>` is what was said and missed, `<ins>` what was put in its place.

    Spaces stand where either text has them, so that writing without any stays so."""
    ref_units, hyp_units = units(reference), units(recognized)
    ref_spaces, hyp_spaces = _spaces(reference, ref_units), _spaces(recognized, hyp_units)
    line = ""
    for op in align(ref_units, hyp_units):
        said = "" if op.ref is None else escape(ref_units[op.ref])
        heard = "" if op.hyp is None else escape(hyp_units[op.hyp])
        spaced = (op.ref is not None and ref_spaces[op.ref]) or (op.hyp is not None and hyp_spaces[op.hyp])
        line += " " if spaced and line else ""
        if op.kind == "hit":
            line += said
        else:
            line += (f"<del>{said}</del>" if said else "") + (f"<ins>{heard}</ins>" if heard else "")
    return line


def _spaces(text: str, parts: Sequence[str]) -> list[bool]:
    """Whether there is space before each of the units of a text."""
    found, end = [], 0
    for part in parts:
        start = text.index(part, end)
        found.append(start > end)
        end = start + len(part)
    return found


class _Players:
    """Audio players with the sound inside, until there is too much of it."""

    def __init__(self) -> None:
        self._left = AUDIO_BYTES

    def of(self, clip: Clip | None) -> str:
        if clip is None:
            return ""
        try:
            return self._player(clip.load(AUDIO_RATE))
        except AudioError as error:
            return f"<small>{escape(str(error))}</small>"

    def of_answer(self, answer: Audio | None) -> str:
        if answer is None or answer.empty:
            return ""
        return self._player(soxr.resample(answer.waveform, answer.rate, AUDIO_RATE))

    def _player(self, waveform: np.ndarray) -> str:
        sound = io.BytesIO()
        soundfile.write(sound, waveform, AUDIO_RATE, format="MP3")
        data = base64.b64encode(sound.getvalue()).decode()
        if len(data) > self._left:
            return "<small>no player: the report holds as much audio as it may</small>"
        self._left -= len(data)
        return f'<audio controls preload="metadata" src="data:audio/mpeg;base64,{data}"></audio>'


def _setup(evaluation: Evaluation) -> str:
    one = next(iter(evaluation.sets.values()))
    facts = {
        "Normalizer": normalized_by(one),
        "RTFx measured with": speed_conditions(one),
        "Audio": _duration(sum(summary["seconds"] for summary in evaluation.sets.values())),
        "Weights": (evaluation.weights or "unknown")[:12],
    }
    return "<dl>" + "".join(f"<div><dt>{k}</dt><dd>{escape(value)}</dd></div>" for k, value in facts.items()) + "</dl>"


def _plots(evaluation: Evaluation) -> str:
    drawn = {
        "95% intervals": rate_plot(evaluation.sets),
        "Errors by length of clip": length_plot(evaluation.rows, main_column(*evaluation.sets.values()).is_percent),
    }
    figures = (
        f'<figure class="card"><figcaption>{title}</figcaption>{plot}</figure>' for title, plot in drawn.items() if plot
    )
    return f'<div class="plots">{"".join(figures)}</div>'


def _table(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    main = main_column(*summaries.values())
    columns = dict.fromkeys(column for one in summaries.values() for column in columns_of(one))
    there = [one for one in columns if any(summary.get(one.key) is not None for summary in summaries.values())]
    shown = [one for one in there if one != main]
    heads = ["set", main.title, "95% interval", "resampled", *(one.head for one in shown), "clips", "RTFx"]
    rows = []
    for name, one in summaries.items():
        rows.append(_row(name, one, main, shown, "set"))
        rows += [_row(group, figures, main, shown, "group") for group, figures in one.get("groups", {}).items()]
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
    body = "".join(rows)
    return (
        '<div class="card wide" tabindex="0" role="region" aria-label="Figures of all sets">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(name: str, one: Mapping[str, Any], main: Column, shown: Sequence[Column], kind: str) -> str:
    ends = interval(one, main)
    speed = "" if one.get("rtfx") is None else f"{one['rtfx']:.0f}"
    cells = [
        f"<b>{main.show(one.get(main.key))}</b>",
        " to ".join(main.show(end).removesuffix("%") for end in ends) if ends else "",
        f"{one['ci_unit']}s",
        *(column.show(one.get(column.key)) for column in shown),
        str(one["n"]),
        speed,
    ]
    title = f'<a href="#{escape(name)}">{escape(name)}</a>' if kind == "set" else escape(name)
    return f'<tr class="{kind}"><th>{title}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _worst(name: str, rows: Iterable[Mapping[str, Any]], clips: Mapping[str, Clip], players: _Players) -> str:
    wrong = [row for row in rows if row_errors(row)]
    if not wrong:
        return f'<h2 id="{escape(name)}">{escape(name)}</h2><p>Every answer is right.</p>'
    entries = "".join(
        _entry(row, players.of(clips.get(row["id"])), players.of_answer(row.get("answer_audio")))
        for row in wrong[:WORST]
    )
    number = "the clip with errors" if len(wrong) == 1 else f"the {len(wrong)} clips with errors"
    shown = f"the worst {WORST} of {len(wrong)} clips with errors" if len(wrong) > WORST else number
    return (
        f'<h2 id="{escape(name)}">{escape(name)} <small>{shown}</small></h2>'
        '<p class="legend"><del>missing</del> <ins>added</ins></p>'
        f'<div class="card clips">{entries}</div>'
    )


def _entry(row: Mapping[str, Any], clip: str, answer: str) -> str:
    """One row; `clip` and `answer` are players, or empty."""
    errors = row_errors(row)
    told = "1 error" if errors == 1 else f"{errors:.4g} errors"
    about = [row["id"], f"{told} in {row_units(row):.4g}", f"{row['seconds']:.1f} s"]
    about += [row["speaker"]] if row["speaker"] else []
    about += ["cut off by the token limit"] if row["truncated"] else []
    return (
        f'<article><p class="diff">{_diff(row)}</p>'
        f"<header>{escape(' · '.join(about))}</header>"
        + "".join(f'<div class="player">{player}</div>' for player in (clip, answer) if player)
        + "</article>"
    )


def _diff(row: Mapping[str, Any]) -> str:
    if "ref_clean" in row:
        return word_diff(row["ref_clean"], row["pred_clean"])
    return f"{escape(row['ref_text'])} <ins>{escape(row['pred_text'])}</ins>"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
