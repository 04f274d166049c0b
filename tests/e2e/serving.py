"""What the server's tests share: a tiny text model, an application on a port of its own, and requests to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from tiny_text import bytes_tokenizer, tiny

from antiphon.client.port import free_port
from antiphon.models.text_lm import TextLM
from antiphon.serve.address import Address
from antiphon.serve.app import create_app
from antiphon.serve.connection import configured
from antiphon.serve.limits import Limits
from antiphon.serve.service import Service


def text_policy() -> Any:
    """A random text model that never stops by itself."""
    policy = TextLM(tiny("qwen3"), bytes_tokenizer())
    policy.stop_ids = frozenset()
    return policy


def save_text_model(folder: Path) -> Path:
    TextLM(tiny("qwen3"), bytes_tokenizer()).save(folder)
    return folder


@dataclass(frozen=True)
class Served:
    """A server in a thread of this process."""

    service: Service
    server: uvicorn.Server
    thread: threading.Thread
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def client(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, timeout=30)

    def idle(self) -> bool:
        """Whether the worker has nothing to do before long."""
        return until(lambda: not (self.service.worker.waiting or self.service.worker.running))


@contextmanager
def served(
    policy: Any, api_key: str | None = None, address: dict[str, Any] | None = None, aligner: Any = None, **limits: Any
) -> Iterator[Served]:
    """`policy` is one, called tiny, or several by name; `address` has further fields of an `Address`."""
    port = free_port()
    listens = Address(port=port, api_key=api_key, **(address or {}))
    app = create_app(
        policy if isinstance(policy, dict) else {"tiny": policy}, Limits(**limits), listens, aligner=aligner
    )
    server = uvicorn.Server(configured(app, listens, answer_s=30, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert until(lambda: server.started)
    try:
        yield Served(app.state.services.first, server, thread, f"http://127.0.0.1:{port}")
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def until(happens: Any, seconds: float = 20.0) -> bool:
    """Whether something happens before long."""
    deadline = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def say(text: str, **more: Any) -> dict[str, Any]:
    """The body of a chat request."""
    return {"messages": [{"role": "user", "content": text}], "temperature": 0, **more}
