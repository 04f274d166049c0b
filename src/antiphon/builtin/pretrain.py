"""Trains the built-in recognizers from scratch: `python -m antiphon.builtin.pretrain student --out DIR`.

Supervised training on synthesized `digits` and `commands`: cross-entropy of the transcript, with an auxiliary CTC
loss on the audio states (Graves et al. 2006), which teaches the encoder to align in a few hundred steps; CTC alone
for wav2vec2. The student, Whisper and wav2vec2 train on voices in quiet rooms and on the telephone. The teacher also
trains on loud noise, reverberation and fast speech, and is then refined on many further voices.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from antiphon.builtin import architecture, wav2vec2, whisper
from antiphon.builtin.speech import BATCH, batches, make_pool
from antiphon.distributed.device import prepare_cpu

CTC_WEIGHT = 0.5
TEXT_MLP_WIDTH = 476
"""Of the shipped teacher: four units a layer fewer than it was trained with keep it under 2.5 M parameters."""


@dataclass(frozen=True)
class Plan:
    """How one recognizer is trained."""

    family: ModuleType
    """Has `build_processor`, `features`, `Collator`, `ctc_head` and `losses`."""
    build: Callable[[Any], Any]
    """Processor -> an untrained model."""
    speech: str
    """Its training data: a key of `SPEECH`."""
    steps: int
    pool: int
    """Utterances."""
    peak_lr: float = 1.5e-3
    bfloat16: bool = False
    """Whether passes compute in bfloat16, with attention written out: on CPUs that have it, about half the time."""
    short_first: bool = False
    refines: bool = False
    """Whether it goes on from a recognizer, which aligns already and needs no auxiliary CTC."""


_student, _teacher = (partial(architecture.build_model, architecture.SIZES[name]) for name in ("student", "teacher"))
PLANS = {
    "student": Plan(architecture, _student, "student", steps=3600, pool=16000),
    "teacher": Plan(architecture, _teacher, "teacher", steps=4600, pool=24000),
    "teacher-refined": Plan(
        architecture, _teacher, "teacher-refined", steps=2000, pool=16000, peak_lr=8e-4, refines=True
    ),
    "whisper": Plan(whisper, whisper.build_model, "student", steps=3200, pool=16000, bfloat16=True, short_first=True),
    "wav2vec2": Plan(
        wav2vec2, wav2vec2.build_model, "student", steps=2400, pool=16000, bfloat16=True, short_first=True
    ),
}


def pretrain(
    name: str, out: Path, start: Path | None = None, seed: int = 0, steps: int | None = None, workers: int = 2
) -> None:
    """Train the recognizer `name` of `PLANS` from scratch, or refine the one in `start`; save it, in half precision,
    as transformers does."""
    started = time.perf_counter()
    plan = PLANS[name]
    steps = steps or plan.steps
    pool = make_pool(plan.family.__name__, plan.speech, min(plan.pool, steps * BATCH), seed, workers)
    print(f"{len(pool)} utterances in {time.perf_counter() - started:.0f} s", flush=True)

    torch.manual_seed(seed)
    processor = plan.family.build_processor()
    collate = plan.family.Collator(processor)
    model = plan.build(processor)
    if start is not None:
        model = type(model).from_pretrained(start, dtype=torch.float32)
    model.train()
    ctc_head = None if plan.refines else plan.family.ctc_head(model)
    if plan.bfloat16:
        model.set_attn_implementation("eager")
    parameters = [*model.parameters(), *(ctc_head.parameters() if ctc_head else ())]
    print(f"{name}: {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters", flush=True)
    optimizer = torch.optim.AdamW(parameters, lr=plan.peak_lr, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, plan.peak_lr, total_steps=steps, pct_start=0.08, final_div_factor=100
    )
    for step, batch in enumerate(batches(pool, steps, seed, plan.short_first), 1):
        with torch.autocast("cpu", torch.bfloat16, enabled=plan.bfloat16):
            loss, ctc = plan.family.losses(model, ctc_head, collate(batch))
        (loss + CTC_WEIGHT * ctc).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 100 == 0 or step == steps:
            seconds = time.perf_counter() - started
            print(f"step {step}  loss {loss:.3f}  auxiliary ctc {ctc:.3f}  {seconds:.0f} s", flush=True)
    if name == "teacher-refined":
        architecture.prune_text_mlp(model, TEXT_MLP_WIDTH)
    model.half().save_pretrained(out)
    processor.save_pretrained(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(PLANS))
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint")
    parser.add_argument("--start", type=Path, help="the checkpoint that teacher-refined goes on from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=None, help="fewer steps for a trial")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    if PLANS[arguments.name].refines != (arguments.start is not None):
        parser.error("teacher-refined needs --start FOLDER with the teacher to refine; the others start from scratch")
    prepare_cpu(arguments.threads)
    pretrain(arguments.name, arguments.out, arguments.start, arguments.seed, arguments.steps, arguments.threads)


if __name__ == "__main__":
    main()
