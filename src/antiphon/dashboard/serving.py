"""Serves checkpoints by `antiphon serve` in the background; servers outlive the dashboard."""

from __future__ import annotations

from pathlib import Path
from threading import Lock

from antiphon.errors import ConfigError, RunError
from antiphon.serve import process
from antiphon.serve.process import Instance

PORTS = range(8025, 8125)
PATIENCE = 300.0
"""Timeout for loading a model, in seconds."""

_starting: set[str] = set()
_lock = Lock()


def model_of(run: Path, step: int) -> str:
    """A checkpoint's name for `antiphon serve`, valid in any working folder."""
    return f"{run}@{step}"


def running(run: Path) -> dict[int, Instance]:
    """The servers of a run's checkpoints, by step."""
    found = {}
    for one in process.running():
        path, _, step = one.model.rpartition("@")
        if path == str(run) and step.isdecimal():
            found[int(step)] = one
    return found


def is_starting(run: Path, step: int) -> bool:
    return model_of(run, step) in _starting


def serve(run: Path, step: int) -> Instance:
    """Start a server on a free loopback port, and wait until it answers.

    Raises `RunError` with the end of its log if it does not, and if no port is free.
    """
    model = model_of(run, step)
    with _lock:
        if model in _starting:
            raise RunError(f"{run.name}@{step} is already being started")
        _starting.add(model)
    try:
        port = _free_port()
        named = [f"--port={port}", f"--served-model-name={run.name}@{step}", f"--runs={run.parent}"]
        return process.detach([model, *named], port, PATIENCE)
    finally:
        _starting.discard(model)


def stop(instance: Instance) -> bool:
    """Stop a server after its open requests; whether it has stopped."""
    return process.stop(instance, patience=60)


def _free_port() -> int:
    taken = {one.port for one in process.running()}
    for port in PORTS:
        if port not in taken:
            try:
                process.require_free("127.0.0.1", port)
                return port
            except ConfigError:
                continue
    raise RunError(f"none of the ports {PORTS.start} to {PORTS.stop - 1} is free; stop a server: antiphon serve stop")
