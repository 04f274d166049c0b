"""Short reasons why a file cannot be read, and text cleaned for display."""

from __future__ import annotations

from json import JSONDecodeError


def reason(error: Exception) -> str:
    """The cause without the path, which the caller's message has."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, UnicodeDecodeError):
        return "it is not text"
    if isinstance(error, JSONDecodeError):
        return "it is not a complete JSON document"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, KeyError):
        return f"it has no {error.args[0]!r}"
    return str(error) or type(error).__name__


def clean(text: str) -> str:
    """`text` without lone surrogates, which JSON escapes allow but pages cannot show."""
    return text.encode("utf-8", "replace").decode()
