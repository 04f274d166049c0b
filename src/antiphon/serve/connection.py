"""HTTP connections, always parsed by h11, so that limits do not depend on installed packages."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from antiphon.serve.address import Address
from antiphon.types import Seconds

LARGEST_HEAD = 1 << 16
"""Maximum bytes of a request's line and headers; more is answered with 400."""
HEAD_S: Seconds = 10.0
"""Timeout for a request's head, on a new connection or once part of it has arrived."""


class Connection(H11Protocol):
    """Closes the connection if no head arrives, so that idle clients do not exhaust connections."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._wait_no_more()
        elif self._late is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._late = self.loop.call_later(HEAD_S, self.timeout_keep_alive_handler)

    def _wait_no_more(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
"""Of log lines, with their time."""
LOGGERS = ("uvicorn", "antiphon.access", "antiphon.serve")


def configured(app: Any, address: Address, answer_s: Seconds, log_level: str = "info") -> uvicorn.Config:
    """Uvicorn's configuration, for a server that completes open requests before it stops.

    `antiphon.serve.front` logs requests in place of uvicorn, with their ids.
    """
    _log_to_stderr(log_level)
    return uvicorn.Config(
        app,
        host=address.host,
        port=address.port,
        log_config=None,
        log_level=log_level,
        access_log=False,
        timeout_keep_alive=math.ceil(address.keep_alive_s),
        http=Connection,
        ws="none",
        h11_max_incomplete_event_size=LARGEST_HEAD,
        timeout_graceful_shutdown=int(answer_s) + 1,
    )


def _log_to_stderr(level: str) -> None:
    """`logging.config` would close the handlers of everything else in the process, and some close their streams."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(FORMAT))
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level.upper())
