"""Evaluation rows as HTML: transcripts, pairs of transcripts, and rows scored by a function."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from antiphon.dashboard.pages.clips import eval_answer, eval_clip
from antiphon.dashboard.read.evaluations import Evaluated, Pair, Row
from antiphon.evaluate.page import word_diff
from antiphon.tasks.load import task_of_row
from antiphon.tasks.summary import columns_of, main_column
from antiphon.tasks.task import row_errors, row_units


def table(evaluations: Sequence[Evaluated], chosen: Evaluated, links: Mapping[str, str]) -> str:
    """All evaluations, a row per step and a column per set; `links` by folder."""
    sets = list(dict.fromkeys(one.set for one in sorted(evaluations, key=lambda one: (one.kind, one.set))))
    cells = {(one.when, one.set): one for one in evaluations}
    best = {name: _best([one for one in evaluations if one.set == name]) for name in sets}
    head = "".join(f"<th>{escape(name)}</th>" for name in sets)
    lines = []
    for when in dict.fromkeys(one.when for one in evaluations):
        found = [cells.get((when, name)) for name in sets]
        row = "".join(_cell(one, one is chosen, one is not None and one is best[one.set], links) for one in found)
        lines.append(f"<tr><th>{escape(when)}{' <small>before training</small>' if when == '0' else ''}</th>{row}</tr>")
    body, what = "".join(lines), "Model" if chosen.summary.get("step") is None else "After step"
    return f'<table class="steps-by-set"><thead><tr><th>{what}</th>{head}</tr></thead><tbody>{body}</tbody></table>'


def _best(of_set: Sequence[Evaluated]) -> Evaluated | None:
    """The best of several; a single one is not marked."""
    valued = [(one.value, one) for one in of_set if one.value is not None]
    if len(valued) < 2:
        return None
    pick = min if valued[0][1].column.lower_is_better else max
    return pick(valued, key=lambda pair: pair[0])[1]


def _cell(one: Evaluated | None, chosen: bool, best: bool, links: Mapping[str, str]) -> str:
    if one is None:
        return "<td></td>"
    marks = " ".join(name for name, on in (("chosen", chosen), ("best", best)) if on)
    within = f" <small>{one.column.show_interval(one.interval)}</small>" if one.interval else ""
    return (
        f'<td class="{marks}"><a data-folder="{escape(one.folder)}" href="{escape(links[one.folder])}">'
        f"<b>{one.column.show(one.value)}</b>{within}</a></td>"
    )


def figures(one: Evaluated) -> dict[str, str]:
    """The summary values in the head of an evaluation, by name."""
    summary = one.summary
    main = one.column
    value = main.show(one.value) + (f" ({main.show_interval(one.interval)})" if one.interval else "")
    if one.kind == "scored":
        metrics = {name: f"{value:.3f}" for name, value in (summary.get("metrics") or {}).items() if _number(value)}
        count = {"Rows": str(summary.get("n", "–")), "Failed": str(summary.get("failed", "–"))}
        return {main.label: value} | metrics | count
    others = [column for column in columns_of(summary) if column != main and summary[column.key] is not None]
    told = {main.label: value} | {column.label: column.show(summary[column.key]) for column in others}
    told["Clips"] = f"{summary['n']:,}" if "n" in summary else "–"
    return told | ({"RTFx": f"{summary['rtfx']:.0f}"} if summary.get("rtfx") else {})


def groups(one: Evaluated) -> str:
    """The groups of `eval.group_by`, worst first; empty without groups."""
    found = one.summary.get("groups") or {}
    column = main_column(*found.values())
    sign = 1 if column.lower_is_better else -1
    worst = sorted(found, key=lambda name: -sign * (found[name].get(column.key) or 0.0))
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{column.show(found[name].get(column.key))}</td>"
        f"<td>{column.show_interval(found[name].get('ci'))}</td><td>{found[name].get('n', '–')}</td></tr>"
        for name in worst
    )
    head = "<tr><th>Group</th><th>Rate</th><th>95% interval</th><th>Clips</th></tr>"
    return f'<table class="plain number">{head}{rows}</table>' if rows else ""


def recognized(run: str | None, folder: str, row: Row) -> str:
    """One utterance: errors, diff of reference and transcript, and audio."""
    marks = '<span class="badge warn">truncated</span>' if row.get("truncated") else ""
    errors = row_errors(row)
    count = f"<b>{errors:.4g}</b><small>of {row_units(row):.4g}</small>"
    return _entry(
        f'<div class="errors{"" if errors else " none"}">{count}</div>',
        f'<p class="diff">{_diff(row)}</p><p class="quiet number">{" · ".join(_about(row))} {marks}</p>',
        _sound(run, folder, row),
    )


def compared(run: str | None, folder: str, pair: Pair, before: str, after: str) -> str:
    """One utterance in the evaluations `before` and `after`."""
    change = f"{pair.change:+.4g}".replace("-", "−") if pair.change else "="
    tone = "better" if pair.change < 0 else "worse" if pair.change > 0 else "same"
    texts = "".join(
        f'<span class="quiet name" title="{escape(name)}">{escape(name)}</span><p class="diff">{_diff(row)}</p>'
        f'<span class="quiet number">{row_errors(row):.4g}</span>'
        for name, row in ((before, pair.before), (after, pair.after))
    )
    return _entry(
        f'<div class="errors {tone}"><b>{change}</b><small>of {row_units(pair.after):.4g}</small></div>',
        f'<div class="two">{texts}</div><p class="quiet number">{" · ".join(_about(pair.after))}</p>',
        _sound(run, folder, pair.after),
    )


def scored(run: str | None, folder: str, row: Row) -> str:
    """One row scored by a user's function, or failed."""
    metrics = " · ".join(f"{name} {value:.3f}" for name, value in _json(row.get("metrics")).items() if _number(value))
    prompt = f'<p class="quiet">{escape(row["prompt"])}</p>' if row.get("prompt") else ""
    said, heard = row.get("reference"), row.get("response")
    text = word_diff(said, heard or "") if said else escape(heard or "")
    told = " · ".join(filter(None, (escape(str(row.get("id") or f"row {row['row']}")), metrics)))
    if row.get("error"):
        head, text = '<div class="errors worse"><b>failed</b></div>', escape(row["error"])
    else:
        score = "–" if row["score"] is None else f"{row['score']:.3f}"
        head = f'<div class="errors"><b>{score}</b></div>'
    return _entry(
        head, f'{prompt}<p class="diff">{text}</p><p class="quiet number">{told}</p>', _sound(run, folder, row)
    )


def _entry(head: str, body: str, sound: str) -> str:
    return f'<article class="utterance">{head}<div class="said">{body}</div><div class="sound">{sound}</div></article>'


def _diff(row: Row) -> str:
    said, heard = (row.get(f"{side}_clean", row.get(f"{side}_text") or "") for side in ("ref", "pred"))
    if "answer_audio" in row and not heard:
        return escape(said)
    if task_of_row(row).by_word:
        return word_diff(said, heard) or '<span class="quiet">no speech, empty transcript</span>'
    return escape(said) if said == heard else f"<del>{escape(said)}</del><ins>{escape(heard)}</ins>"


def _about(row: Row) -> list[str]:
    told = [str(row["id"]), f"{row['seconds']:.1f} s", row.get("speaker"), row.get("group")]
    return [escape(str(one)) for one in dict.fromkeys(told) if one]


def _sound(run: str | None, folder: str, row: Row) -> str:
    clip = eval_clip(run, folder, row["place"]) if row.get("audio") else ""
    answer = eval_answer(run, folder, row["place"]) if run and row.get("answer_audio") else ""
    return clip + answer


def _json(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _number(value: Any) -> bool:
    return isinstance(value, int | float)
