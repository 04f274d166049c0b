"""The code of the documents: fenced and indented blocks, and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@dataclass(frozen=True)
class Block:
    """Code of a document."""

    document: Path
    line: int
    language: str
    """As its fence says; empty where it is indented."""
    title: str | None
    """The file that it is."""
    text: str

    @property
    def place(self) -> str:
        """What a failure calls it."""
        return f"{self.document.relative_to(ROOT)}:{self.line}"

    @property
    def unfolded(self) -> str:
        """The text with lines joined that a backslash continues."""
        return re.sub(r" *\\\n *", " ", self.text)

    @property
    def commands(self) -> list[list[str]]:
        """The words of the lines that call antiphon; in a console, of those behind a `$`."""
        lines = self.unfolded.splitlines()
        if self.language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        found = [shlex.split(line, comments=True) for line in lines if re.match(r"(\.venv/bin/)?antiphon ", line)]
        return [["antiphon", *words[1:]] for words in found]


def blocks(document: Path) -> Iterator[Block]:
    """Every block of code, from the first to the last."""
    for token in MarkdownIt().parse(document.read_text(encoding="utf-8")):
        if token.type in ("fence", "code_block") and token.map:
            language, _, more = token.info.partition(" ")
            title = re.search(r'title="([^"]+)"', more)
            yield Block(document, token.map[0] + 1, language, title and title[1], token.content)
