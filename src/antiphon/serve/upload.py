"""Decodes uploads to waveforms."""

from __future__ import annotations

import asyncio
import io
import shutil
import tempfile
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from antiphon.audio.decode import read_recording
from antiphon.audio.embedded import SCHEME, decode_uri
from antiphon.audio.faults import TooLongError
from antiphon.errors import AudioError
from antiphon.serve.budget import Budget
from antiphon.serve.errors import RequestError, short
from antiphon.serve.limits import Limits
from antiphon.types import Hertz

DECODERS = 2
"""Recordings decoded concurrently."""


class Uploads:
    """All uploads of a server. `limits` bounds their total memory."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._threads = ThreadPoolExecutor(DECODERS, "decode")
        self._turns = asyncio.Semaphore(DECODERS)
        self._held = Budget(limits.held_seconds)

    @asynccontextmanager
    async def waveform(self, file: BinaryIO, name: str, rate: Hertz, field: str = "file") -> AsyncIterator[np.ndarray]:
        """Mono float32 [samples] at `rate`, held until the block ends; `file` is closed after reading.

        Raises `RequestError` 413 or 400 for an unusable recording.
        """
        async with AsyncExitStack() as held:
            async with self._turns:
                loop = asyncio.get_running_loop()
                waveform = await loop.run_in_executor(self._threads, self._read, file, name, rate, field)
                await held.enter_async_context(self._held.take(len(waveform) / rate))
            yield waveform

    def _read(self, upload: BinaryIO, name: str, rate: Hertz, field: str) -> np.ndarray:
        with tempfile.NamedTemporaryFile(prefix="antiphon-") as file:
            with upload:
                shutil.copyfileobj(upload, file)
            file.flush()
            if file.tell() > self._limits.bytes:
                raise RequestError(413, self._limits.too_large, field)
            try:
                return read_recording(Path(file.name), rate, self._limits.seconds)
            except AudioError as error:
                message = str(error).replace(file.name, short(name) or "the upload")
                raise RequestError(413 if isinstance(error, TooLongError) else 400, message, field) from error


def from_base64(data: str) -> BinaryIO:
    """Decode base64 or a data URI. Raises `RequestError` 400 if invalid."""
    try:
        return io.BytesIO(decode_uri(data if data.startswith(SCHEME) else f"{SCHEME}audio/wav;base64,{data}"))
    except AudioError as error:
        raise RequestError(400, f"the recording is not base64: {error}", "messages") from error
