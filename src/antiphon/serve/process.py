"""The servers on this machine: each holds a lock on a file that describes it, next to its log."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TextIO

from antiphon.errors import ConfigError, RunError
from antiphon.types import Seconds


@dataclass(frozen=True)
class Instance:
    """A running server."""

    model: str
    name: str
    host: str
    port: int
    pid: int
    started: float
    """Unix time."""
    beside: list[str]
    """Names of further models."""
    aliases: list[str] = field(default_factory=list)
    """Further names of the first model."""

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


def folder() -> Path:
    """The folder that lists servers, in XDG_STATE_HOME or ~/.local/state."""
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "antiphon" / "serve"


def log_path(port: int) -> Path:
    return folder() / f"{port}.log"


@contextmanager
def listed(instance: Instance) -> Iterator[None]:
    """List a server during the block. The lock ends with the process in any case.

    Raises `ConfigError` if another server has the port.
    """
    path = folder() / f"{instance.port}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _locked(path)
    if file is None:
        raise ConfigError(f"a server already has port {instance.port}; choose another --port")
    with file:
        file.truncate(0)
        file.write(json.dumps(asdict(instance)) + "\n")
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _locked(path: Path) -> TextIO | None:
    """The locked file; None if the lock is held for longer than `running` needs."""
    for _ in range(20):
        file = path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_nlink:
                return file
            file.close()  # Removed by a server that has just ended.
        except OSError:
            file.close()
            time.sleep(0.05)
    return None


def running() -> list[Instance]:
    """All servers of this user, by port."""
    found = []
    for path in folder().glob("*.json"):
        with suppress(FileNotFoundError), path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                if text := file.read():  # Otherwise it is being written.
                    found.append(Instance(**json.loads(text)))
    return sorted(found, key=lambda one: one.port)


def require_free(host: str, port: int) -> None:
    """Raises `ConfigError` if it is impossible to listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host}:{port} ({error.strerror or error}); choose another --port or --host"
            ) from error


def detach(arguments: Sequence[str], port: int, patience: Seconds) -> Instance:
    """Start `antiphon serve` with `arguments` in the background and wait until it answers.

    Raises the `RunError` of `wait_for`, after stopping the server.
    """
    process = start(arguments, port)
    try:
        return wait_for(process, port, patience)
    except BaseException:
        process.terminate()
        raise


def start(arguments: Sequence[str], port: int) -> subprocess.Popen[bytes]:
    """Start `antiphon serve` with `arguments` as a background process that writes to the log."""
    log = log_path(port)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "antiphon", "serve", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_for(process: subprocess.Popen[bytes], port: int, patience: Seconds) -> Instance:
    """Wait until the server `process` is listed and answers.

    Raises `RunError` with the end of the log if it ends before that or takes longer than `patience`.
    """
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and process.poll() is None:
        for instance in running():
            if instance.pid == process.pid and _answers(instance):
                return instance
        time.sleep(0.1)
    ended, log = process.poll(), log_path(port)
    tail = " | ".join(log.read_text(errors="replace").splitlines()[-3:])
    how = f"was not ready after {patience:g} s" if ended is None else f"ended with status {ended}"
    raise RunError(f"the server {how}; its log {log} ends: {tail}")


def stop(instance: Instance, patience: Seconds) -> bool:
    """Stop a server after its open requests; whether it stopped within `patience`."""
    os.kill(instance.pid, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if all(one.pid != instance.pid for one in running()):
            return True
        time.sleep(0.1)
    return False


def requests_of(instance: Instance) -> int | None:
    """How many requests it is answering; None if it is unhealthy, or does not answer."""
    try:
        with closing(HTTPConnection(_reached_at(instance), instance.port, timeout=2)) as connection:
            connection.request("GET", "/health")
            models = json.loads(connection.getresponse().read())["models"]
        return sum(one["requests"] for one in models.values())
    except (OSError, HTTPException, ValueError, KeyError):
        return None


def _answers(instance: Instance) -> bool:
    try:
        socket.create_connection((_reached_at(instance), instance.port), timeout=1).close()
        return True
    except OSError:
        return False


def _reached_at(instance: Instance) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(instance.host, instance.host)
