"""The demo keeps its promise: the built-in student learns to hear unseen voices through noise."""

from pathlib import Path

from antiphon.runs.folder import RunFolder


def test_demo_cuts_the_error_rate_by_sixty_percent(cli, tmp_path):
    result = cli("demo", "--json", "--output", tmp_path).json
    assert set(result) >= {"wer_before", "wer_after", "ci_before", "ci_after", "seconds", "run"}
    assert result["wer_after"] <= 0.4 * result["wer_before"]
    assert result["ci_after"][1] < result["ci_before"][0]
    assert Path(result["plot"]).stat().st_size > 10_000
    run = RunFolder.open(tmp_path / result["run"])
    assert run.status.state == "finished"
    assert [one["step"] for one in run.evals()] == [0, 50, 100, 150, 200]
