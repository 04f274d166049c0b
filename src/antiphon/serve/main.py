"""The server process: loads models and serves until stopped."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import uvicorn

from antiphon.distributed.device import prepare_cpu, resolve_device, resolve_dtype
from antiphon.errors import ModelError
from antiphon.models.load import load_policy
from antiphon.serve.address import Address
from antiphon.serve.app import create_app
from antiphon.serve.connection import configured
from antiphon.serve.limits import Limits
from antiphon.serve.process import Instance, listed, require_free


def serve(
    models: Mapping[str, str],
    aliases: Mapping[str, str],
    address: Address,
    limits: Limits,
    aligner: str | None,
    threads: int | None,
    device: str,
    dtype: str,
    runs: str,
    trust_remote_code: bool,
) -> None:
    """Serve `models`, a mapping of names to specs, until SIGINT or SIGTERM.

    `aliases` are further names of theirs; `aligner` is a model that tells the times of words.

    Requests being answered are finished, unless it comes once more. Raises `ConfigError` when the port is taken,
    `ModelError` when a model cannot be loaded.
    """
    require_free(address.host, address.port)
    place = resolve_device(device)
    prepare_cpu(threads)
    precision = resolve_dtype(dtype, place)
    policies = {
        name: load_policy(model, place, precision, output=runs, trust_remote_code=trust_remote_code)
        for name, model in models.items()
    }
    align: Any = None
    if aligner:
        align = load_policy(aligner, place, precision, output=runs, trust_remote_code=trust_remote_code)
        if not hasattr(align, "align"):
            raise ModelError(f"--aligner {aligner}: this model cannot align words; give a CTC model")
    app = create_app(policies, limits, address, aliases, align)
    name, *beside = models
    # Uvicorn raises the signal again after shutdown, which would skip the cleanup.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with (
        listed(
            Instance(models[name], name, address.host, address.port, os.getpid(), time.time(), beside, list(aliases))
        ),
        suppress(KeyboardInterrupt),
    ):
        uvicorn.Server(configured(app, address, limits.answer_s)).run()
