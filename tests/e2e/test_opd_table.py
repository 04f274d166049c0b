"""`recipes/reproduce/opd_table.py`: its rows, its figures, and that a second call makes nothing again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import opd_table
import pytest

SETS = ["clean", "noisy", "fast", "accent", "reverb"]


def test_every_row_is_measured_on_every_set_and_nothing_twice(tmp_path, capsys):
    arguments = ["--quick", "--seeds", "1", "--jobs", "2", "--output", str(tmp_path), "--json"]
    opd_table.main(arguments)
    first = capsys.readouterr().out.splitlines()[-1]
    rows = json.loads(first)["rows"]
    assert list(rows) == ["Base", "Base+SFT", "Base+OPD", "Base+TD", "Base+TD+OPD", "Teacher"]
    for row in rows.values():
        assert list(row) == SETS
        assert all(one["ci"][0] <= one["wer"] <= one["ci"][1] for one in row.values())
    assert (tmp_path / "quick" / "table.md").read_text().startswith("| | clean | noisy | fast | accent | reverb |")

    def files() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != "table.md"}

    before = {path: time for path, time in files().items() if path.is_file()}
    opd_table.main(arguments)
    assert capsys.readouterr().out.splitlines()[-1] == first
    assert {path: time for path, time in files().items() if path.is_file()} == before


def test_untranscribed_clips_have_neither_text_nor_language(tmp_path):
    opd_table.write_clips(tmp_path, opd_table.QUICK)
    for line in (tmp_path / "untranscribed.jsonl").read_text().splitlines():
        assert set(json.loads(line)) == {"id", "audio"}


def utterances(errors):
    return [{"id": f"u{i}", "wer_errors": e, "ref_words": 4, "speaker": None} for i, e in enumerate(errors)]


def test_a_cell_pools_the_seeds_by_utterance():
    cell = opd_table.cell([utterances([1, 0, 2]), list(reversed(utterances([3, 0, 0])))])
    assert cell["wer"] == pytest.approx((1 + 0 + 2 + 3) / 2 / 12)
    assert cell["seeds"] == pytest.approx([3 / 12, 3 / 12])
    low, high = cell["ci"]
    assert 0 <= low < cell["wer"] < high <= 0.5


def test_a_comparison_is_the_first_row_less_the_second_over_all_sets():
    rng = np.random.default_rng(0)
    base = {name: [utterances(rng.integers(1, 4, 40).tolist())] for name in SETS}
    better = {name: [[{**row, "wer_errors": row["wer_errors"] - 1} for row in base[name][0]]] for name in SETS}
    found = opd_table.compare({"Base": base, "Base+OPD": better}, "Base+OPD", "Base")
    assert found["delta"] == pytest.approx(-0.25)
    assert found["p"] < 0.01
    assert found["ci"][1] < 0
