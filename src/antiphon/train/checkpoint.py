"""Training checkpoints: one folder with the model as transformers or peft saves it, and the optimizer's state."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from antiphon.errors import ModelError, RunError
from antiphon.models import lora
from antiphon.train.trainer import Trainer

OPTIMIZER = "optimizer.safetensors"
AUDIO_CTC = "audio_ctc.safetensors"
STATE = "trainer.json"


def save_checkpoint(folder: Path, trainer: Trainer, step: int) -> None:
    """Fill `folder`; `step` is the number of steps done. No random state is saved, because it derives from the step.

    With LoRA only the adapter is saved, or the merged model with `lora.save: merged`.
    """
    policy, settings = trainer.policy, trainer.config.lora
    if settings and settings.save == "merged":
        policy.model.save_pretrained(folder / lora.ADAPTER)
        with lora.merged(policy.model):
            policy.save(folder)
    else:
        policy.save(folder)
    save_file({k: v.contiguous() for k, v in trainer.optimizer.state_tensors().items()}, folder / OPTIMIZER)
    if trainer.ctc is not None:
        save_file(trainer.ctc.head.state_dict(), folder / AUDIO_CTC)
    (folder / STATE).write_text(json.dumps({"step": step, "torch": torch.__version__}))


def load_checkpoint(folder: Path, trainer: Trainer) -> int:
    """Restore adapters and optimizer state. Returns the number of steps done.

    Without LoRA the policy must have been loaded from `folder`, with LoRA from the run's initial model. Raises
    `RunError` if the folder cannot be read or belongs to another model.
    """
    try:
        step = json.loads((folder / STATE).read_text())["step"]
        settings = trainer.config.lora
        if settings:
            place = folder / lora.ADAPTER if settings.save == "merged" else folder
            lora.load_adapter_tensors(trainer.policy.model, lora.read_tensors(str(place)))
        if trainer.ctc is not None:
            trainer.ctc.head.load_state_dict(load_file(folder / AUDIO_CTC))
        trainer.optimizer.load_state_tensors(load_file(folder / OPTIMIZER))
    except (OSError, KeyError, ValueError, RuntimeError, ModelError, SafetensorError) as error:
        raise RunError(
            f"{folder} cannot be resumed from: {error}; resume from another step (antiphon checkpoints RUN)"
        ) from error
    trainer.policy.version = step
    return step
