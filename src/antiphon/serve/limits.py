"""Limits on requests, so that no client can block the others."""

from __future__ import annotations

from dataclasses import dataclass

from antiphon.types import Seconds


@dataclass(frozen=True)
class Limits:
    """Requests beyond them are refused: 413 for size, 429 for number, 408 and 504 for time."""

    megabytes: float = 25.0
    """Maximum size of a recording, in MiB of 2^20 bytes, as OpenAI's limit of 25."""
    seconds: Seconds = 1800.0
    """Maximum length of a recording."""
    requests: int = 128
    """Maximum concurrent requests."""
    upload_s: Seconds = 60.0
    """Timeout for receiving a request's body."""
    answer_s: Seconds = 120.0
    """Timeout for the answer, from then on."""
    chunk_s: Seconds | None = None
    """Maximum length transcribed at once; longer recordings are split at pauses. None: chosen by the model."""

    @property
    def bytes(self) -> int:
        return int(self.megabytes * 2**20)

    @property
    def too_large(self) -> str:
        """The message for a larger recording."""
        return f"the recording is larger than {self.megabytes:g} MiB; send a shorter or compressed one"

    @property
    def body_bytes(self) -> int:
        """Maximum size of a request's body: base64 takes 4 bytes for 3, and forms have a frame."""
        return self.bytes * 4 // 3 + 2**16

    @property
    def held_bytes(self) -> int:
        """Maximum bytes of all bodies together."""
        return 16 * self.body_bytes

    @property
    def held_seconds(self) -> Seconds:
        """Maximum seconds of all recordings in memory; further ones wait."""
        return 2 * self.seconds
