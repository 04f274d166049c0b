"""Time limits for code that does not give way: a thread that can be left behind, and a watch on the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import queue
import threading
import time
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any


class _Abandoned(BaseException):
    """Raised in a thread whose call ran out of time."""


def abandon(thread: threading.Thread) -> None:
    """Raise an exception in `thread` at its next line of Python, which ends a loop.

    A call into C, such as `time.sleep` or a read from a socket, goes on until it returns; nothing waits for it.
    """
    if thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(_Abandoned))


class Worker:
    """A thread that makes one call after the other for an event loop, and is replaced when a call is given up."""

    def __init__(self) -> None:
        self._turn: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None
        self._calls: queue.SimpleQueue[Callable[[], None] | None] | None = None
        self._thread: threading.Thread | None = None

    @property
    def turn(self) -> asyncio.Lock:
        """To be held for a call, so that a time limit counts from the call's own beginning."""
        loop = asyncio.get_running_loop()
        if self._turn is None or self._turn[0] is not loop:
            self._turn = loop, asyncio.Lock()
        return self._turn[1]

    async def run(self, function: Callable[[], Any]) -> Any:
        """`function()`, in the thread. When cancelled, as by a timeout, the thread is abandoned."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()

        def work() -> None:
            value, error = None, None
            try:
                value = function()
            except _Abandoned:
                return
            except BaseException as raised:
                error = raised
            loop.call_soon_threadsafe(lambda: answer.done() or answer.set_result((value, error)))

        if self._calls is None:
            self._calls = queue.SimpleQueue()
            self._thread = threading.Thread(target=_serve, args=[self._calls], name="antiphon-reward", daemon=True)
            self._thread.start()
        self._calls.put(work)
        try:
            value, error = await answer
        except asyncio.CancelledError:
            self._leave()
            raise
        if error is not None:
            raise error
        return value

    def _leave(self) -> None:
        assert self._thread is not None
        assert self._calls is not None
        self._calls.put(None)  # Ends a thread whose function caught the exception.
        abandon(self._thread)
        self._thread = self._calls = None


def _serve(calls: queue.SimpleQueue[Callable[[], None] | None]) -> None:
    with contextlib.suppress(_Abandoned):
        while (work := calls.get()) is not None:
            work()


_running: dict[int, tuple[str, float]] = {}
"""By thread: what holds its event loop now, between two awaits, and the time by which it should have given way."""


@types.coroutine
def watched(coroutine: Coroutine[Any, Any, Any], what: str, seconds: float) -> Generator[Any, Any, Any]:
    """The result of `coroutine`, while `overdue` can tell that it holds up the event loop for over `seconds`."""
    send: Callable[[Any], Any] = coroutine.send
    value: Any = None
    thread = threading.get_ident()
    while True:
        _running[thread] = what, time.monotonic() + seconds
        try:
            awaited = send(value)
        except StopIteration as stop:
            return stop.value
        finally:
            _running.pop(thread, None)
        try:
            value, send = (yield awaited), coroutine.send
        except GeneratorExit:
            coroutine.close()
            raise
        except BaseException as error:
            value, send = error, coroutine.throw


def overdue(thread: threading.Thread) -> str | None:
    """What has held up the event loop of `thread` for longer than its time limit, if anything."""
    what, until = _running.get(thread.ident or 0, (None, 0.0))
    return what if time.monotonic() > until else None
