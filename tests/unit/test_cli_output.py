"""What people read on the terminal is the text itself."""

from __future__ import annotations

import pytest
from rich.table import Table

from antiphon.cli.output import console, print_error, tables

TEXT = r"data:train:smile: [bold]loud[/bold] [a/b] [/] \[x]"


@pytest.mark.parametrize("out", [console, tables], ids=["stderr", "stdout"])
def test_neither_emoji_nor_markup_is_made_of_text(out, capsys):
    table = Table(TEXT, title=TEXT, width=100)
    table.add_row(TEXT)
    out.print(TEXT)
    out.print(table)
    shown = "".join(capsys.readouterr())
    assert shown.count(TEXT) == 4


def test_an_error_is_shown_as_it_stands(capsys):
    print_error(TEXT)
    assert capsys.readouterr().err == f"error: {TEXT}\n"
