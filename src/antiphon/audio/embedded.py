"""Encoded recordings that are not files: data URIs (RFC 2397) and table cells."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from antiphon.errors import AudioError

SCHEME = "data:"
_FROM_URL_SAFE = bytes.maketrans(b"-_", b"+/")


@dataclass(frozen=True)
class Embedded:
    """An encoded recording, in memory or read on demand. Equal if the names are equal."""

    name: str
    """Its name in messages; unique for its content."""
    read: Callable[[], bytes] = field(compare=False)
    """Returns the encoded bytes."""

    def __str__(self) -> str:
        return self.name


def from_uri(uri: str) -> Embedded:
    """The recording in a data URI, named by the URI's digest. Decoded when read."""
    head, _, _ = uri.partition(",")
    digest = hashlib.sha256(uri.encode()).hexdigest()[:16]
    return Embedded(f"{head[:40]},{digest}", lambda: decode_uri(uri))


def decode_uri(uri: str) -> bytes:
    """The content of a data URI. Base64 may be wrapped, without its padding, and of the alphabet for URLs.

    Raises `AudioError` if it has no comma or invalid base64.
    """
    head, comma, content = uri.partition(",")
    if not uri.startswith(SCHEME) or not comma:
        raise AudioError(f"{uri[:40]!r} is not a data URI; write data:audio/wav;base64,CONTENT")
    if not head.strip().lower().endswith(";base64"):
        return unquote_to_bytes(content)
    plain = b"".join(unquote_to_bytes(content).split()).translate(_FROM_URL_SAFE).rstrip(b"=")
    try:
        return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise AudioError(f"{head},…: the base64 of the data URI is invalid ({error}); encode the file again") from error


def encode_uri(content: bytes, media_type: str = "audio/wav") -> str:
    """`content` as a data URI in base64."""
    return f"{SCHEME}{media_type};base64,{base64.b64encode(content).decode('ascii')}"
