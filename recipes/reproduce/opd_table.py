"""On-policy distillation against its controls, at small scale: the table of arXiv 2605.28139, with the row it lacks.

    python recipes/reproduce/opd_table.py [--seeds 3] [--output runs/opd-table] [--json]

`builtin:student` has heard quiet rooms alone, `builtin:teacher` noise, hurry and reverberation too. Both meet 6400
clips of spoken commands, two fifths clean and one fifth each noisy, fast and reverberant, by voices that the student
never heard. The rows:

    Base          the student as it is
    Base+SFT      supervised learning from the true transcripts: the control that has what the others lack
    Base+OPD      the student answers, the teacher judges every token; no transcripts
    Base+TD       the teacher transcribes, the student learns its words (teacher data); no transcripts
    Base+TD+OPD   OPD after TD: twice the steps of the other rows
    Teacher       what can be hoped for

Each training makes the same number of steps over the same clips in the same order, with the same optimizer. The five
test sets are other voices: clean, noisy, fast, unseen accents, reverberant. The text of the clips is not in the file
that OPD and TD read. WERs are means over the seeds. Their 95% intervals resample the speakers of a test set, each
with its errors under all seeds: they are about other speakers, and the spread over seeds is given beside them.

What is finished is kept in the output folder, and a second call goes on from there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import cpu_count, get_context
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from antiphon.config import Config, load_config
from antiphon.data.corpora.sets import CONDITIONS, SYNTHESIS_RATE, TEST_SETS, make_example
from antiphon.data.source import load_set
from antiphon.distributed.device import prepare_cpu, resolve_device, resolve_dtype
from antiphon.evaluate.bootstrap import bootstrap_ci, paired_bootstrap
from antiphon.evaluate.decode import decoder
from antiphon.evaluate.recognize import evaluate
from antiphon.models.load import load_policy
from antiphon.rollout.engines.in_process import InProcessEngine
from antiphon.run.components import pinned
from antiphon.run.train import train
from antiphon.runs import atomic, evals
from antiphon.runs.find import list_runs
from antiphon.runs.folder import RunFolder
from antiphon.tasks.load import prompter

TRAIN_CONDITIONS = ("clean", "noisy", "clean", "fast", "reverb")
SETS = {name: f"builtin:commands-{name}" for name in TEST_SETS}
HARD = [name for name in TEST_SETS if name != "clean"]
TEACHER = "builtin:teacher"
ROWS = ("Base", "Base+SFT", "Base+OPD", "Base+TD", "Base+TD+OPD", "Teacher")
SFT, OPD = {"algorithm": "sft"}, {"algorithm": "opd", "teacher": TEACHER}
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "Base+SFT": ("transcribed", SFT),
    "Base+OPD": ("untranscribed", OPD),
    "Base+TD": ("untranscribed", {**SFT, "labels": {"model": TEACHER, "min_confidence": 0.5}}),
    "Base+TD+OPD": ("untranscribed", OPD),
}
"""Of each trained row, the list of clips and the keys in which it differs."""
CHAINS = (("Base+TD", "Base+TD+OPD"), ("Base+OPD",), ("Base+SFT",))
"""Rows of which each starts from the one before."""
PAIRS = (
    ("Base+OPD", "Base"),
    ("Base+TD", "Base+OPD"),
    ("Base+TD+OPD", "Base+OPD"),
    ("Base+TD+OPD", "Base+TD"),
    ("Base+SFT", "Base+OPD"),
)
"""Rows that are compared over all five sets."""

Rows = list[dict[str, Any]]
"""An evaluation: one row an utterance."""


@dataclass(frozen=True)
class Size:
    """How much is done."""

    clips: int = 6400
    test: int = 200
    steps: int = 200
    prompts: int = 32


QUICK = Size(clips=8, test=4, steps=2, prompts=4)


def write_clips(folder: Path, size: Size) -> None:
    """The training clips as WAV files, beside one list of them with texts and languages, and one without."""
    if (folder / "untranscribed.jsonl").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    transcribed, untranscribed = [], []
    for index in range(size.clips):
        condition = CONDITIONS[TRAIN_CONDITIONS[index % len(TRAIN_CONDITIONS)]]
        example = make_example("commands", "opd-table", replace(condition, split="more"), index)
        assert example.clip is not None
        row = {"id": example.id, "audio": f"{example.id}.wav"}
        soundfile.write(folder / row["audio"], example.clip.load(SYNTHESIS_RATE), SYNTHESIS_RATE, subtype="FLOAT")
        transcribed.append({**row, "text": example.text, "language": "en"})
        untranscribed.append(row)
    for name, rows in (("transcribed", transcribed), ("untranscribed", untranscribed)):
        atomic.write_text(folder / f"{name}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def recipe(output: Path, size: Size, seed: int, model: str, data: Path, method: dict[str, Any]) -> Config:
    """One training; `method` has the keys in which the rows differ."""
    settings = {
        "model": model,
        "data.train": str(data),
        "data.eval": list(SETS.values()),
        "rollout.prompts_per_step": size.prompts,
        "rollout.group_size": 1,
        "rollout.max_new_tokens": 24,
        "optimizer.lr": 5e-4,
        "optimizer.warmup_steps": 20,
        "optimizer.schedule": "cosine",
        "optimizer.min_lr_ratio": 0.1,
        "train.steps": size.steps,
        "train.save_every": -1,
        "train.log_rollouts_every": 50,
        "train.audio_copies": 0,
        "eval.limit": size.test,
        "eval.before": False,
        "gate.enabled": False,
        "guard.action": "off",
        "device": "cpu",
        "seed": seed,
        "output": str(output),
        **method,
    }
    return load_config(flags=settings)


def trained(config: Config) -> RunFolder:
    """The finished run of a recipe in its own folder: made before, continued, or made now."""
    newest = next(iter(list_runs(Path(config.output))), None)
    if newest and newest.status.state == "finished" and newest.config == pinned(config):
        return newest
    return train(config, resume="auto").run


def checkpoint(run: RunFolder) -> str:
    """The path of a run's last weights."""
    latest = run.checkpoints.latest()
    assert latest is not None
    return str(latest.path)


def train_rows(output: Path, size: Size, seed: int, chain: Sequence[str]) -> dict[str, RunFolder]:
    """The rows of a `chain` for one seed, each from the one before."""
    runs: dict[str, RunFolder] = {}
    model = "builtin:student"
    for row in chain:
        data, method = METHODS[row]
        config = recipe(output / f"{row}-seed{seed}", size, seed, model, output / "clips" / f"{data}.jsonl", method)
        runs[row] = trained(config)
        model = checkpoint(runs[row])
    return runs


def train_all(output: Path, size: Size, seeds: int, jobs: int) -> None:
    """Every row of every seed, `jobs` at a time and on a thread each: small models gain little from a second one."""
    work = [(seed, chain) for chain in CHAINS for seed in range(seeds)]  # The longest first.
    forks = get_context("forkserver")  # One that has imported everything; each process is a fork of it.
    forks.set_forkserver_preload([train.__module__])
    with ProcessPoolExecutor(jobs, forks, prepare_cpu, (1,)) as pool:
        trainings = {pool.submit(train_rows, output, size, seed, chain): (seed, chain) for seed, chain in work}
        for done in as_completed(trainings):
            done.result()
            seed, chain = trainings[done]
            print(f"seed {seed}  {', '.join(chain)}", flush=True)


def evaluate_builtin(folder: Path, model: str, size: Size) -> dict[str, Rows]:
    """A model that is not trained here on the five sets."""
    missing = [name for name in SETS if not (folder / evals.eval_name(name, 0)).exists()]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        device = resolve_device("cpu")
        policy = load_policy(model, device, resolve_dtype("auto", device))
        decode, config = decoder(policy, InProcessEngine(policy), 64), load_config()
        prompt = prompter(config, policy.rate)
        for name in missing:
            examples, _ = load_set(SETS[name], config, size.test)
            summary, rows = evaluate(policy, decode, examples, prompt, 24)
            evals.save_eval(folder, name, 0, summary, rows)
    return {name: evals.read_rows(folder, name, 0) for name in SETS}


def collect(output: Path, size: Size, seeds: int) -> dict[str, dict[str, list[Rows]]]:
    """Row -> test set -> the evaluation of each seed."""
    found: dict[str, dict[str, list[Rows]]] = {row: {name: [] for name in SETS} for row in ROWS}
    for row, model in (("Base", "builtin:student"), ("Teacher", TEACHER)):
        for name, rows in evaluate_builtin(output / row, model, size).items():
            found[row][name].append(rows)
    for seed in range(seeds):
        for chain in CHAINS:
            for row, run in train_rows(output, size, seed, chain).items():
                for name in SETS:
                    found[row][name].append(run.eval_rows(f"commands-{name}", size.steps))
    return found


def pooled(seeds: Sequence[Rows]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Mean errors over the seeds, words and speakers of the utterances, in the order of their ids."""
    ordered = [sorted(rows, key=lambda row: row["id"]) for rows in seeds]
    errors = np.mean([[row["wer_errors"] for row in rows] for rows in ordered], axis=0)
    words = np.array([row["ref_words"] for row in ordered[0]])
    return errors, words, [row["speaker"] for row in ordered[0]]


def cell(seeds: Sequence[Rows]) -> dict[str, Any]:
    """WER over all seeds with its interval, and each seed's own."""
    errors, words, speakers = pooled(seeds)
    each = [sum(row["wer_errors"] for row in rows) / words.sum() for rows in seeds]
    return {
        "wer": float(errors.sum() / words.sum()),
        "ci": list(bootstrap_ci(errors, words, speakers) or (0.0, 1.0)),
        "seeds": [float(one) for one in each],
    }


def compare(found: dict[str, dict[str, list[Rows]]], a: str, b: str) -> dict[str, Any]:
    """Paired over all five sets: the mean WER of row `a` less that of row `b`, every set's words together."""
    sides = [[pooled(found[row][name]) for name in SETS] for row in (a, b)]
    errors_a, errors_b = (np.concatenate([errors for errors, _, _ in side]) for side in sides)
    words = np.concatenate([words for _, words, _ in sides[0]])
    speakers = [speaker for _, _, of_set in sides[0] for speaker in of_set]
    test = paired_bootstrap(errors_b, errors_a, words, speakers)
    assert test is not None
    return {"row": a, "against": b, "delta": test["delta"], "ci": list(test["ci"]), "p": test["p"]}


def verdict(rows: dict[str, dict[str, Any]]) -> list[str]:
    """What the table says of the claims, whichever way it falls."""
    lower = [name for name in HARD if rows["Base+OPD"][name]["wer"] < rows["Base"][name]["wer"]]
    apart = [name for name in HARD if rows["Base+OPD"][name]["ci"][1] < rows["Base"][name]["ci"][0]]
    mean = {row: float(np.mean([rows[row][name]["wer"] for name in SETS])) for row in ROWS}
    order = sorted(mean, key=lambda row: -mean[row])
    return [
        f"OPD lowers the WER on {len(lower)} of {len(HARD)} hard sets ({', '.join(lower) or 'none'}), "
        f"with intervals apart on {len(apart)} ({', '.join(apart) or 'none'}).",
        "From the worst mean over the sets to the best: "
        + " > ".join(f"{row} {100 * mean[row]:.1f}%" for row in order)
        + "; the paper has Base > +OPD > +TD+OPD.",
    ]


def table(rows: dict[str, dict[str, Any]], comparisons: Sequence[dict[str, Any]], said: Sequence[str]) -> str:
    """Markdown: WER with its interval, below it the seeds' range, and the comparisons."""
    lines = [f"| | {' | '.join(SETS)} |", "|---" * (len(SETS) + 1) + "|"]
    for row, cells in rows.items():
        shown = []
        for one in cells.values():
            low, high = (f"{100 * value:.1f}" for value in one["ci"])
            spread = f"; seeds {100 * min(one['seeds']):.1f} to {100 * max(one['seeds']):.1f}"
            shown.append(f"{100 * one['wer']:.1f}% ({low} to {high}{spread if len(one['seeds']) > 1 else ''})")
        lines.append(f"| {row} | {' | '.join(shown)} |")
    lines += ["", "| All five sets, paired | WER difference | 95% interval | p |", "|---|---|---|---|"]
    for one in comparisons:
        low, high = (f"{100 * value:+.2f}" for value in one["ci"])
        lines.append(
            f"| {one['row']} − {one['against']} | {100 * one['delta']:+.2f} | {low} to {high} | {one['p']:.3f} |"
        )
    return "\n".join([*lines, "", *said]) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each row")
    parser.add_argument("--output", type=Path, default=Path("runs/opd-table"), help="folder for clips, runs and table")
    parser.add_argument(
        "--jobs", type=int, default=cpu_count(), help="trainings at a time, as many as cores by default"
    )
    parser.add_argument("--quick", action="store_true", help="two steps on eight clips, to see that it works")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    given = parser.parse_args(arguments)
    size, output = (QUICK, given.output / "quick") if given.quick else (Size(), given.output)
    prepare_cpu(1)
    write_clips(output / "clips", size)
    train_all(output, size, given.seeds, given.jobs)
    found = collect(output, size, given.seeds)
    rows = {row: {name: cell(seeds) for name, seeds in of_row.items()} for row, of_row in found.items()}
    comparisons = [compare(found, a, b) for a, b in PAIRS]
    said = verdict(rows)
    text = table(rows, comparisons, said)
    atomic.write_text(output / "table.md", text)
    print(f"\n{text}")
    if given.json:
        print(json.dumps({"rows": rows, "comparisons": comparisons, "verdict": said}))


if __name__ == "__main__":
    main()
