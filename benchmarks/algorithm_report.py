"""What the runs of `algorithms.py` amount to: rates with intervals, paired tests, a table and a plot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from algorithm_runs import FROM_REWARDS, ROWS, STUDENT, TEST_SETS, Record

from antiphon.evaluate.bootstrap import bootstrap_ci, holm, paired_bootstrap

ALPHA = 0.05
BEGIN, END = "<!-- results, by benchmarks/algorithms.py -->", "<!-- end of results -->"


def wer(record: Record, sets: Sequence[str] = TEST_SETS) -> float:
    """Of one run after training, over the utterances of `sets` together."""
    errors, words = (sum(sum(record["final"][name][key]) for name in sets) for key in ("errors", "words"))
    return errors / words


def say(record: Record) -> str:
    """One run in a line."""
    rates = ", ".join(f"{name} {100 * wer(record, [name]):.1f}%" for name in TEST_SETS)
    return f"{record['row']}, seed {record['seed']}: {rates}"


def summarize(records: Sequence[Record]) -> dict[str, Any]:
    """`rows`, in the order of `ROWS` after the student, and `verdicts`, sentences."""
    runs: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        runs[record["row"]].append(record)
    order = [name for name in (STUDENT, *ROWS) if name in runs]
    return {"rows": {name: _row(runs[name]) for name in order}, "verdicts": verdicts(runs)}


def _row(runs: Sequence[Record]) -> dict[str, Any]:
    """Rates and intervals of one row's seeds together, and when they reached half of the initial rate."""
    seeds = [wer(run) for run in runs]
    measured = {name: _rate(runs, [name]) for name in TEST_SETS} | {"both": _rate(runs, TEST_SETS)}
    return {**measured, "seeds": seeds, "half": _half(runs), "curve": _mean_curve(runs)}


def _rate(runs: Sequence[Record], sets: Sequence[str]) -> dict[str, Any]:
    errors, words, speakers = _pooled(runs, sets)
    return {"wer": float(errors.sum() / words.sum()), "ci": bootstrap_ci(errors, words, speakers)}


def _pooled(runs: Sequence[Record], sets: Sequence[str]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Errors and words of each utterance, summed over runs, and its speaker: seeds share their utterances."""
    errors, words = (
        np.sum([np.concatenate([run["final"][name][key] for name in sets]) for run in runs], axis=0)
        for key in ("errors", "words")
    )
    return errors, words, [speaker for name in sets for speaker in runs[0]["final"][name]["speakers"]]


def _half(runs: Sequence[Record]) -> dict[str, Any]:
    """Means over the seeds that reached half their initial rate, at the first evaluation that found it."""
    found = []
    for run in runs:
        rates = [(one["edits"] / one["words"], one) for one in run["curve"]]
        found += [one for rate, one in rates if rate <= rates[0][0] / 2][:1]
    samples, seconds = (fmean(one[key] for one in found) if found else None for key in ("samples", "seconds"))
    return {"reached": len(found), "of": len(runs), "samples": samples, "seconds": seconds}


def _mean_curve(runs: Sequence[Record]) -> list[dict[str, float]]:
    """At each evaluation: mean samples and seconds, and mean, lowest and highest rate of the seeds."""
    curve = []
    for at in zip(*(run["curve"] for run in runs), strict=True):
        rates = [one["edits"] / one["words"] for one in at]
        means = {key: fmean(one[key] for one in at) for key in ("step", "samples", "seconds")}
        curve.append({**means, "wer": fmean(rates), "low": min(rates), "high": max(rates)})
    return curve


def verdicts(runs: dict[str, list[Record]]) -> list[str]:
    """Alignment credit against sequence credit, and SFT against each row that learns from rewards (Holm-corrected)."""
    said = []
    if test := _compare(runs, "grpo", "grpo, alignment credit"):
        said.append(
            f"Alignment credit {_better_or_worse(test['delta'], test['p'])} than sequence credit under GRPO: "
            f"{_difference(test, test['p'])}."
        )
    tests = {name: test for name in FROM_REWARDS if (test := _compare(runs, name, "sft"))}
    if tests:
        adjusted = dict(zip(tests, holm([test["p"] for test in tests.values()]), strict=True))
        groups: dict[str, list[str]] = defaultdict(list)
        for name, test in tests.items():
            verb = _better_or_worse(test["delta"], adjusted[name])
            groups[verb].append(f"{name} ({_difference(test, adjusted[name])})")
        said += [f"SFT on the transcripts {verb} than {'; '.join(names)}." for verb, names in groups.items()]
    return said


def _compare(runs: dict[str, list[Record]], one: str, other: str) -> Any:
    """The paired test of `other` against `one` on both sets, over the seeds that both have."""
    common = {run["seed"] for run in runs.get(one, [])} & {run["seed"] for run in runs.get(other, [])}
    if not common:
        return None
    kept = [[run for run in runs[name] if run["seed"] in common] for name in (one, other)]
    (errors, words, speakers), (others, _, _) = (_pooled(some, TEST_SETS) for some in kept)
    return paired_bootstrap(errors, others, words, speakers, resamples=10_000)


def _better_or_worse(delta: float, p: float) -> str:
    if p > ALPHA:
        return "is neither better nor worse, as far as can be told,"
    return "is better" if delta < 0 else "is worse"


def _difference(test: Any, p: float) -> str:
    low, high = test["ci"]
    points = f"{100 * test['delta']:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"
    return f"{points}, {f'p = {p:.3f}' if p >= 0.001 else 'p < 0.001'}"


def write_report(summary: dict[str, Any], document: Path) -> None:
    """Put plot, table and verdicts between the document's marks, or into a new document."""
    document.parent.mkdir(parents=True, exist_ok=True)
    picture = document.with_suffix(".png")
    plot(summary["rows"], picture)
    image = f"![WER against completions, and after training]({picture.name})"
    block = "\n\n".join([BEGIN, image, table(summary["rows"]), *summary["verdicts"], END])
    text = document.read_text(encoding="utf-8") if document.exists() else f"{BEGIN}{END}\n"
    before, _, rest = text.partition(BEGIN)
    document.write_text(before + block + rest.partition(END)[2], encoding="utf-8")


def table(rows: dict[str, Any]) -> str:
    """Markdown, the best row first."""
    lines = [
        "| Row | WER of both sets | seeds | noisy | reverb | half at: samples | seconds | seconds in all |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in sorted(rows.items(), key=lambda item: item[1]["both"]["wer"]):
        half, curve = row["half"], row["curve"]
        seeds = f"{100 * min(row['seeds']):.1f} to {100 * max(row['seeds']):.1f}" if len(row["seeds"]) > 1 else ""
        missed = "" if half["reached"] == half["of"] else f" ({half['reached']} of {half['of']} seeds)"
        reached = f"{half['samples']:.0f}{missed} | {half['seconds']:.0f}" if half["reached"] else " | "
        spent = f"{curve[-1]['seconds']:.0f}" if curve else ""
        rates = [_with_ci(row["both"]), seeds, _with_ci(row["noisy"]), _with_ci(row["reverb"])]
        lines.append(f"| {' | '.join([f'`{name}`', *rates, reached, spent])} |")
    return "\n".join(lines)


def _with_ci(rate: dict[str, Any]) -> str:
    interval = f" [{100 * rate['ci'][0]:.1f}, {100 * rate['ci'][1]:.1f}]" if rate["ci"] else ""
    return f"{100 * rate['wer']:.1f}%{interval}"


def plot(rows: dict[str, Any], path: Path) -> None:
    """Left the rate against completions drawn, mean of seeds in their range; right the final rates of both sets."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 5.5), layout="constrained")
    curves, finals = figure.subplots(1, 2)
    colors = dict(zip(ROWS, colormaps["tab20"].colors, strict=False))  # type: ignore[attr-defined]
    initial = None
    for name in (name for name in rows if rows[name]["curve"]):
        start, *later = rows[name]["curve"]
        initial = initial or 100 * start["wer"]
        samples = [at["samples"] for at in later]
        curves.plot(samples, [100 * at["wer"] for at in later], color=colors[name], label=name, marker=".")
        low, high = ([100 * at[key] for at in later] for key in ("low", "high"))
        curves.fill_between(samples, low, high, color=colors[name], alpha=0.12, linewidth=0)
    if initial is not None:
        curves.axhline(initial, color="black", linewidth=0.8)
        curves.axhline(initial / 2, color="black", linewidth=0.8, linestyle=":", label="half of the initial rate")
        curves.legend(fontsize="small", ncols=2)
    curves.set(xscale="log", ylim=(0, None), xlabel="completions drawn (transcripts read, for sft)")
    curves.set(ylabel="WER of both sets (%), during training", title="mean and range of the seeds")

    order = sorted(rows, key=lambda name: -rows[name]["both"]["wer"])
    for shift, (name, marker) in zip((0.15, -0.15), zip(TEST_SETS, "os", strict=True), strict=True):
        for height, row in enumerate(order):
            rate, (low, high) = rows[row][name]["wer"], rows[row][name]["ci"] or [rows[row][name]["wer"]] * 2
            spread = [[100 * max(rate - low, 0)], [100 * max(high - rate, 0)]]
            label = name if height == 0 else None
            color = colors.get(row, "black")
            finals.errorbar(100 * rate, height + shift, xerr=spread, fmt=marker, color=color, capsize=3, label=label)
    finals.set_yticks(range(len(order)), order)
    finals.set(xlim=(0, None), xlabel="WER (%), 95% interval", title="after training")
    finals.legend()
    for axes in (curves, finals):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
