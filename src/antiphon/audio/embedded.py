"""Encoded recordings that are no files of their own: data URIs (RFC 2397), and the cells of a table."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from antiphon.errors import AudioError

SCHEME = "data:"


@dataclass(frozen=True)
class Embedded:
    """A recording in memory, or read when it is needed. Two are the same when their names are."""

    name: str
    """What messages call it; as unique as its content."""
    read: Callable[[], bytes] = field(compare=False)
    """Its encoded bytes."""

    def __str__(self) -> str:
        return self.name


def from_uri(uri: str) -> Embedded:
    """The recording in a data URI, named after the digest of the URI. Its content is decoded when it is read."""
    head, _, _ = uri.partition(",")
    digest = hashlib.sha256(uri.encode()).hexdigest()[:16]
    return Embedded(f"{head[:40]},{digest}", lambda: decode_uri(uri))


def decode_uri(uri: str) -> bytes:
    """The content of a data URI. Raises `AudioError` for one without a comma, or whose base64 is damaged."""
    head, comma, content = uri.partition(",")
    if not uri.startswith(SCHEME) or not comma:
        raise AudioError(f"{uri[:40]!r} is no data URI; write data:audio/wav;base64,CONTENT")
    if not head.endswith(";base64"):
        return unquote_to_bytes(content)
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise AudioError(f"{head},…: the base64 of the data URI is damaged ({error}); encode the file again") from error


def encode_uri(content: bytes, media_type: str = "audio/wav") -> str:
    """`content` as a data URI in base64."""
    return f"{SCHEME}{media_type};base64,{base64.b64encode(content).decode('ascii')}"
