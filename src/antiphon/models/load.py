"""A model by what the user calls it: a path, a hub id, RUN, RUN@STEP, or builtin:NAME."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from antiphon.errors import ModelError
from antiphon.models import audio_lm, encoder_decoder
from antiphon.models.policy import Policy
from antiphon.runs.find import find_run, list_runs

BUILTIN = "builtin:"
FORMS = "give a folder in save_pretrained form, a hub id, RUN, RUN@STEP or builtin:NAME"
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_HEADS: list[tuple[str, str, Sequence[str], Callable[..., Policy]]] = [
    ("ForConditionalGeneration", "AutoModelForMultimodalLM", list(audio_lm.FAMILIES), audio_lm.AudioPrefixLM),
    (
        "ForConditionalGeneration",
        "AutoModelForSpeechSeq2Seq",
        list(encoder_decoder.FAMILIES),
        encoder_decoder.EncoderDecoder,
    ),
]
"""How the names of a family's classes end, transformers' loader of them, model types, policy."""
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
) -> Policy:
    """The policy for a model and its processor, in eval mode.

    Raises `ModelError` when the folder or hub id holds no model that transformers can load, or one of a family
    that antiphon does not know.
    """
    import transformers
    from safetensors import SafetensorError

    place = locate(spec, output)
    try:
        loader, family = _family(transformers.AutoConfig.from_pretrained(place), spec)
        processor = transformers.AutoProcessor.from_pretrained(place)
        model = getattr(transformers, loader).from_pretrained(place, dtype=dtype)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"cannot load model {spec!r}: {str(error).splitlines()[0]} ({FORMS})") from error
    return family(model.to(device), processor, block_tokens)


def _family(config: Any, spec: str) -> tuple[str, Callable[..., Policy]]:
    """The name of transformers' loader of a model with this configuration, and the policy over it."""
    names = config.architectures or []
    for ending, loader, types, family in _HEADS:
        if config.model_type in types and (not names or names[0].endswith(ending)):
            return loader, family
    known = sorted({model_type for _, _, types, _ in _HEADS for model_type in types})
    raise ModelError(
        f"model {spec!r} is a {names[0] if names else config.model_type}, of a family that antiphon does not know; "
        f"known model types: {', '.join(known)}"
    )
