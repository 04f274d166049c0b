"""Engines of a run: one of the user's samples everywhere, and the version of the weights goes with each completion."""

import json

import pyarrow.parquet as pq
import pytest

from antiphon.run.train import train

WRAPPER = """
import json
from dataclasses import replace
from pathlib import Path
from antiphon.rollout.engines.in_process import InProcessEngine

class Late:
    def __init__(self, policy, rollout, log, behind=0):
        self.inner, self.log, self.behind = InProcessEngine(policy, rollout.max_tokens), Path(log), behind
        self.capabilities, self.calls = self.inner.capabilities, []

    def _note(self, *call):
        self.calls.append(call)
        self.log.write_text(json.dumps(self.calls))

    def sync(self, policy, version):
        self._note("sync", version)
        self.inner.sync(policy, version)

    def rollout(self, prompts, n, sampling, seed, step):
        self._note("rollout", len(prompts), n)
        groups = self.inner.rollout(prompts, n, sampling, seed, step)
        return [[replace(one, version=one.version - self.behind) for one in group] for group in groups]

    def greedy(self, prompts, max_new_tokens, concurrency=None):
        self._note("greedy", len(prompts), concurrency)
        return self.inner.greedy(prompts, max_new_tokens, concurrency)
"""


@pytest.fixture
def engine(tmp_path):
    (tmp_path / "late.py").write_text(WRAPPER)
    return f"{{name: '{tmp_path}/late.py:Late', log: {tmp_path}/calls.json, behind: 2}}"


def test_an_engine_from_a_file_samples_for_training_gate_and_evaluation(small, engine, tmp_path):
    settings = ["train.steps=3", "eval.every=2", "train.save_every=-1"]
    run = train(small(f"rollout.engine={engine}", *settings)).run
    calls = json.loads((tmp_path / "calls.json").read_text())
    names = [name for name, *_ in calls]
    rollout, greedy = ["rollout", 4, 4], ["greedy", 2, run.config.eval.batch_size]
    gate = ["rollout", run.config.gate.prompts, 2]
    steps = [["sync", 0], rollout, ["sync", 1], rollout, ["sync", 2], greedy, ["sync", 2], rollout]
    assert calls == [["sync", 0], gate, ["sync", 0], greedy, *steps, ["sync", 3], greedy]
    assert set(names) == {"sync", "rollout", "greedy"}

    assert [row["staleness"] for row in run.metrics()] == [2, 2, 2]
    plain = train(small(*settings, "name=plain")).run
    assert [row["staleness"] for row in plain.metrics()] == [0, 0, 0]
    without = [[{k: v for k, v in row.items() if k != "staleness"} for row in one.metrics()] for one in (run, plain)]
    assert without[0] == without[1]
    tables = [pq.read_table(one.path / "rollouts" / "step-000003.parquet") for one in (run, plain)]
    assert tables[0]["token_ids"].to_pylist() == tables[1]["token_ids"].to_pylist()
