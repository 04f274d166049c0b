"""TSV files: as CSV, with tabs."""

from __future__ import annotations

from collections.abc import Iterable

from antiphon.data.export import Out
from antiphon.data.writers import csv
from antiphon.types import Example


def write(examples: Iterable[Example], out: Out) -> str:
    """Write `NAME.tsv`; recordings that are no files go to `audio/`."""
    return csv.table(examples, out, "\t", ".tsv")
