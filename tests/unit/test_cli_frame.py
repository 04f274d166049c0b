"""The command line's frame: errors, JSON, and listing of runs."""

import json
import subprocess
import sys

import pytest
import typer

from antiphon import __version__
from antiphon.cli import main as frame
from antiphon.cli import output
from antiphon.cli.main import main
from antiphon.config import load_config
from antiphon.errors import AntiphonError
from antiphon.runs import RunFolder


def run_main(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return caught.value.code


@pytest.fixture
def failing(monkeypatch):
    """An application whose one command raises what it is given."""

    def with_error(error: BaseException) -> None:
        app = typer.Typer(pretty_exceptions_enable=False)

        @app.command()
        def fail() -> None:
            raise error

        monkeypatch.setattr(frame, "app", app)

    monkeypatch.delenv("ANTIPHON_DEBUG", raising=False)
    return with_error


def test_help_and_version_do_not_load_torch():
    code = (
        "import sys\n"
        "from antiphon.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'transformers', 'pyarrow', 'soundfile'} & set(sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "checkpoints" in shown.stdout
    assert "data" in shown.stdout


def test_the_version_is_the_packages(capsys):
    assert run_main("--version") == 0
    assert capsys.readouterr().out == f"antiphon {__version__}\n"


def test_an_error_is_one_line_without_a_traceback(failing, capsys):
    failing(AntiphonError("row 3 of [a/b].jsonl is wrong; mend it " + "x" * 200))
    assert run_main() == 2
    shown = capsys.readouterr()
    assert shown.err == "error: row 3 of [a/b].jsonl is wrong; mend it " + "x" * 200 + "\n"
    assert shown.out == ""


def test_debugging_shows_the_error_itself(failing, monkeypatch):
    failing(AntiphonError("wrong"))
    monkeypatch.setenv("ANTIPHON_DEBUG", "1")
    with pytest.raises(AntiphonError, match="wrong"):
        main([])


def test_an_interrupt_has_its_own_exit_status(failing):
    failing(KeyboardInterrupt())
    assert run_main() == 130


def test_a_misspelled_command_is_a_usage_error(capsys):
    assert run_main("rnus") == 2
    assert "runs" in capsys.readouterr().err


def make_run(output, *overrides: str, measure: str = "wer") -> RunFolder:
    config = load_config(None, [f"output={output}", *overrides])
    run = RunFolder.create(config, [])
    for step, rate in ((0, 0.5), (50, 0.25), (100, 0.75)):
        run.save_eval("clean", step, {measure: rate}, [{"id": "a"}])
    with run.checkpoints.save(50) as folder:
        (folder / "weights").write_bytes(bytes(1000))
    run.update("finished", step=100)
    return run


def test_runs_are_one_line_of_json(tmp_path, capsys):
    run = make_run(tmp_path)
    assert run_main("runs", "--output", str(tmp_path), "--json") == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    (row,) = json.loads(out)["runs"]
    started = row.pop("started")
    assert started == run.status.started
    assert row == {
        "run": run.id,
        "state": "finished",
        "step": 100,
        "steps": 100,
        "model": "builtin:student",
        "algorithm": "grpo",
        "measure": "wer",
        "best": 0.25,
        "last": 0.75,
        "error": None,
        "reason": None,
        "guard": None,
        "problems": [],
    }


def test_runs_are_a_table_for_people(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(output.tables, "width", 160)
    run = make_run(tmp_path)
    run_main("runs", "--output", str(tmp_path))
    shown = capsys.readouterr().out
    for cell in (run.id, "finished", "100/100", "builtin:student", "25.0%", "75.0%"):
        assert cell in shown


def test_a_run_of_whole_answers_shows_its_accuracy(tmp_path, capsys):
    run = make_run(tmp_path, measure="accuracy")
    run_main("runs", "--output", str(tmp_path), "--json")
    (row,) = json.loads(capsys.readouterr().out)["runs"]
    assert (row["measure"], row["best"], row["last"]) == ("accuracy", 0.75, 0.75)
    run_main("checkpoints", run.id, "--output", str(tmp_path))
    assert "clean: accuracy 25.0%" in capsys.readouterr().out


def test_a_run_of_another_version_does_not_hide_the_others(tmp_path, capsys):
    old, new = make_run(tmp_path), make_run(tmp_path, "name=new")
    (old.path / "config.yaml").write_text("modell: x\n")
    run_main("runs", "--output", str(tmp_path), "--json")
    rows = {row["run"]: row for row in json.loads(capsys.readouterr().out)["runs"]}
    assert rows[old.id]["model"] == "unreadable"
    assert "unknown key 'modell'" in rows[old.id]["error"]
    assert rows[new.id]["model"] == "builtin:student"


def test_checkpoints_show_their_size_and_evaluations(tmp_path, capsys):
    run = make_run(tmp_path)
    assert run_main("checkpoints", run.id, "--output", str(tmp_path), "--json") == 0
    payload = json.loads(capsys.readouterr().out)
    assert payload["run"] == run.id
    (checkpoint,) = payload["checkpoints"]
    assert (checkpoint["step"], checkpoint["bytes"]) == (50, 1000)
    assert checkpoint["eval"] == {"clean": {"set": "clean", "step": 50, "wer": 0.25}}


def test_an_unknown_run_is_an_error(tmp_path, capsys):
    assert run_main("checkpoints", "nope", "--output", str(tmp_path)) == 2
    assert "error: no run 'nope'" in capsys.readouterr().err


def test_python_dash_m_is_the_command():
    shown = subprocess.run([sys.executable, "-m", "antiphon", "--help"], capture_output=True, text=True, check=True)
    assert "Usage: antiphon" in shown.stdout
