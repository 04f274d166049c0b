"""Everything a step depends on, in one folder: the model as transformers saves it, and the optimiser beside it."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from antiphon.errors import RunError
from antiphon.train.trainer import Trainer

OPTIMIZER = "optimizer.safetensors"
STATE = "trainer.json"


def save_checkpoint(folder: Path, trainer: Trainer, step: int) -> None:
    """Fill `folder`; `step` is the number of steps done. No random state is needed: it derives from the step."""
    trainer.policy.save(folder)
    save_file({k: v.contiguous() for k, v in trainer.optimizer.state_tensors().items()}, folder / OPTIMIZER)
    (folder / STATE).write_text(json.dumps({"step": step, "torch": torch.__version__}))


def load_optimizer(folder: Path, trainer: Trainer) -> int:
    """Put the optimiser back where it was; the weights were loaded with the model. Returns the steps done."""
    try:
        step = json.loads((folder / STATE).read_text())["step"]
        trainer.optimizer.load_state_tensors(load_file(folder / OPTIMIZER))
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise RunError(
            f"{folder} cannot be resumed from: {error}; resume from another step (antiphon checkpoints RUN)"
        ) from error
    trainer.policy.version = step
    return step
