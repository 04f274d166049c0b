"""Arguments that several commands take."""

from __future__ import annotations

from typing import Annotated

import typer

Set = Annotated[
    str,
    typer.Argument(metavar="SET", help="FILE.jsonl, builtin:SET or hf:REPO:CONFIG:SPLIT.", show_default=False),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Read the first rows only.")]
Columns = Annotated[
    list[str] | None,
    typer.Option("--columns", metavar="FIELD=KEY", help="Read FIELD from the column KEY. Repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
