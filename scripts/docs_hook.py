"""What mkdocs does to a page of docs/: links to files outside of docs/, which work in the repository, become code."""

from __future__ import annotations

import posixpath
import re
from typing import Any

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page's text, its links to the sources replaced by what they name."""
    folder = posixpath.dirname(page.file.src_uri)

    def keep_inside(link: re.Match[str]) -> str:
        text, target = link.groups()
        outside = "://" not in target and posixpath.normpath(posixpath.join(folder, target)).startswith("..")
        return text if outside else link.group(0)

    return LINK.sub(keep_inside, markdown)
