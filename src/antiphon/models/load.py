"""A model by what the user calls it: a path, a hub id, RUN, RUN@STEP, or builtin:NAME."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import torch

from antiphon.errors import ModelError
from antiphon.models.audio_lm import AudioPrefixLM
from antiphon.runs.find import find_run, list_runs

BUILTIN = "builtin:"
FORMS = "give a folder in save_pretrained form, a hub id, RUN, RUN@STEP or builtin:NAME"
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
CHECKPOINTS = Path(str(files("antiphon.builtin"))) / "checkpoints"


def builtin_names() -> list[str]:
    """The recognisers that ship with the package."""
    return sorted(path.name for path in CHECKPOINTS.iterdir() if (path / "config.json").is_file())


def locate(spec: str, output: str | Path = "runs") -> str:
    """The folder or hub id that `spec` stands for. A run without a step means its latest checkpoint.

    Raises `ModelError` when it is none of these, `RunError` for a run without that checkpoint.
    """
    if spec.startswith(BUILTIN):
        name = spec.removeprefix(BUILTIN)
        if name not in builtin_names():
            close = difflib.get_close_matches(name, builtin_names(), n=1)
            hint = f"did you mean {BUILTIN}{close[0]}?" if close else f"there are: {', '.join(builtin_names())}"
            raise ModelError(f"there is no built-in model {name!r}; {hint}")
        return str(CHECKPOINTS / name)
    found = find_run(spec, Path(output))
    if found is not None:
        run, step = found
        return str(run.checkpoints.at(step).path)
    if not Path(spec).is_dir() and not _HUB_ID.fullmatch(spec):
        names = [run.id for run in list_runs(Path(output))] + [BUILTIN + name for name in builtin_names()]
        close = difflib.get_close_matches(spec.partition("@")[0], names, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else FORMS
        raise ModelError(f"no model {spec!r}: no folder, no run in {output} and no hub id (OWNER/NAME); {hint}")
    return spec


def pin(spec: str, output: str | Path = "runs") -> str:
    """`spec` with a run's latest checkpoint named by its step, so that a recipe means the same model tomorrow."""
    found = None if spec.startswith(BUILTIN) else find_run(spec, Path(output))
    if found is None:
        return spec
    run, step = found
    return f"{run.path}@{run.checkpoints.at(step).step}"


def load_policy(
    spec: str,
    device: torch.device,
    dtype: torch.dtype,
    block_tokens: Sequence[int] | str = "special",
    output: str | Path = "runs",
) -> AudioPrefixLM:
    """The policy for a model and its processor, in eval mode.

    Raises `ModelError` when the folder or hub id holds no model that transformers can load, or one of a family
    that antiphon does not know.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForMultimodalLM, AutoProcessor

    place = locate(spec, output)
    try:
        processor = AutoProcessor.from_pretrained(place)
        model = AutoModelForMultimodalLM.from_pretrained(place, dtype=dtype)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"cannot load model {spec!r}: {str(error).splitlines()[0]} ({FORMS})") from error
    return AudioPrefixLM(model.to(device), processor, block_tokens)
