"""From an upload to a waveform."""

from __future__ import annotations

import asyncio
import base64
import binascii
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from fastapi import HTTPException

from antiphon.audio.recording import TooLongError, read_recording
from antiphon.errors import AudioError
from antiphon.serve.service import Service

_DECODERS = ThreadPoolExecutor(2, "decode")
"""Few, so that recordings in memory are few."""


async def waveform_of(service: Service, content: bytes, name: str) -> np.ndarray:
    """Mono float32 [samples] at the model's rate. Raises `HTTPException` 413 or 400 for a recording it cannot take."""
    if service.policy.rate == 0:
        raise HTTPException(400, f"{service.name} is a text model and hears nothing; use /v1/chat/completions")
    loop = asyncio.get_running_loop()
    waveform = await loop.run_in_executor(_DECODERS, _read, content, name, service.policy.rate, service.limits.seconds)
    service.metrics.audio_seconds += len(waveform) / service.policy.rate
    return waveform


def from_base64(data: str) -> bytes:
    """Raises `HTTPException` 400 for what is not base64."""
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise HTTPException(400, f"input_audio.data is no base64 ({error})") from error


def _read(content: bytes, name: str, rate: int, max_seconds: float) -> np.ndarray:
    with tempfile.NamedTemporaryFile(prefix="antiphon-") as file:
        file.write(content)
        file.flush()
        try:
            return read_recording(Path(file.name), rate, max_seconds)
        except AudioError as error:
            message = str(error).replace(file.name, name or "the upload")
            raise HTTPException(413 if isinstance(error, TooLongError) else 400, message) from error
