"""Writes that a crash cannot leave half done. A crash is a failure injected where the system would stop."""

import json
import math
import os
from pathlib import Path

import pytest

from antiphon.errors import RunError
from antiphon.runs import atomic, lines


class Killed(BaseException):
    """Stands for SIGKILL at the injected point: no handler of ordinary errors may swallow it."""


def kill(*_, **__):
    raise Killed


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_crash_before_the_rename_leaves_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "status.json"
    atomic.write_text(path, "old")
    monkeypatch.setattr(Path, "replace", kill)
    with pytest.raises(Killed):
        atomic.write_text(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["status.json"]


def test_a_file_is_synced_before_it_takes_its_name(tmp_path, monkeypatch):
    order = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("sync"), sync(handle))[1])
    monkeypatch.setattr(Path, "replace", lambda *args: (order.append("rename"), replace(*args))[1])
    atomic.write_bytes(tmp_path / "weights", b"1")
    assert order == ["sync", "rename", "sync"]


def test_a_write_that_cannot_be_names_the_path_and_the_remedy(tmp_path):
    (tmp_path / "file.txt").write_text("")
    path = tmp_path / "file.txt" / "status.json"
    with pytest.raises(RunError) as caught:
        atomic.write_text(path, "x")
    assert str(caught.value) == (
        f"cannot write {path}: Not a directory; check that its folder is a folder, is writable and has space"
    )


def test_json_has_null_for_what_is_not_a_number(tmp_path):
    atomic.write_json(tmp_path / "a.json", {"a": math.nan, "b": [math.inf, 1.5], "c": {"d": -math.inf}})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": None, "b": [None, 1.5], "c": {"d": None}}


def test_a_folder_appears_whole_and_replaces_the_one_before(tmp_path):
    final = tmp_path / "step-000001"
    for content in ("old", "new"):
        with atomic.atomic_dir(final) as aside:
            (aside / "deep").mkdir()
            (aside / "deep" / "weights").write_text(content)
            assert aside.name.startswith(".")
    assert (final / "deep" / "weights").read_text() == "new"
    assert names(tmp_path) == ["step-000001"]


def test_a_failed_folder_leaves_the_one_before(tmp_path):
    final = tmp_path / "step-000001"
    with atomic.atomic_dir(final) as aside:
        (aside / "weights").write_text("old")
    with pytest.raises(FileExistsError), atomic.atomic_dir(final) as aside:
        aside.mkdir()
    assert (final / "weights").read_text() == "old"
    assert names(tmp_path) == ["step-000001"]


def test_cleaning_removes_leftovers_and_puts_back_an_unreplaced_folder(tmp_path):
    (tmp_path / ".step-000002.0123abcd").mkdir()
    (tmp_path / ".status.json.0123abcd").write_text("half")
    (tmp_path / ".step-000001.replaced").mkdir()
    (tmp_path / ".step-000003.replaced").mkdir()
    (tmp_path / "step-000003").mkdir()
    (tmp_path / ".keep").write_text("the user's")
    atomic.clean(tmp_path)
    assert names(tmp_path) == [".keep", "step-000001", "step-000003"]


def test_a_torn_last_line_is_as_if_never_written(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines.append(path, {"step": 1, "loss": 0.1})
    with path.open("ab") as file:
        file.write(b'{"step": 2, "lo')
    assert lines.read(path) == [{"step": 1, "loss": 0.1}]
    lines.append(path, {"step": 2, "loss": math.nan})
    assert path.read_text() == '{"step": 1, "loss": 0.1}\n{"step": 2, "loss": null}\n'


def test_a_file_that_is_one_torn_line_starts_over(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"st')
    lines.append(path, {"step": 1})
    assert path.read_text() == '{"step": 1}\n'


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\nnonsense\n{"step": 3}\n')
    with pytest.raises(RunError, match=r"metrics\.jsonl, line 2 is damaged"):
        lines.read(path)


def test_lines_kept_to_a_step_are_the_same_bytes(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for step in (1, 2, 3):
        lines.append(path, {"step": step, "loss": 0.1 + 0.2, "lr": 1e-06, "note": "é", "nan": math.nan})
    before = path.read_bytes().splitlines(keepends=True)
    lines.keep_to_step(path, 2)
    assert path.read_bytes() == b"".join(before[:2])
