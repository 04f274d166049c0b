"""The benchmarks run, and print what their readers look for; how fast anything is, they say themselves."""

import importlib
import json
import re
from argparse import Namespace
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = ["shared_prefix", "text_vs_trl", "transcribe"]


@pytest.fixture(autouse=True)
def on_path(monkeypatch):
    """The scripts find their shared modules beside them, as when they are run; their threads are not ours."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def script(name):
    return importlib.import_module(name)


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_says_what_each_side_does(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        script(name).main(["--help"])
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    assert "Ours is" in said
    assert "standard side" in said
    assert "qwen3-asr-1.7b" in said


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        script(name).main(["--device", "cuda", "--dtype", "bfloat16", "--preset", "qwen3-asr-1.7b"])
    assert stopped.value.code == 2
    assert "GPU" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("shared_prefix", ["ratio", "ratio_rollout", "ratio_train", "limit", "memory_ratio", "max_logprob_diff"]),
        ("text_vs_trl", ["ratio", "memory_ratio"]),
        ("transcribe", ["ratio", "ratio_sorted", "memory_ratio"]),
    ],
)
def test_the_last_line_is_one_object_with_the_figures(name, figures, capsys, monkeypatch):
    if name == "text_vs_trl":
        pytest.importorskip("trl")
    module = script(name)
    monkeypatch.setattr(module, "peak_mb", lambda script, arguments, side: {"ours": 100.0, "standard": 300.0}[side])
    module.main(["--preset", "tiny", "--rounds", "1", "--threads", "1", "--malloc", "default", "--json"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert all(found[figure] >= 0 for figure in figures)
    assert found["memory_ratio"] == 3
    assert found["preset"] == "tiny"
    if name == "shared_prefix":
        assert found["max_logprob_diff"] < 1e-4
        assert 1 < found["limit"] < 4
    if name == "transcribe":
        assert found["same_tokens"] == {"standard": 1.0, "standard sorted": 1.0}


def test_sides_take_turns_and_the_warm_up_does_not_count():
    alternate, calls = script("side_by_side").alternate, []

    def side(name, seconds):
        def run(number):
            calls.append(name)
            return {"rollout": 100.0, "train": 100.0} if number == 0 else {"rollout": seconds, "train": float(number)}

        return run

    medians = alternate({"ours": side("ours", 1.0), "standard": side("standard", 4.0)}, rounds=3)
    assert medians["ours"] == {"rollout": 1.0, "train": 2.0, "total": 3.0}
    assert medians["standard"] == {"rollout": 4.0, "train": 2.0, "total": 6.0}
    assert [calls[i] for i in (0, 2, 4, 6)] == ["standard", "ours", "standard", "ours"]


@pytest.mark.slow
def test_peak_memory_is_that_of_a_fresh_process(tmp_path):
    module = script("side_by_side")
    measured = tmp_path / "measured.py"
    measured.write_text(
        f"import sys, torch; sys.path.insert(0, {str(BENCHMARKS)!r})\n"
        "from side_by_side import report_peak\n"
        "assert sys.argv[1:] == ['--rounds', '7', '--memory-of', 'ours']\n"
        "bytearray(200 << 20); report_peak(torch.device('cpu'))\n"
    )
    ballast = bytearray(700 << 20)
    peak = module.peak_mb(str(measured), Namespace(argv=["--rounds", "7", "--json"]), "ours")
    assert 200 < peak < len(ballast) / 2**20
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit('no such weights')")
    with pytest.raises(RuntimeError, match=re.compile("broken.py.*no such weights", re.DOTALL)):
        module.peak_mb(str(broken), Namespace(argv=[]), "ours")
