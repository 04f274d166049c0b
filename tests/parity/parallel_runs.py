"""Small runs of the parity tests of data parallel training; a script that torchrun starts, too.

    torchrun --nproc-per-node 2 parallel_runs.py FOLDER

resumes the run in FOLDER/killed as the command line does, trains each recipe into FOLDER/NAME, and then one whose
reward fails on rank 1. One start does it all: the imports take longer than a training.
"""

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

STEPS = 10
SHARED: dict[str, Any] = {
    "data.train": "builtin:commands-train",
    "data.limit": 40,
    "data.eval": "builtin:commands-noisy",
    "eval.limit": 5,
    "rollout.prompts_per_step": 3,
    "rollout.group_size": 4,
    "rollout.max_new_tokens": 12,
    "train.steps": STEPS,
    "train.log_rollouts_every": 5,
    "optimizer.lr": 1e-4,
    "eval.before": False,
    "eval.after": False,
    "gate.enabled": False,
    "threads": 1,
    "device": "cpu",
}
RECIPES: dict[str, dict[str, Any]] = {
    "student": {
        "algorithm": "grpo",
        "train.minibatches": 2,
        "eval.every": 5,
        "eval.patience": 3,
        "eval.before": True,
        "gate.enabled": True,
    },
    "whisper": {"model": "builtin:whisper", "algorithm": {"name": "grpo", "beta": 0.05}, "eval.after": True},
    "opd": {"algorithm": {"name": "opd", "loss": "reverse_kl"}, "teacher": "builtin:teacher"},
    "sum": {
        "algorithm": [{"name": "grpo"}, {"name": "opd", "weight": 0.5}],
        "teacher": "builtin:teacher",
    },
    "batch": {  # Statistics of the whole batch, prompts drawn again, and a KL that is charged in the reward.
        "model": "builtin:wav2vec2",
        "algorithm": {"name": "reinforce_pp", "beta": 0.05, "dynamic_sampling": 2},
        "train.steps": 5,
        # Adam moves a weight by the learning rate at first, even if its gradient is rounding. With 1e-4, two ways of
        # dividing this recipe into micro-batches differ by 2e-5 in one process, too.
        "optimizer.lr": 1e-6,
    },
    "alone": {  # Fewer prompts than ranks.
        "algorithm": {"name": "sft", "ctc_weight": 0.5},
        "rollout.prompts_per_step": 1,
        "train.minibatches": 1,
        "train.steps": 2,
    },
}


def fails_on_rank_1(sample: Any) -> float:
    """A reward."""
    if os.environ.get("RANK") == "1":
        raise ValueError("nothing to say")
    return float(sample.response == sample.label)


def killed_on_rank_1(sample: Any) -> float:
    """A reward that ends its process in the fifth step of four completions on rank 1, as a failing machine would."""
    global _asked
    _asked += 1
    if os.environ.get("RANK") == "1" and _asked == 18:
        os.kill(os.getpid(), signal.SIGKILL)
    return -float(abs(len(sample.response) - len(sample.label)))


_asked = 0


def overrides(name: str, folder: Path) -> dict[str, Any]:
    return SHARED | RECIPES[name] | {"output": str(folder / name), "name": name}


def train_all(folder: Path) -> None:
    from antiphon.config import load_config
    from antiphon.run.train import train
    from antiphon.train.objectives import recipe_defaults

    for name in RECIPES:
        train(load_config(None, overrides(name, folder), {}, recipe_defaults))


def fail(folder: Path) -> None:
    from antiphon.config import load_config
    from antiphon.run.train import train

    settings = overrides("student", folder) | {"output": str(folder / "failed"), "eval.before": False}
    train(load_config(None, settings, {}), reward=fails_on_rank_1)


def resume_killed(folder: Path) -> None:
    from antiphon.cli.main import main

    with contextlib.suppress(SystemExit):
        main(["train", "--resume", "latest", "--output", str(folder / "killed")])


if __name__ == "__main__":
    resume_killed(Path(sys.argv[1]))
    train_all(Path(sys.argv[1]))
    fail(Path(sys.argv[1]))
