"""What mkdocs does to the pages of docs/: tutorials of examples/ become pages, and links out of docs/ stay inside.

A tutorial is a script whose docstring opens it and whose comments between blank lines are its prose. A link to one,
which works in the repository, leads to its page; what other links out of docs/ name stands there as text.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

EXAMPLES = Path(__file__).parents[1] / "examples"
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)")


def on_files(files: Any, config: Any) -> Any:
    for script in sorted(EXAMPLES.glob("*.py")):
        files.append(File.generated(config, f"tutorials/{script.stem}.md", content=as_page(script.read_text("utf-8"))))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    folder = posixpath.dirname(page.file.src_uri)

    def keep_inside(link: re.Match[str]) -> str:
        text, target = link.groups()
        path = posixpath.normpath(posixpath.join(folder, target))
        if "://" in target or not path.startswith(".."):
            return link.group(0)
        if re.fullmatch(r"\.\./examples/\w+\.py", path):
            return f"[{text}]({posixpath.relpath(f'tutorials/{Path(path).stem}.md', folder or '.')})"
        return text

    return LINK.sub(keep_inside, markdown)


def as_page(source: str) -> str:
    """A script as Markdown: its docstring, the first sentence as the title, then prose and code in turns."""
    opening = ast.parse(source).body[0]
    assert isinstance(opening, ast.Expr)
    assert isinstance(opening.value, ast.Constant)
    title, _, text = str(opening.value.value).partition("\n")
    below = source.splitlines()[opening.end_lineno :]
    return "\n\n".join([f"# {title.rstrip('.')}", text.strip(), *_parts(below)]) + "\n"


def _parts(lines: list[str]) -> Iterator[str]:
    """Paragraphs of code that follow one another make one block."""
    paragraphs = "\n".join(lines).strip("\n").split("\n\n")
    for prose, following in groupby(paragraphs, key=_is_prose):
        block = "\n\n".join(following).strip("\n")
        if prose:
            yield re.sub(r"^# ?", "", block, flags=re.MULTILINE)
        else:
            yield f"```python\n{block}\n```"


def _is_prose(paragraph: str) -> bool:
    return all(line.startswith("#") for line in paragraph.strip("\n").splitlines())
