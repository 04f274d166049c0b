"""Loads a model by its name: a path, a hub id, RUN, RUN@STEP, or builtin:NAME."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import torch

from antiphon.errors import AntiphonError, ModelError, did_you_mean
from antiphon.models import audio_lm, classifier, ctc, encoder_decoder, lora, remote_lm, text_lm
from antiphon.models.complete import require_vocabulary, require_weights
from antiphon.models.policy import Policy
from antiphon.runs.find import find_run, list_runs, run_of

BUILTIN = "builtin:"
FORMS = "give a folder in save_pretrained form, a hub id, RUN, RUN@STEP or builtin:NAME"
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
CHECKPOINTS = Path(str(files("antiphon.builtin"))) / "checkpoints"


class _Head(NamedTuple):
    """Which models a policy supports, and how transformers loads them."""

    endings: str | tuple[str, ...]
    """How the names of their classes end."""
    loader: str
    """An auto class, or the very class."""
    types: Collection[str]
    """Of their configurations."""
    policy: Callable[..., Policy]
    processor: str = "AutoProcessor"


_HEADS = [
    *(_Head("", family.architecture, [name], audio_lm.AudioPrefixLM) for name, family in audio_lm.FAMILIES.items()),
    _Head(
        "ForConditionalGeneration",
        "AutoModelForSpeechSeq2Seq",
        encoder_decoder.FAMILIES,
        encoder_decoder.EncoderDecoder,
    ),
    _Head("ForCTC", "AutoModelForCTC", ctc.FAMILIES, ctc.CTC),
    _Head(
        ("ForSequenceClassification", "ForAudioClassification"),
        "AutoModelForAudioClassification",
        classifier.FAMILIES,
        classifier.Classifier,
        "AutoFeatureExtractor",
    ),
    _Head(("ForCausalLM", "LMHeadModel"), "AutoModelForCausalLM", text_lm.MODEL_TYPES, text_lm.TextLM),
]
_REMOTE = _Head("", "AutoModelForCausalLM", (), remote_lm.RemoteAudioLM)
"""For models of unknown type that bring their own code."""


def builtin_names() -> list[str]:
    """The recognizers that ship with the package."""
    return sorted(path.name for path in CHECKPOINTS.iterdir() if (path / "config.json").is_file())


def locate(spec: str, output: str | Path = "runs") -> str:
    """The folder or hub id that `spec` stands for. A run without a step means its latest checkpoint.

    Raises `ModelError` if it is neither, and `RunError` if a run has no such checkpoint.
    """
    if spec.startswith(BUILTIN):
        name = spec.removeprefix(BUILTIN)
        if name not in builtin_names():
            hint = did_you_mean(name, builtin_names(), show=lambda near: BUILTIN + near)
            raise ModelError(f"there is no built-in model {name!r}; {hint}")
        return str(CHECKPOINTS / name)
    found = find_run(spec, Path(output))
    if found is not None:
        run, step = found
        return str(run.checkpoints.at(step).path)
    if not Path(spec).is_dir() and not _HUB_ID.fullmatch(spec):
        names = [run.id for run in list_runs(Path(output))] + [BUILTIN + name for name in builtin_names()]
        hint = did_you_mean(spec.partition("@")[0], names, FORMS, cutoff=0.5)
        raise ModelError(f"no model {spec!r}: no folder, no run in {output} and no hub id (OWNER/NAME); {hint}")
    return spec


def pin(spec: str, output: str | Path = "runs") -> str:
    """`spec` with a run's latest checkpoint replaced by its step, so that a recipe keeps naming the same model."""
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
    trust_remote_code: bool = False,
) -> Policy:
    """The policy for a model and its processor, in eval mode; for a LoRA adapter, its base model with the adapter on.

    `trust_remote_code` runs Python code that comes with the weights, if the model needs it; for the checkpoint of a run
    it is enough that the run's recipe trusts it.

    Raises `ModelError` if transformers cannot load the model, its family is not supported, it needs code of its own
    that is not trusted, weights are missing or have another shape, the tokenizer has more tokens than the model, or an
    adapter's base model is missing.
    """
    import transformers

    place = locate(spec, output)
    trust_remote_code = trust_remote_code or is_trusted(spec, output)
    code = {"trust_remote_code": trust_remote_code}
    with _loading(spec, trust_remote_code):
        base = lora.base_of(place)
        weights = place if base is None else _require_base(base, spec, place)
        head = _head(transformers.AutoConfig.from_pretrained(weights, **code), spec)
        processor = getattr(transformers, head.processor).from_pretrained(weights, **code)
        model, report = getattr(transformers, head.loader).from_pretrained(
            weights, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True, **code
        )
    require_weights(report, spec)
    require_vocabulary(model, processor, spec)
    policy = head.policy(model.to(device), processor, block_tokens)
    if base is not None:
        lora.load_adapter(model, place)
    return policy


def is_trusted(spec: str, output: str | Path = "runs") -> bool:
    """Whether `spec` is a checkpoint of a run whose recipe has `trust_remote_code`."""
    run = None if spec.startswith(BUILTIN) else run_of(spec, Path(output))
    try:
        return run is not None and run.config.trust_remote_code
    except AntiphonError:  # A damaged recipe trusts nothing; its weights may still load.
        return False


@contextmanager
def _loading(spec: str, trust_remote_code: bool) -> Iterator[None]:
    """Turn transformers' loading errors into `ModelError`."""
    from safetensors import SafetensorError

    try:
        yield
    except AntiphonError:
        raise
    except (OSError, ValueError, SafetensorError) as error:
        if not trust_remote_code and "trust_remote_code" in str(error):
            raise ModelError(
                f"model {spec!r} comes with Python code that must run to load it; if you trust its author, "
                "set trust_remote_code: true (on the command line: --trust-remote-code)"
            ) from error
        raise ModelError(f"cannot load model {spec!r}: {str(error).splitlines()[0]} ({FORMS})") from error
    except ImportError as error:
        raise ModelError(f"cannot load model {spec!r}: {' '.join(str(error).split())}") from error


def _require_base(base: str, spec: str, place: str) -> str:
    if Path(base).is_dir() or _HUB_ID.fullmatch(base):
        return base
    raise ModelError(
        f"model {spec!r} is an adapter for the model {base!r}, which does not exist; restore it, or set "
        f"base_model_name_or_path in {place}/adapter_config.json to its place"
    )


def _head(config: Any, spec: str) -> _Head:
    """How to load a model with this configuration. Raises `ModelError` for an unsupported family."""
    names = config.architectures or []
    for head in _HEADS:
        if config.model_type in head.types and (not names or names[0].endswith(head.endings)):
            return head
    if "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {}):
        return _REMOTE
    known = sorted({model_type for head in _HEADS if head.policy is not text_lm.TextLM for model_type in head.types})
    raise ModelError(
        f"model {spec!r} is a {names[0] if names else config.model_type}, of an unsupported family; "
        f"supported model types: {', '.join(known)} and transformers' causal LMs"
    )
