"""Tasks: what is read of an answer, what is measured of it, and that rewards score the same."""

import numpy as np
import pytest

from antiphon.config import load_config
from antiphon.errors import ConfigError
from antiphon.evaluate.normalizers import load_normalizer
from antiphon.evaluate.recognize import Transcript, score
from antiphon.rewards import score_all
from antiphon.rewards.load import load_reward
from antiphon.rewards.sample import Sample
from antiphon.tasks.load import find_task, prompter, task_names
from antiphon.tasks.summary import columns_of, lower_is_better, main_column
from antiphon.types import Audio, Example, Text

THOUGHT = "<reasoning>thinking</reasoning><answer>hello world</answer>"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("hello world", "hello world"),
        (THOUGHT, "hello world"),
        ("<reasoning><answer>no</answer></reasoning><answer> yes </answer>", "yes"),
        ("<answer>first</answer> or <answer>last</answer>", "last"),
        ("<answer>never closed", "<answer>never closed"),
        ("<reasoning>on and on <answer>no</answer>", "<reasoning>on and on <answer>no</answer>"),
    ],
)
@pytest.mark.parametrize("task", task_names())
def test_what_stands_in_answer_tags_is_read(task, text, read):
    assert find_task(task).read(Text(text)) == read


def test_evaluation_measures_the_answer_that_is_read_and_not_the_reasoning():
    example = Example("a", "asr", None, "hello world", "en")
    transcript = Transcript(Text(THOUGHT), 1.0, "stop", None)
    summary, (row,) = score(find_task("asr"), [example], [transcript], load_normalizer())
    assert (summary["wer"], row["pred_text"]) == (0.0, "hello world"), "250% on the raw answer"


def test_rewards_of_words_score_what_is_read_and_format_sees_the_whole():
    sample = Sample("a", "", THOUGHT, "hello world", language="en", answer="hello world")
    wer, format = (score_all(load_reward(name), [sample])[0] for name in ("wer", "format"))
    assert wer is not None
    assert wer.value == 0.0
    assert format is not None
    assert format.parts == {"fits": 1.0}


def test_main_figures_and_which_way_is_better():
    assert main_column({"wer": 0.1, "cer": 0.05}).title == "WER"
    assert main_column({"accuracy": 0.9, "errors": 1}).key == "accuracy"
    assert [one.key for one in columns_of({"wer": 0.1, "cer": 0.05, "reward": -0.1})] == ["wer", "cer", "reward"]
    summaries = [{"wer": 0.1, "hallucination_rate": 0.0, "reward": 1.0}]
    assert [lower_is_better(summaries, key) for key in ("wer", "hallucination_rate", "edits", "reward", "other")] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_a_task_of_ones_own_is_found_by_its_path(tmp_path):
    file = tmp_path / "hum.py"
    file.write_text(
        "from antiphon.tasks.columns import Column\nfrom antiphon.tasks.task import Task\n\n\n"
        "class Hum(Task):\n    name = 'hum'\n    columns = (Column('off_hz', 'off by', form='{:.0f} Hz'),)\n"
    )
    task, sound = find_task(f"{file}:Hum"), Audio(np.zeros(4, np.float32), 8000)
    assert (task.name, task.read(sound)) == ("hum", sound)
    with pytest.raises(ConfigError, match="did you mean 'classify'"):
        find_task("clasify")


@pytest.mark.parametrize(
    ("asked", "only", "given", "forced"),
    [("auto", "en", None, "en"), ("auto", None, None, None), ("de", "en", None, "de"), ("given", "en", "fr", "fr")],
)
def test_a_model_of_one_language_is_asked_for_it(asked, only, given, forced):
    class Sound:
        name = "sound"

        def load(self, rate):
            return np.zeros(rate, np.float32)

    prompt = prompter(load_config(flags={"language": asked}), 16000, only)
    assert prompt(Example("a", "asr", Sound(), "five", given)).language == forced


def test_rows_and_summary_name_the_rules_of_the_language_that_is_known():
    said = [("a", "en", None), ("b", None, "en"), ("c", "ar", "en"), ("d", None, None)]
    examples = [Example(id, "asr", None, "5 8 4", given) for id, given, _ in said]
    answers = [Transcript(Text("five eight four"), 1.0, "stop", forced) for _, _, forced in said]
    summary, rows = score(find_task("asr"), examples, answers, load_normalizer())
    rules = {row["id"]: row["rules"] for row in rows}
    assert rules == {"a": "English", "b": "English", "c": "Arabic", "d": "general"}
    assert summary["rules"] == {"English": 2, "Arabic": 1, "general": 1}
    assert [row["id"] for row in rows if not row["wer_errors"]] == ["a", "b"]
