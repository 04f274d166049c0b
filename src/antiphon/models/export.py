"""Exports a model as one folder that transformers and vLLM load directly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from antiphon.errors import ModelError, RunError
from antiphon.models import lora
from antiphon.models.internals import has_adapter
from antiphon.models.load import is_trusted, load_policy, locate
from antiphon.runs import atomic


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: Path
    architecture: str
    form: str
    """`whole` or `adapter`."""
    dtype: torch.dtype
    bytes: int


def export_model(
    spec: str,
    folder: Path,
    adapter_only: bool = False,
    dtype: torch.dtype | None = None,
    output: str | Path = "runs",
    trust_remote_code: bool = False,
) -> Exported:
    """Write the model `spec` to the new `folder`: weights, configuration and processor in `save_pretrained` form.

    An adapter is merged into its model in fp32; `adapter_only` writes only the adapter, in peft's form. `dtype` is that
    of the written weights: by default that of the model, or of its adapter if it has one, because rounding could erase
    the adapter's update.

    Raises `RunError` if the folder is not empty or cannot be written, and `ModelError` if there is no such model or
    no adapter.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise RunError(f"{folder} exists already and is not overwritten; give the name of a new folder")
    place = locate(spec, output)
    beside = Path(place) / lora.ADAPTER
    source = str(beside) if adapter_only and beside.is_dir() else place
    policy = load_policy(source, torch.device("cpu"), torch.float32, output=output, trust_remote_code=trust_remote_code)
    model = policy.model
    if adapter_only and not has_adapter(model):
        raise ModelError(f"model {spec!r} has no adapter; leave --adapter-only out to export all of it")
    if has_adapter(model) and not adapter_only:
        lora.merge(model)
    kept = dtype or stored_dtype(source, trust_remote_code or is_trusted(source, output))
    model.to(kept)
    with atomic.naming(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic.atomic_dir(folder) as aside:
        policy.save(aside)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return Exported(folder, type(model).__name__, "adapter" if adapter_only else "whole", kept, size)


def stored_dtype(place: str, trust_remote_code: bool) -> torch.dtype:
    """The dtype of an adapter's tensors, or of a model's configuration; fp32 if it names none."""
    from transformers import AutoConfig

    if lora.base_of(place) is not None:
        return next(iter(lora.read_tensors(place).values())).dtype
    config = AutoConfig.from_pretrained(place, trust_remote_code=trust_remote_code)
    return config.dtype if isinstance(config.dtype, torch.dtype) else torch.float32
