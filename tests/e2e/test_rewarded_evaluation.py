"""Runs that are judged by what their answers earn, or by what is read of them."""

from __future__ import annotations

import json
import random

import pytest
from conftest import write_rows
from tiny_audio import bytes_tokenizer
from tiny_text import tiny

from antiphon.config import load_config
from antiphon.errors import ConfigError
from antiphon.run.train import train

REWARD = """
import random

def short(sample):
    if sample.metadata.get("broken"):
        raise ValueError("no answer to judge")
    return -len(sample.response) - random.random()
"""

THINKING = """
from dataclasses import replace
from antiphon.rollout.engines.in_process import InProcessEngine

def tagged(completion):
    heard = completion.text.rpartition("<asr_text>")[2]
    return replace(completion, text=f"<reasoning>one two three four</reasoning><answer>{heard}</answer>")

class Thinking:
    def __init__(self, policy, rollout):
        self.inner = InProcessEngine(policy, rollout.max_tokens)
        self.capabilities = self.inner.capabilities

    def sync(self, policy, version):
        self.inner.sync(policy, version)

    def rollout(self, prompts, n, sampling, seed, step):
        return [[tagged(one) for one in group] for group in self.inner.rollout(prompts, n, sampling, seed, step)]

    def greedy(self, prompts, max_new_tokens, concurrency=None):
        return [tagged(one) for one in self.inner.greedy(prompts, max_new_tokens, concurrency)]
"""


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A folder with a tiny language model, prompts and a reward."""
    folder = tmp_path_factory.mktemp("words")
    tiny("qwen3").save_pretrained(folder / "model")
    bytes_tokenizer().save_pretrained(folder / "model")
    rows = [{"id": f"p{i}", "prompt": f"Say {i}.", "text": "ok", "kind": f"k{i % 2}"} for i in range(6)]
    write_rows(folder / "train.jsonl", rows)
    write_rows(folder / "dev.jsonl", [*rows[:4], {**rows[4], "broken": True}])
    (folder / "mine.py").write_text(REWARD)
    return folder


def asked(words, output, *overrides: str):
    return load_config(
        overrides=[
            f"model={words}/model",
            "task=text",
            f"data={{train: {words}/train.jsonl, eval: {words}/dev.jsonl}}",
            "rollout={prompts_per_step: 3, group_size: 4, max_new_tokens: 6}",
            "train={steps: 3, save_every: -1}",
            "optimizer.lr=1e-3",
            "device=cpu",
            "threads=1",
            f"output={output}",
            *overrides,
        ]
    )


def test_open_answers_are_judged_by_the_reward(words, tmp_path):
    settings = (f"reward={words}/mine.py:short", "eval={every: 1, samples_per_prompt: 3, group_by: kind}")
    random.seed(1)
    run = train(asked(words, tmp_path, *settings, "guard.min_utterances=2")).run
    summaries = {one["step"]: one for one in run.evals()}
    assert sorted(summaries) == [0, 1, 2, 3]
    for step, summary in summaries.items():
        assert (summary["measure"], summary["accuracy"], summary["reward_failed"]) == ("reward", 0.0, 3)
        assert summary["reward"] < summary["reward_best"]
        low, high = summary["reward_ci"]
        assert low <= summary["reward"] <= high
        assert set(summary["groups"]) == {"k0", "k1"}
        rows = run.eval_rows("dev", step)
        assert rows[-1]["reward"] is None, "those that failed come last"
        assert [row["reward"] for row in rows[:-1]] == sorted(row["reward"] for row in rows[:-1])
    assert run.best_step() == max((1, 2, 3), key=lambda step: summaries[step]["reward"])
    assert {one["measure"] for one in run.guard()[0]["comparisons"]} == {"reward"}
    log = (run.path / "log.txt").read_text()
    assert "evaluating dev: the reward failed for 3 of 15 answers. The first: " in log

    random.seed(1)
    without = train(
        asked(words, tmp_path, settings[0], "eval={every: 0, before: false, after: false}", "name=none")
    ).run
    assert without.metrics() == run.metrics(), "evaluation changes nothing of training"


def test_a_task_without_a_reward_of_its_own_asks_for_one(words, tmp_path):
    with pytest.raises(ConfigError, match=r"the task text has no reward of its own, .*; name it: reward=exact, or"):
        train(asked(words, tmp_path))
    assert not list(tmp_path.glob("*")), "before there is a run"


def test_a_run_states_its_tasks_reward_and_reports_it(trained):
    assert trained.run.config.reward == "wer"
    for summary in trained.after.values():
        assert summary["measure"] == "wer"
        assert summary["reward_failed"] == 0
        assert -1 <= summary["reward"] <= 0
    assert next(iter(trained.after["dev"])) == "wer"


def test_reasoning_before_the_answer_is_not_measured(small, tmp_path):
    """Best checkpoint, patience and guard read these summaries and rows."""
    (tmp_path / "thinking.py").write_text(THINKING)
    settings = ["reward=[omni, {name: format, weight: 0.1}]", "train={steps: 2, save_every: -1}", "eval.every=1"]
    settings += ["guard.min_utterances=1", "gate.enabled=false"]
    run = train(small(*settings, f"rollout.engine={tmp_path}/thinking.py:Thinking")).run
    plain = train(small(*settings[1:], "reward=wer", "eval.every=0", "train.steps=1", "name=plain")).run
    before, same = run.evals()[0], plain.evals()[0]
    assert before["wer"] == same["wer"], "as without the reasoning"
    assert all("<" not in row["pred_text"] for row in run.eval_rows("dev", 0))
    assert before["measure"] == "wer"
    assert before["reward"] > same["reward"], "there is an answer"
    whole = json.loads((run.path / "guard.jsonl").read_text().splitlines()[0])["comparisons"][0]
    assert whole["before"] == before["wer"]
    assert run.best_step() == min((1, 2), key=lambda step: run.evals()[step]["wer"])


def test_eval_reports_a_reward_where_one_is_asked_for(words, tmp_path, cli):
    arguments = ("eval", f"{words}/model", "--data", f"{words}/dev.jsonl", "--task", "text", "--max-new-tokens", 6)
    rewarded = (*arguments, "--reward", f"{words}/mine.py:short", "--output", tmp_path / "kept", "--json")
    first, again = (cli(*rewarded).json["dev"] for _ in range(2))
    assert (first["measure"], first["reward_failed"], first["n"]) == ("reward", 1, 5)
    low, high = first["reward_ci"]
    assert low <= first["reward"] <= high
    assert again["reward"] == pytest.approx(first["reward"], abs=1), "of transcripts that were kept"
    plain = cli(*arguments, "--json").json["dev"]
    assert "reward" not in plain
    assert "measure" not in plain
