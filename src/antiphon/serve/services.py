"""The models of one server, and the inputs that each supports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from fastapi import HTTPException

from antiphon.models.policy import Policy
from antiphon.serve.service import Service
from antiphon.tasks.asr import INSTRUCTION
from antiphon.types import Prompt


class Services:
    """The models of one server."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._named = {service.name: service for service in services}

    def __iter__(self) -> Iterator[Service]:
        return iter(self._named.values())

    @property
    def first(self) -> Service:
        return next(iter(self))

    def named(self, name: str | None) -> Service:
        """The model of a request; the first one by default. Raises `HTTPException` 404 for an unknown model."""
        if name is None:
            return self.first
        if name not in self._named:
            names = " or ".join(map(repr, self._named))
            raise HTTPException(404, f"model {name!r} is not served here; ask for {names}")
        return self._named[name]


def accepted(policy: Policy) -> list[str]:
    """The inputs that the model supports, found with a second of silence: "audio", "language", "prompt", "messages"."""
    if policy.rate == 0:
        return ["messages"]
    silent = Prompt("silence", np.zeros(policy.rate, np.float32), policy.rate, INSTRUCTION, transcribe=True)
    given: dict[str, dict[str, Any]] = {"language": {"language": "en"}, "prompt": {"context": "Names."}}
    found = ["audio"]
    for name, more in given.items() if policy.token_level else ():
        try:
            with torch.no_grad():
                policy.encode([replace(silent, **more)])
            found.append(name)
        except Exception:  # Any failure means that the input is not supported.
            continue
    return [*found, *(["messages"] if policy.chat else [])]
