"""The models of one server, and the inputs that each supports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from antiphon.models.policy import Policy
from antiphon.serve.errors import RequestError, short
from antiphon.serve.service import Service
from antiphon.tasks.asr import INSTRUCTION
from antiphon.types import Prompt


class Services:
    """The models of one server."""

    def __init__(self, services: Sequence[Service], aliases: Mapping[str, str]) -> None:
        """`aliases` are further names, each with the name of its service."""
        self._all = list(services)
        own = {service.name: service for service in services}
        self.by_name = own | {alias: own[name] for alias, name in aliases.items()}

    def __iter__(self) -> Iterator[Service]:
        return iter(self._all)

    @property
    def first(self) -> Service:
        return self._all[0]

    def named(self, name: str | None) -> Service:
        """The model of a request; the first one by default. Raises `RequestError` 404 for an unknown model."""
        if name is None:
            return self.first
        if name not in self.by_name:
            names = " or ".join(map(repr, self.by_name))
            raise RequestError(
                404, f"model {short(name)!r} is not served here; ask for {names}", "model", "model_not_found"
            )
        return self.by_name[name]


def accepted(policy: Policy) -> list[str]:
    """The inputs that the model supports, found with a second of silence: "audio", "language", "prompt", "messages"."""
    if policy.rate == 0:
        return ["messages"]
    silent = Prompt("silence", np.zeros(policy.rate, np.float32), policy.rate, INSTRUCTION, transcribe=True)
    given: dict[str, dict[str, Any]] = {"language": {"language": "en"}, "prompt": {"context": "Names."}}
    found = ["audio"]
    if not getattr(getattr(policy.model, "config", None), "takes_prompts", True):
        del given["prompt"]  # It was trained without any: one would ruin its transcripts.
    for name, more in given.items() if policy.token_level else ():
        try:
            with torch.no_grad():
                policy.encode([replace(silent, **more)])
            found.append(name)
        except Exception:  # Any failure means that the input is not supported.
            continue
    return [*found, *(["messages"] if policy.chat else [])]
