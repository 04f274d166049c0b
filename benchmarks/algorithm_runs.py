"""The runs of `algorithms.py`: what every algorithm is given, what differs between them, and what one run leaves."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import soundfile
import torch

from antiphon.config import Config, load_config
from antiphon.data.corpora.sets import SYNTHESIS_RATE, builtin_set
from antiphon.data.source import load_set
from antiphon.evaluate.decode import decoder
from antiphon.evaluate.recognize import evaluate
from antiphon.models.load import load_policy
from antiphon.rollout.engines.in_process import InProcessEngine
from antiphon.run.train import train
from antiphon.runs.folder import RunFolder
from antiphon.tasks.load import prompter
from antiphon.train.objectives import combined_needs, load_objectives
from antiphon.types import Example, Prompt

STUDENT = "builtin:student"
TRAIN_SETS = ("train-noisy", "train-reverb")
TEST_SETS = ("noisy", "reverb")

ROWS: dict[str, dict[str, Any]] = {
    "grpo": {"algorithm": "grpo"},
    "dr_grpo": {"algorithm": "dr_grpo"},
    "dapo": {"algorithm": "dapo"},
    "gspo": {"algorithm": "gspo"},
    "cispo": {"algorithm": "cispo"},
    "rloo": {"algorithm": "rloo"},
    "reinforce_pp": {"algorithm": "reinforce_pp"},
    "self_critical": {"algorithm": "self_critical"},
    "mwer": {"algorithm": "mwer"},
    "raft": {"algorithm": "raft"},
    "grpo, alignment credit": {"algorithm": {"name": "grpo", "credit": "alignment"}},
    "opd": {"algorithm": "opd", "teacher": "builtin:teacher"},
    "grpo + opd": {"algorithm": [{"name": "grpo"}, {"name": "opd"}], "teacher": "builtin:teacher"},
    "sft": {"algorithm": "sft", "rollout.group_size": 1},
}
"""What is set for each row on top of `settings`."""

FROM_REWARDS = tuple(name for name in ROWS if name not in ("opd", "grpo + opd", "sft"))
"""Rows that learn from the word error rate of their own answers alone."""

Record = dict[str, Any]
"""One run, as a line of the results: `row`, `seed` and `made_by`; `curve`, a list of evaluations during training, each
with `step`, `samples` and `seconds` of training up to it, `edits` and `words`; `final`, for each test set the `errors`,
`words` and `speakers` of its utterances."""


@dataclass(frozen=True)
class Work:
    """How much one run is."""

    steps: int = 80
    prompts: int = 12
    group: int = 8
    lr: float = 5e-4
    warmup: int = 20
    train: int = 480
    """Utterances of each training set."""
    every: int = 10
    """Steps between evaluations during training."""
    curve: int = 50
    """Utterances of each test set in those."""
    test: int = 200
    """Utterances of each test set after training."""


QUICK = Work(steps=2, prompts=2, group=2, warmup=1, train=4, every=1, curve=2, test=3)


def settings(work: Work, speech: Mapping[str, Path]) -> dict[str, Any]:
    """What all rows share. The parity gate, the guard and the best checkpoint would cost time and change nothing."""
    return {
        "model": STUDENT,
        "data.train": [str(speech[name]) for name in TRAIN_SETS],
        "data.eval": [str(speech[name]) for name in TEST_SETS],
        "reward": "wer",
        "rollout.prompts_per_step": work.prompts,
        "rollout.group_size": work.group,
        "rollout.max_new_tokens": 24,
        "optimizer.lr": work.lr,
        "optimizer.warmup_steps": work.warmup,
        "optimizer.schedule": "cosine",
        "optimizer.min_lr_ratio": 0.1,
        "train.steps": work.steps,
        "train.save_every": -1,
        "train.keep_best": False,
        "train.log_rollouts_every": work.steps + 1,
        "train.audio_copies": 0,
        "eval.every": work.every,
        "eval.limit": work.curve,
        "gate.enabled": False,
        "guard.action": "off",
        "device": "cpu",
    }


def speak(work: Work, folder: Path) -> dict[str, Path]:
    """Every set's clips as files, made once for all runs: the JSONL file of each set."""
    sizes = {**dict.fromkeys(TRAIN_SETS, work.train), **dict.fromkeys(TEST_SETS, work.test)}
    return {name: _spoken(name, size, folder / f"{name}-{size}") for name, size in sizes.items()}


def _spoken(name: str, size: int, folder: Path) -> Path:
    listing = folder / f"{name}.jsonl"
    if listing.exists():
        return listing
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for example in builtin_set(f"commands-{name}")[:size]:
        assert example.clip is not None
        soundfile.write(folder / f"{example.id}.wav", example.clip.load(SYNTHESIS_RATE), SYNTHESIS_RATE)
        row = {"audio": f"{example.id}.wav", "id": example.id, "text": example.text, "speaker": example.speaker}
        rows.append(json.dumps(row | {"language": example.language}))
    listing.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return listing


def run_row(row: str, seed: int, work: Work, speech: Mapping[str, Path]) -> Record:
    """Train one row from the student with one seed, and measure what came of it."""
    with tempfile.TemporaryDirectory() as output:
        flags = {**settings(work, speech), **ROWS[row], "seed": seed, "output": output}
        config = load_config(flags=flags)
        result = train(config, command=["benchmarks/algorithms.py", row])
        final = measure(str(result.checkpoint), config, speech)
        return _record(row, seed, work, _curve(result.run, config), final)


def run_student(work: Work, speech: Mapping[str, Path]) -> Record:
    """The model that every row starts from, as a run of no steps."""
    config = load_config(flags=settings(work, speech))
    return _record(STUDENT, 0, work, [], measure(STUDENT, config, speech))


def made_by(row: str, work: Work) -> Record:
    """What decides a run's outcome, beside its seed and the code: runs of other settings are not comparable."""
    return {**asdict(work), **ROWS.get(row, {})}


def _record(row: str, seed: int, work: Work, curve: list[dict[str, float]], final: dict[str, Any]) -> Record:
    return {"row": row, "seed": seed, "made_by": made_by(row, work), "curve": curve, "final": final}


def _curve(run: RunFolder, config: Config) -> list[dict[str, float]]:
    metrics, timings = run.metrics(), run.timings()
    greedy = combined_needs(load_objectives(config.algorithm)).greedy
    prompts, group = config.rollout.prompts_per_step, config.rollout.group_size
    assert prompts is not None
    assert group is not None
    drawn = [int(line.get("prompts_rolled_out", prompts)) * group + prompts * greedy for line in metrics]
    samples = [0, *accumulate(drawn)]
    seconds = [0.0, *accumulate(line["step_seconds"] for line in timings)]
    curve = []
    for step in sorted({one["step"] for one in run.evals()}):
        found = [one for one in run.evals() if one["step"] == step]
        edits, words = (sum(one[key] for one in found) for key in ("edits", "ref_words"))
        at = {"step": step, "samples": samples[step], "seconds": seconds[step]}
        curve.append({**at, "edits": edits, "words": words})
    return curve


def measure(model: str, config: Config, speech: Mapping[str, Path]) -> dict[str, dict[str, list[Any]]]:
    """Errors, words and speakers of each utterance of the test sets, in one order for all models."""
    policy = load_policy(model, torch.device("cpu"), torch.float32)
    decode, found = decoder(policy, InProcessEngine(policy), config.eval.batch_size), {}
    for name in TEST_SETS:
        examples, prompt = _test_set(str(speech[name]), policy.rate)
        _, rows = evaluate(policy, decode, examples, prompt, config.rollout.max_new_tokens)
        rows = sorted(rows, key=lambda row: row["id"])
        found[name] = {
            "errors": [row["wer_errors"] for row in rows],
            "words": [row["ref_words"] for row in rows],
            "speakers": [row["speaker"] for row in rows],
        }
    return found


@cache
def _test_set(path: str, rate: int) -> tuple[Sequence[Example], Callable[[Example], Prompt]]:
    """A test set and the prompts of its clips, which are read once for all runs."""
    config = load_config()
    examples, _ = load_set(path, config)
    return examples, prompter(config, rate)
