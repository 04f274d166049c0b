"""The code of docs/python-api.md, from top to bottom: its settings are checked, and nothing is trained or served."""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from doc_blocks import ROOT, blocks

from antiphon import DeploymentConfig, MultimodalDataset, Recipe, TrainConfig, TrainingGroup
from antiphon.api.recordings import as_uri
from antiphon.api.sweep import SweepResult, SweepRow
from antiphon.errors import ConfigError
from antiphon.rewards.load import load_reward
from antiphon.run.train import TrainResult
from antiphon.runs.folder import RunFolder
from antiphon.train.objectives import load_objectives

CODE = [block for block in blocks(ROOT / "docs" / "python-api.md") if block.language == "python"]


@pytest.fixture
def checked(tmp_path, monkeypatch):
    """The configurations of all runs that would have been made."""
    configs = []

    def train(self):
        config = self.config()
        load_objectives(config.algorithm)
        if reward := self._recipe().reward or config.reward:
            load_reward(reward)
        configs.append(config)
        run = RunFolder.create(config, ["test"])
        with run.checkpoints.save(config.train.steps) as folder:
            (folder / "config.json").write_text("{}")
        return TrainResult(run, config.train.steps, 1.0, None)

    def launch(self):
        run = train(self)
        return SimpleNamespace(
            training_run_id=run.training_run_id,
            log="log.txt",
            done=lambda: True,
            checkpoints=lambda: [],
            result=lambda timeout: run,
        )

    def sweep(self, parallel):
        return SweepResult([SweepRow(settings, train(config).run, 0.5) for settings, config in self.configs()], "wer")

    @contextmanager
    def serve(self):
        yield SimpleNamespace(deployment_config=self, url="http://127.0.0.1", transcribe=lambda audio: "a tone")

    row = {"prompt": "<audio>", "audios": [as_uri((np.zeros(1600), 16000))], "label": "a tone"}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(MultimodalDataset, "load", lambda self, split="all": [row])
    for owner, name, stub in (
        (TrainConfig, "train", train),
        (TrainConfig, "launch", launch),
        (TrainingGroup, "run", sweep),
        (DeploymentConfig, "serve", serve),
    ):
        monkeypatch.setattr(owner, name, stub)
    return configs


def test_the_code_of_the_page_is_valid(checked, capsys):
    names: dict = {}
    for block in CODE:
        exec(compile(block.text, block.place, "exec"), names)
    assert [config.algorithm_name for config in checked] == ["grpo"] * 6
    assert checked[0].model == "Qwen/Qwen3-ASR-1.7B-hf"
    assert "1.0 None 1" in capsys.readouterr().out, "the mean, no interval of one row, and the total"


def test_the_recipes_of_the_page_are_valid(checked):
    recipes = [eval(line, {"Recipe": Recipe}) for line in CODE[1].text.splitlines()]
    for recipe in recipes:
        TrainConfig("builtin:student", "train.jsonl", recipe).train()
    assert [config.algorithm_name for config in checked] == ["grpo", "raft", "opd"]
    mistyped = TrainConfig("builtin:student", "train.jsonl", Recipe("raft", algorithm={"treshold": 0.7}))
    with pytest.raises(ConfigError, match=r"unknown key 'algorithm\.treshold'"):
        mistyped.train()
