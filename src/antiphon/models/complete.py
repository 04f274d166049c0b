"""Checks that a checkpoint has every weight of its model, and a tokenizer that fits it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from antiphon.errors import ModelError
from antiphon.models.submodules import token_embeddings

_OPTIONAL = re.compile(r"(^|\.)masked_spec_embed$")
"""Weights used only in pre-training: checkpoints omit them, and no policy reads them."""
_SHOWN = 5


def require_weights(report: Mapping[str, Any], spec: str) -> None:
    """Raises `ModelError` if transformers' loading report names missing weights or weights of another shape.

    transformers would initialize them at random. Tied weights are not among them.
    """
    listed = sorted(name for name in report["missing_keys"] if not _OPTIONAL.search(name))
    listed += [f"{name} ({list(theirs)}, not {list(ours)})" for name, theirs, ours in sorted(report["mismatched_keys"])]
    if listed:
        more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
        raise ModelError(
            f"the checkpoint of model {spec!r} does not match its configuration: {', '.join(listed[:_SHOWN])}{more} "
            "would be random; use a checkpoint of the whole model, with the head of its task"
        )


def require_vocabulary(model: Any, processor: Any, spec: str) -> None:
    """Raises `ModelError` if the tokenizer has tokens without an embedding in the model.

    Tokens that the model never reads or writes are exempt: audio placeholders, and special tokens of CTC models.
    """
    tokenizer = getattr(processor, "tokenizer", processor)
    if not hasattr(tokenizer, "get_vocab"):
        return
    embeddings = token_embeddings(model)
    rows = int(model.config.vocab_size if embeddings is None else embeddings.num_embeddings)
    unread = {getattr(model.config, "audio_token_id", None)}
    if embeddings is None:
        unread |= set(tokenizer.all_special_ids)
    beyond = {index: token for token, index in tokenizer.get_vocab().items() if index >= rows and index not in unread}
    if beyond:
        first = min(beyond)
        raise ModelError(
            f"the tokenizer of model {spec!r} does not fit it: token {beyond[first]!r} has the id {first}, but the "
            f"model has only {rows} ids, from 0; use the tokenizer that it was trained with, or resize its embeddings"
        )
