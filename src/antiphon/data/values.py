"""Reads and type-checks the values of a row."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from antiphon.errors import DataError, did_you_mean
from antiphon.types import Seconds

Values = Mapping[str, Any]
Keys = Mapping[str, str]
"""Map of fields to keys; a field without an entry is absent from the row."""


def text(row: Values, name: str, keys: Keys, required: bool = True) -> str:
    """Read a string; if it is not `required`, "" for a missing or null value."""
    key = keys.get(name, name)
    if not required and row.get(key) is None:
        return ""
    if key not in row:
        raise DataError(
            f'the row has no "{key}", only {", ".join(json.dumps(k) for k in row) or "an empty object"}; '
            f"add it, or say which key holds it: data.columns={{{name}: KEY}}"
        )
    value = row[key]
    if not isinstance(value, str):
        hint = ' ("" for a clip without speech)' if name == "text" else ""
        raise DataError(f'"{key}" is {kind(value)}; it must be a string{hint}')
    return encodable(value, key)


def name(row: Values, field: str, keys: Keys) -> str | None:
    """Read a string or whole number, as a string; None if missing."""
    value = row.get(keys[field]) if field in keys else None
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise DataError(f'"{keys[field]}" is {kind(value)}; it must be a non-empty string or a whole number')
    return encodable(str(value), keys[field])


def time(row: Values, field: str, keys: Keys) -> Seconds | None:
    """Read a time in seconds; None if missing or -1."""
    value = row.get(keys[field]) if field in keys else None
    if value is None or (value == -1 and not isinstance(value, bool)):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        shown = f"{value}" if isinstance(value, int | float) else kind(value)
        raise DataError(f'"{keys[field]}" is {shown}; give seconds from 0 up, or -1 for the whole file')
    return float(value)


def encodable(value: str, key: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(f'"{key}" has half a surrogate pair at character {error.start + 1}; correct it') from error
    return value


def unknown(what: str, value: object, known: Collection[str]) -> str:
    """A message about a name that is none of `known`, with the nearest of them."""
    shown = str(value).encode("utf-8", "backslashreplace").decode()
    hint = did_you_mean(shown, known, "", show='"{}"'.format)
    return " ".join(filter(None, (f'unknown {what} "{shown}";', hint, f"(known: {', '.join(sorted(known))})")))


def kind(value: object) -> str:
    """The JSON type of a value, for messages."""
    if value is None:
        return "null"
    if value == "":
        return "an empty string"
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), f"a {type(value).__name__}")
