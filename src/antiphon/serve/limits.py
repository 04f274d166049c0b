"""What one client may ask of a server, so that all others are served too."""

from __future__ import annotations

from dataclasses import dataclass

from antiphon.types import Seconds


@dataclass(frozen=True)
class Limits:
    """Requests beyond them are refused: 413 for size, 429 for number, 408 and 504 for time."""

    megabytes: float = 25.0
    """Of a request's body."""
    seconds: Seconds = 1800.0
    """Of a recording."""
    requests: int = 128
    """Received or worked on at once."""
    upload_s: Seconds = 60.0
    """For a request's body to arrive."""
    answer_s: Seconds = 120.0
    """For the answer, from then on."""
    chunk_s: Seconds | None = None
    """Of speech recognized in one piece; longer recordings are cut in their pauses. None is what suits the model."""

    @property
    def bytes(self) -> int:
        return int(self.megabytes * 1e6)

    @property
    def held_bytes(self) -> int:
        """Of all bodies at once."""
        return 16 * self.bytes

    @property
    def held_seconds(self) -> Seconds:
        """Of all recordings that are in memory at once; one more waits."""
        return 2 * self.seconds
