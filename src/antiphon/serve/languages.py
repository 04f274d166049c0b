"""Languages as clients name them, and as OpenAI's answers do."""

from __future__ import annotations

import re

from antiphon.models.internals import LANGUAGES


def asked(language: str | None) -> str | None:
    """The language of a request without its region ("en" for "en-US" and "en_US"); None for "auto" and ""."""
    base = re.split(r"[-_]", (language or "").strip())[0]
    return None if base.lower() in ("", "auto") else base


def spoken(language: str | None) -> str:
    """A language as OpenAI names it: its English name in lower case, "english" for "en"; "unknown" for None."""
    name = (language or "unknown").lower()
    return LANGUAGES.get(name, name)
