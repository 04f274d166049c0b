"""The errors of recordings, worded once."""

from __future__ import annotations

from antiphon.errors import AudioError

CONVERT = "convert it with: ffmpeg -i IN OUT.flac"


class TooLongError(AudioError):
    """A recording is longer than accepted."""


def damaged(name: object, cause: str) -> AudioError:
    return AudioError(f"{name}: truncated or damaged: {cause}; copy it again, or remove the row")


def not_audio(name: object, cause: str) -> AudioError:
    return AudioError(f"{name}: not audio that can be read ({cause}); {CONVERT}")


def no_samples(name: object) -> AudioError:
    return AudioError(f"{name}: the file has a header but no samples; record it again or remove the row")
