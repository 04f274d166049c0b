"""The comparison of algorithms: its figures by hand, and that it runs, stops anywhere and goes on."""

import importlib
import json
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def on_path(monkeypatch):
    """The scripts find each other beside them, as when they are run; their threads are not ours."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def record(row, seed, errors, curve=()):
    """A run with the same errors on both sets: ten utterances of ten words by one speaker each."""
    final = {"errors": errors, "words": [10] * 10, "speakers": [f"speaker {i}" for i in range(10)]}
    points = [
        {"step": 10 * i, "samples": 100 * i, "seconds": 2.0 * i, "edits": edits, "words": 100}
        for i, edits in enumerate(curve)
    ]
    return {"row": row, "seed": seed, "made_by": {}, "curve": points, "final": {"noisy": final, "reverb": final}}


def test_rates_are_of_all_seeds_and_half_is_the_first_evaluation_that_finds_it():
    report = importlib.import_module("algorithm_report")
    runs = [record("grpo", 0, [4] * 10, [80, 60, 40, 20]), record("grpo", 1, [2] * 10, [80, 40, 50, 20])]
    row = report.summarize(runs)["rows"]["grpo"]
    assert row["both"]["wer"] == pytest.approx(0.3)
    assert row["seeds"] == [0.4, 0.2]
    assert row["half"] == {"reached": 2, "of": 2, "samples": 150, "seconds": 3.0}
    assert row["curve"][1] == {"step": 10, "samples": 100, "seconds": 2.0, "wer": 0.5, "low": 0.4, "high": 0.6}
    never = report.summarize([record("grpo", 0, [4] * 10, [80, 41])])["rows"]["grpo"]["half"]
    assert never == {"reached": 0, "of": 1, "samples": None, "seconds": None}


def test_verdicts_fall_either_way_or_neither():
    summarize = importlib.import_module("algorithm_report").summarize
    worse, better = [5, 4, 5, 6, 5, 4, 5, 6, 5, 4], [1, 2, 1, 2, 1, 2, 1, 2, 1, 2]
    one, other = ("grpo", "grpo, alignment credit")
    said = {
        verdict: summarize([record(one, 0, first), record(other, 0, second)])["verdicts"][0]
        for verdict, first, second in (
            ("is better", worse, better),
            ("is worse", better, worse),
            ("is neither better nor worse", [1, 2] * 5, [2, 1] * 5),
        )
    }
    assert all(f"Alignment credit {verdict}" in sentence for verdict, sentence in said.items())
    assert "-34.0 points [" in said["is better"]
    sft = summarize([record("grpo", 0, worse), record("mwer", 0, better), record("sft", 0, [3] * 10)])["verdicts"]
    assert any("is better than grpo (" in sentence for sentence in sft)
    assert any("is worse than mwer (" in sentence for sentence in sft)


def test_a_report_stands_between_its_marks(tmp_path):
    report = importlib.import_module("algorithm_report")
    document = tmp_path / "page.md"
    document.write_text(f"# Before\n\n{report.BEGIN}\nold\n{report.END}\n\nAfter.\n")
    report.write_report(report.summarize([record("grpo", 0, [4] * 10, [80, 30])]), document)
    text = document.read_text()
    assert text.startswith("# Before\n\n")
    assert text.endswith(f"{report.END}\n\nAfter.\n")
    assert "old" not in text
    assert "| `grpo` | 40.0% [40.0, 40.0] |" in text
    assert (tmp_path / "page.png").stat().st_size > 1000


@pytest.mark.slow
def test_a_quick_run_reports_its_rows_and_is_not_repeated(tmp_path, capsys, monkeypatch):
    main = importlib.import_module("algorithms").main
    arguments = ["--quick", "--threads", "1", "--seeds", "1", "--out", str(tmp_path), "--json", "--rows", "sft"]
    main([*arguments, "self_critical"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(found["rows"]) == {"builtin:student", "self_critical", "sft"}
    assert all(row[name]["wer"] >= 0 for row in found["rows"].values() for name in ("noisy", "reverb", "both"))
    samples = {name: [at["samples"] for at in found["rows"][name]["curve"]] for name in ("sft", "self_critical")}
    assert samples == {"sft": [0, 2, 4], "self_critical": [0, 6, 12]}
    assert (tmp_path / "report.md").exists()
    runs = importlib.import_module("algorithms")
    monkeypatch.setattr(runs, "run_row", lambda *_: pytest.fail("a finished run was made again"))
    main(arguments)
    again = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert again["rows"] == found["rows"]
