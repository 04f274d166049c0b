"""The parts of a model by the names that recipes use, and freezing them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from torch import nn

from antiphon.errors import ConfigError
from antiphon.models.internals import Conv1D

_PLACES: dict[str, tuple[str, ...]] = {
    "audio_encoder": (
        "model.audio_tower",
        "model.encoder",
        "encoder",
        "wav2vec2",
        "hubert",
        "wav2vec2_bert",
        "audio_spectrogram_transformer",
    ),
    "feature_encoder": ("wav2vec2.feature_extractor", "hubert.feature_extractor"),
    "projector": ("model.multi_modal_projector", "model.projector", "projector"),
    "vision_encoder": ("model.visual",),
    "language_model": ("model.language_model",),
    "decoder": ("model.decoder",),
    "head": ("lm_head", "proj_out", "ctc_head", "classifier"),
}
"""Where transformers' classes keep each part; a model has the first of a row that it has."""


def parts(model: Any) -> dict[str, list[str]]:
    """The names of the modules that make up each part of `model`.

    `language_model` and `decoder` are all that writes: embeddings and head are within them, and parts of their own
    too. A child of the model that is in none of the parts is one under its own name.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    found = {part: [place] for part, places in _PLACES.items() if (place := _first(places, modules))}
    embeddings = [name for name, module in modules.items() if module is token_embeddings(model)]
    if embeddings:
        found["embeddings"] = embeddings
        if not found.keys() & {"language_model", "decoder"}:
            found["language_model"] = [name for name, module in modules.items() if module is model.get_decoder()]
        for writer in found.keys() & {"language_model", "decoder"}:
            found[writer] += found.get("head", [])
    named = [place for places in found.values() for place in places]
    for name, child in model.named_children():
        if any(True for _ in child.parameters()) and not any(_within(place, [name]) for place in named):
            found[name] = [name]
    return found


def freeze(model: Any, names: Sequence[str]) -> None:
    """Take the named parts out of training: their parameters get no gradient, hence no optimizer state.

    Raises `ConfigError` if the model lacks a named part, if a part shares a weight with a trained part, or if nothing
    would be left to train.
    """
    if not names:
        return
    there = parts(model)
    for name in names:
        if name not in there:
            raise ConfigError(f"'freeze': this {type(model).__name__} has no {name!r}; its parts: {_listed(there)}")
    frozen = [place for name in names for place in there[name]]
    owners: dict[int, list[str]] = defaultdict(list)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners[id(parameter)].append(name)
    for parameter in model.parameters():
        own = owners[id(parameter)]
        outside = [name for name in own if not _within(name, frozen)]
        if outside and len(outside) < len(own):
            others = {part: places for part, places in there.items() if _within(outside[0], places)}
            raise ConfigError(
                f"'freeze': {outside[0]} is one weight with {next(name for name in own if name not in outside)}, which "
                f"would be frozen; name its part as well ({_listed(others)}), or neither"
            )
        if not outside:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError(f"'freeze' leaves nothing to train; this {type(model).__name__} has {_listed(there)}")


def linear_layers(model: Any, names: Sequence[str] | None = None, without: Sequence[str] = ()) -> list[str]:
    """The names of the linear layers of `model`, without those of the head, of what sees, and of the parts `without`.

    `names` narrows them to parts, and to layers whose name ends so (`q_proj`, `self_attn.q_proj`). Raises
    `ConfigError` for a name that none is of.
    """
    there = parts(model)
    out = [place for part in (*without, "head", "vision_encoder") for place in there.get(part, [])]
    every = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and not _within(name, out)
    ]
    if names is None:
        return every
    chosen: dict[str, None] = {}
    for wanted in names:
        of_it = [name for name in every if _within(name, there.get(wanted, [])) or f".{name}".endswith(f".{wanted}")]
        if not of_it:
            endings = sorted({name.rpartition(".")[2] for name in every})
            raise ConfigError(
                f"'lora.target': no linear layer that could be adapted is of {wanted!r}; there are the parts "
                f"{_listed(there)}, and layers that end in {', '.join(endings)}"
            )
        chosen |= dict.fromkeys(of_it)
    return list(chosen)


def _first(places: Sequence[str], modules: dict[str, nn.Module]) -> str | None:
    return next((place for place in places if place in modules), None)


def token_embeddings(model: Any) -> nn.Embedding | None:
    """The table of token embeddings; None for models that read no tokens."""
    try:
        embeddings = model.get_input_embeddings()
    except NotImplementedError:
        return None
    return embeddings if isinstance(embeddings, nn.Embedding) else None


def _within(name: str, places: Sequence[str]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def _listed(found: dict[str, list[str]]) -> str:
    return ", ".join(sorted(found))
