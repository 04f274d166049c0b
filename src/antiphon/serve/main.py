"""The server process: loads models and serves until stopped."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress

import uvicorn

from antiphon.distributed.device import prepare_cpu, resolve_device, resolve_dtype
from antiphon.models.load import load_policy
from antiphon.serve.app import create_app
from antiphon.serve.connection import configured
from antiphon.serve.limits import Limits
from antiphon.serve.process import Instance, listed, require_free


def serve(
    models: Mapping[str, str],
    host: str,
    port: int,
    limits: Limits,
    api_key: str | None,
    threads: int | None,
    device: str,
    dtype: str,
    runs: str,
    trust_remote_code: bool,
) -> None:
    """Serve `models`, a mapping of names to specs, until SIGINT or SIGTERM.

    Requests being answered are finished, unless it comes once more. Raises `ConfigError` when the port is taken,
    `ModelError` when a model cannot be loaded.
    """
    require_free(host, port)
    place = resolve_device(device)
    prepare_cpu(threads)
    precision = resolve_dtype(dtype, place)
    policies = {
        name: load_policy(model, place, precision, output=runs, trust_remote_code=trust_remote_code)
        for name, model in models.items()
    }
    app = create_app(policies, limits, api_key)
    name, *beside = models
    # Uvicorn raises the signal again after shutdown, which would skip the cleanup.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with (
        listed(Instance(models[name], name, host, port, os.getpid(), time.time(), beside)),
        suppress(KeyboardInterrupt),
    ):
        uvicorn.Server(configured(app, host, port, limits.answer_s)).run()
