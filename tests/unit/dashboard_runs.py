"""What the dashboard's unit tests share: a run folder, tables that are spoilt, and HTML that must be whole."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from antiphon.config import load_config
from antiphon.runs import RunFolder

WRONG = {
    "null": lambda n: pa.nulls(n),
    "numbers": lambda n: pa.array([7.5] * n),
    "words": lambda n: pa.array(["<x>"] * n),
    "lists": lambda n: pa.array([["<x>", None]] * n),
    "missing": lambda n: None,
}


def make_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.setattr("antiphon.runs.folder.describe", lambda command: {})  # It takes longer than all the rest.
    config = load_config(None, [f"output={folder / 'runs'}", "train.keep_checkpoints=2", "data.eval=dev.jsonl"])
    return RunFolder.create(config, ["antiphon"])


def spoilt(path: Path, wrong: str) -> list[tuple[str, pa.Table]]:
    """The table with each column replaced, or left out."""
    table = pq.read_table(path)
    made = WRONG[wrong](table.num_rows)
    return [
        (name, table.drop_columns([name]) if made is None else table.set_column(place, name, made))
        for place, name in enumerate(table.column_names)
    ]


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open, self.seen, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in ("path", "circle"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def well_formed(html: str) -> _Tags:
    tags = _Tags()
    tags.feed(html)
    assert not tags.open
    return tags
