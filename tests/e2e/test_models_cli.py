"""`antiphon models` and the parity gate of a run, from end to end."""

from __future__ import annotations

import json
import re

import pytest
import torch
from conftest import REPOSITORY

from antiphon.cli.models import OPEN, families
from antiphon.errors import ModelError
from antiphon.models import load
from antiphon.models.load import load_policy
from antiphon.run.observers import Observer
from antiphon.run.resume import resumed_config
from antiphon.run.train import train

FIELDS = {"family", "architectures", "model_types", "task", "token_losses", "feature_cache", "bound"}
QUICK = ("eval.before=false", "eval.after=false")


@pytest.fixture(scope="module")
def deaf(tmp_path_factory):
    """A folder with a student whose projector makes the same of everything."""
    policy = load_policy("builtin:student", torch.device("cpu"), torch.float32)
    *_, last = [one for one in policy.model.model.audio_tower.modules() if isinstance(one, torch.nn.Linear)]
    with torch.no_grad():
        last.weight.zero_()
    folder = tmp_path_factory.mktemp("deaf") / "model"
    policy.save(folder)
    return folder


class Gates(Observer):
    """The checks that a run shows."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, bool]] = []

    def gated(self, step, report) -> None:
        self.seen.append((step, report.passed))


def test_the_table_lists_every_model_type_that_loads(cli):
    rows = cli("models", "--json").json["families"]
    for row in rows:
        assert set(row) == FIELDS
    assert {one for row in rows for one in row["model_types"]} == {one for head in load._HEADS for one in head.types}
    credit = {row["family"]: row["token_losses"] for row in rows}
    assert credit["audio-prefix LM"]
    assert credit["text LM"]
    assert not credit["CTC"]
    assert not credit["classifier"]


def test_people_see_every_family_and_its_model_types(cli):
    shown = cli("models")
    assert shown.status == 0
    assert ".py" not in shown.out, "an installed package has no tests"
    for row in families():
        assert row.family in shown.out
        for name in () if row.family in OPEN else row.model_types:
            assert name in shown.out


def test_a_sound_model_passes(cli):
    payload = cli("models", "check", "builtin:student", "--device", "cpu", "--prompts", 2, "--json").json
    assert payload["passed"]
    assert payload["architecture"] == "Qwen3ASRForConditionalGeneration"
    assert payload["prompts"] == len(payload["prompt_lengths"]) == 2
    assert [check["passed"] for check in payload["checks"]] == [True, True]
    assert [check["at_least"] for check in payload["checks"]] == [False, True]


def test_a_model_is_checked_on_data_of_ones_own(cli, speech):
    shown = cli("models", "check", "builtin:student", "--device", "cpu", "--data", f"{speech}/dev.jsonl")
    assert shown.status == 0, shown.err
    assert re.search(r"largest engine-trainer difference\s+\S+\s+≤ 0.0001\s+pass", shown.out)
    assert re.search(r"change under shuffled clips\s+\S+\s+> 0.0001\s+pass", shown.out)


def test_a_deaf_model_fails_with_status_1_and_says_why(cli, deaf):
    shown = cli("models", "check", deaf, "--device", "cpu", "--prompts", 2)
    assert shown.status == 1
    assert re.search(r"change under \S.*FAIL", shown.out)
    assert "the model ignores its audio" in shown.err
    failed = cli("models", "check", deaf, "--device", "cpu", "--prompts", 2, "--json")
    assert failed.status == 1
    assert json.loads(failed.out)["passed"] is False


def test_what_cannot_be_checked_is_said(cli, tmp_path):
    unknown = cli("models", "check", "builtin:studnet")
    assert (unknown.status, unknown.out) == (2, "")
    assert "did you mean builtin:student?" in unknown.err
    misplaced = cli("models", "--json", "check", "builtin:student")
    assert misplaced.status == 2
    assert "put --json last" in misplaced.err


def test_a_deaf_model_stops_the_run_before_its_first_step(small, deaf):
    reporter = Gates()
    with pytest.raises(ModelError, match="parity gate: the model ignores its audio"):
        train(small(f"model={deaf}"), observers=[reporter])
    assert reporter.seen == [(0, False)]


def test_the_gate_leaves_its_numbers_and_no_other_trace(small):
    reporter = Gates()
    checked = train(small(*QUICK, "train.steps=4", "gate.every=1", "gate.prompts=2"), observers=[reporter]).run
    plain = train(small(*QUICK, "train.steps=4", "gate.enabled=false", "name=plain")).run
    assert reporter.seen == [(0, True), (1, True), (2, True), (3, True)]
    assert [line["step"] for line in checked.gate()] == [0, 1, 2, 3]
    assert {line["prompts"] for line in checked.gate()} == {2}
    assert checked.gate()[1]["ablation_change"] != checked.gate()[3]["ablation_change"], "measured anew"
    assert not (plain.path / "gate.jsonl").exists()
    for file in ("metrics.jsonl", "checkpoints/step-000004/model.safetensors"):
        assert (checked.path / file).read_bytes() == (plain.path / file).read_bytes(), file


def test_a_resumed_run_is_checked_again_and_its_lines_are_as_they_would_have_been(small):
    run = train(small(*QUICK, "train.steps=4", "gate.every=2", "gate.prompts=2")).run
    lines = (run.path / "gate.jsonl").read_bytes()
    reporter = Gates()
    train(resumed_config("latest@2", {"output": str(run.path.parent)}, []), resume="latest@2", observers=[reporter])
    assert reporter.seen == [(2, True)]
    assert (run.path / "gate.jsonl").read_bytes() == lines


def test_the_documented_keys_are_those_of_the_line(trained):
    text = (REPOSITORY / "docs" / "run-folder.md").read_text()
    section = text.split("\n## gate.jsonl\n")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    documented = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    (line,) = trained.run.gate()
    assert list(line) == documented
    assert (line["step"], line["passed"]) == (0, True)
