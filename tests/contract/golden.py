"""Ten steps of three algorithms on a tiny model, from its recipe to its metrics.jsonl.

Run as a script it writes golden.json anew, for a change that is meant to change what a run writes:

    .venv/bin/python tests/contract/golden.py
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch

from antiphon.builtin.architecture import Size, build_model, build_processor
from antiphon.config import load_config
from antiphon.models.audio_lm import AudioPrefixLM
from antiphon.run.train import train

FIGURES = Path(__file__).with_name("golden.json")
METRICS = (
    "loss",
    "grad_norm",
    "lr",
    "reward_mean",
    "reward_group_std",
    "tokens_mean",
    "surprisal",
    "entropy",
    "kl_reference",
    "divergence",
)
"""Those that an algorithm lacks are left out."""
SIZE = Size(width=16, audio_layers=1, text_layers=1, heads=2, feed_forward=32, conv_channels=4)
TEXTS = ("one two three", "seven", "four oh nine two", "eight eight", "six one", "three five nine zero")
RUNS = {
    "grpo": ["algorithm={{name: grpo, beta: 0.05}}", "train.minibatches=2"],
    "gspo": ["algorithm=gspo", "train.epochs=2"],
    "opd": ["algorithm=opd", "teacher={folder}/teacher", "rollout.group_size=2"],
}
RECIPE = [
    "model={folder}/student",
    "data.train={folder}/train.jsonl",
    "output={folder}/runs",
    "reward={{name: wer, unit: char, cap: null}}",
    "rollout.prompts_per_step=4",
    "rollout.group_size=4",
    "rollout.max_new_tokens=8",
    "optimizer.lr=1e-3",
    "optimizer.schedule=cosine",
    "optimizer.warmup_steps=2",
    "train.steps=10",
    "train.save_every=-1",
    "train.max_tokens_per_batch=200",
    "gate.enabled=false",
    "device=cpu",
    "dtype=float32",
    "threads=1",
]


def write_model(folder: Path, seed: int) -> None:
    """A tiny recognizer whose weights depend on nothing but their names, their sizes and the seed."""
    generator = torch.Generator().manual_seed(seed)
    processor = build_processor()
    model = build_model(SIZE, processor)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            if parameter.dim() > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5, generator=generator)
    policy = AudioPrefixLM(model, processor)
    with torch.no_grad():
        model.lm_head.weight[sorted(policy.stop_ids)] *= 2.6  # Stops often, so that lengths differ.
    policy.save(folder)


def write_data(folder: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for i, text in enumerate(TEXTS):
        soundfile.write(folder / f"{i}.wav", 0.1 * rng.standard_normal(3200 + 800 * i), 16000)
        id = hashlib.sha256(f"{i}.wav\n0.0\nNone".encode()).hexdigest()[
            :16
        ]  # Seeds what is sampled, wherever the set is.
        rows.append(json.dumps({"audio": f"{i}.wav", "text": text, "id": id}) + "\n")
    (folder / "train.jsonl").write_text("".join(rows))


def figures(folder: Path) -> Iterator[tuple[str, dict[str, list[float]]]]:
    """Each algorithm with its metrics, step by step."""
    write_data(folder)
    write_model(folder / "student", 0)
    write_model(folder / "teacher", 1)
    for name, overrides in RUNS.items():
        config = load_config(None, [one.format(folder=folder) for one in (*RECIPE, *overrides)])
        lines = (train(config).run.path / "metrics.jsonl").read_text().splitlines()
        steps = [json.loads(line) for line in lines]
        yield name, {metric: [step[metric] for step in steps] for metric in METRICS if metric in steps[0]}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        FIGURES.write_text(json.dumps(dict(figures(Path(place))), indent=1) + "\n")
