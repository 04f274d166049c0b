"""Rewards written by the user: every form, sums of several, and what each mistake is answered with."""

import asyncio
import math
import re
from pathlib import Path

import pytest

from antiphon.errors import ConfigError, RewardError
from antiphon.rewards import Sample, load_reward, score_all
from antiphon.rewards.load import in_recipe
from antiphon.types import Reward

SAMPLES = [
    Sample("a", "Transcribe.", "one two", "one two", 0, (5, 6, 7), "en", "jo", {"level": 1, "room": "hall"}),
    Sample("a", "Transcribe.", "one", "one two", 1, (5, 7), "en", "jo", {"level": 1, "room": "hall"}),
    Sample("b", "Transcribe.", "", "three", 0, (7,), "en", None, {"level": 2}),
]


@pytest.fixture
def spec(tmp_path: Path):
    """Writes a module and names a function of it."""

    def write(code: str, name: str = "f") -> str:
        path = tmp_path / "mine.py"
        path.write_text(code)
        return f"{path}:{name}"

    return write


def values(reward_spec, samples=SAMPLES) -> list[float]:
    return [reward.value for reward in score_all(load_reward(reward_spec), samples) if reward is not None]


def test_a_function_of_one_sample(spec) -> None:
    assert values(spec("def f(sample): return len(sample.response) / 2")) == [3.5, 1.5, 0.0]


def test_an_async_function_of_one_sample_runs_concurrently(spec) -> None:
    code = """
import asyncio
running = most = 0
async def f(sample):
    global running, most
    running += 1
    most = max(most, running)
    await asyncio.sleep(0.001)
    running -= 1
    return most if sample.id == "last" else 0
"""
    many = [Sample(str(i), "", "", "") for i in range(200)] + [Sample("last", "", "", "")]
    assert values(spec(code), many)[-1] == 64


def test_a_sample_function_may_have_options_and_return_parts(spec) -> None:
    code = """
from antiphon.types import Reward
def f(sample, *, bonus=2): return Reward(bonus, {"length": len(sample.completion_ids)})
"""
    rewards = score_all(load_reward(spec(code)), SAMPLES[:1])
    assert rewards == [Reward(2, {"length": 3})]


def test_the_batch_form_gets_every_column(spec) -> None:
    code = """
def f(prompts, completions, completion_ids, **columns):
    assert prompts == ["Transcribe."] * 3
    assert completions == ["one two", "one", ""]
    assert completion_ids == [[5, 6, 7], [5, 7], [7]]
    assert columns == {
        "id": ["a", "a", "b"], "text": ["one two", "one two", "three"],
        "reference": ["one two", "one two", "three"], "language": ["en", "en", "en"],
        "speaker": ["jo", "jo", None], "level": [1, 1, 2], "room": ["hall", "hall", None],
    }
    return [len(ids) for ids in completion_ids]
"""
    assert values(spec(code)) == [3.0, 2.0, 1.0]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def f(completions, reference): return [c == r for c, r in zip(completions, reference)]", [1, 0, 0]),
        ("def f(completions, level, weight=2): return [weight * one for one in level]", [2, 2, 4]),
        ("def f(**columns): return [0.5 * one for one in columns['level']]", [0.5, 0.5, 1]),
        ("async def f(completions, **_): return [len(c) for c in completions]", [7, 3, 0]),
        ("def f(*, prompts): return [1] * len(prompts)", [1, 1, 1]),
        ("import numpy as np\ndef f(completions): return np.arange(3, dtype=np.float32)", [0, 1, 2]),
        ("import torch\ndef f(completions): return torch.arange(3)", [0, 1, 2]),
        ("import torch\ndef f(completions): return [torch.tensor(2.5) for _ in completions]", [2.5] * 3),
        ("import numpy as np\ndef f(sample): return np.bool_(sample.id == 'b')", [0, 0, 1]),
    ],
)
def test_batch_functions_name_what_they_need(spec, code: str, expected: list[float]) -> None:
    assert values(spec(code)) == expected


SLIME = """
async def f(args, sample, **kwargs) -> float:
    assert not getattr(args, "debug", False) and not kwargs
    response = (getattr(sample, "response", "") or "").lower().strip()
    return float(response == sample.label)
"""

THINK = '''
import re
def think_format_reward(completions: list[list[dict[str, str]]], **kwargs) -> list[float]:
    """The shape of TRL's own: it reads the content of each completion's first message."""
    contents = [completion[0]["content"] for completion in completions]
    return [1.0 if re.match(r"^<think>(?!.*<think>)(.*?)</think>.*$", one, re.DOTALL) else 0.0 for one in contents]
'''
CHAT = [{"role": "system", "content": "Think first."}, {"role": "user", "content": "Is it two?"}]


@pytest.mark.parametrize(
    ("said", "expected"),
    [("<think>one, two</think>two", 1.0), ("two", 0.0), ("<think>one\n</think>\ntwo\n", 1.0)],
)
def test_trls_rewards_of_chats_get_messages(spec, said: str, expected: float) -> None:
    for column in ("messages", "prompt"):
        sample = Sample("a", "Is it two?", said, "two", metadata={column: CHAT})
        assert values(spec(THINK, "think_format_reward"), [sample]) == [expected]


def test_trls_rewards_get_the_chat_itself_as_the_prompt() -> None:
    sample = Sample("a", "Is it two?", "yes", "two", metadata={"messages": CHAT})

    def f(prompts, completions):
        assert prompts == [CHAT]
        assert completions == [[{"role": "assistant", "content": "yes"}]]
        return [1]

    assert values(f, [sample]) == [1]


VERL = """
def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    assert data_source == ""
    assert extra_info["speaker"] is None or extra_info["room"] == "hall"
    return {"score": float(solution_str == ground_truth), "level": extra_info["level"], "said": solution_str}
"""


def test_the_form_of_slime(spec) -> None:
    assert values(spec(SLIME)) == [1.0, 0.0, 0.0]
    assert values(spec("def f(_, sample): return len(sample.response)")) == [7.0, 3.0, 0.0]


def test_the_form_of_verl(spec) -> None:
    scored = score_all(load_reward(spec(VERL, "compute_score")), SAMPLES)
    assert scored == [Reward(1.0, {"level": 1.0}), Reward(0.0, {"level": 1.0}), Reward(0.0, {"level": 2.0})]
    assert values(spec("async def f(solution_str): return len(solution_str)")) == [7.0, 3.0, 0.0]
    assert values(spec("def f(solution_str, ground_truth, **rest): return len(rest)")) == [2.0, 2.0, 2.0]


def test_verl_is_given_the_rows_own_source_and_extra_info(spec) -> None:
    sample = Sample(
        "a", "Go.", "x", "y", 2, metadata={"data_source": "aishell", "extra_info": {"split": "dev"}, "n": 1}
    )
    code = """
def f(data_source, solution_str, ground_truth, extra_info):
    assert (data_source, solution_str, ground_truth) == ("aishell", "x", "y")
    assert extra_info == {
        "id": "a", "index": 2, "prompt": "Go.", "language": None, "speaker": None,
        "data_source": "aishell", "n": 1, "split": "dev",
    }
    return 1
"""
    assert values(spec(code), [sample]) == [1.0]


def test_functions_themselves_alone_and_in_sums() -> None:
    class Bonus:
        def __call__(self, completions, weight=2):
            return [weight] * len(completions)

    async def words(sample):
        return len(sample.response.split())

    assert values(words) == [2.0, 1.0, 0.0]
    assert values({"name": words, "weight": 2}) == [4.0, 2.0, 0.0]
    assert values(["wer", {"name": words, "weight": 0.5}, Bonus()]) == [3.0, 2.0, 1.0]
    with pytest.raises(ConfigError, match=r"the reward '.*Bonus' is a class; name a function"):
        load_reward(Bonus)


def test_a_recipe_holds_the_names_of_functions() -> None:
    spec = ["wer", {"name": math.sqrt, "weight": 2}, math.sqrt]
    assert in_recipe(spec) == ["wer", {"name": "math:sqrt", "weight": 2}, "math:sqrt"]
    assert in_recipe({"name": "wer", "cap": 2}) == {"name": "wer", "cap": 2}


def test_a_callable_object(spec) -> None:
    assert values(spec("class C:\n    def __call__(self, sample): return 1\nf = C()")) == [1, 1, 1]


def test_an_import_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rewards_on_the_path").mkdir()
    (tmp_path / "rewards_on_the_path" / "length.py").write_text("def f(sample): return len(sample.label)")
    monkeypatch.syspath_prepend(tmp_path)
    assert values("rewards_on_the_path.length:f") == [7, 7, 5]


def test_a_file_is_run_again_when_it_has_changed(spec) -> None:
    assert values(spec("def f(sample): return 1")) == [1, 1, 1]
    assert values(spec("def f(sample): return 2")) == [2, 2, 2]


def test_a_function_may_import_from_beside_its_file(spec, tmp_path: Path) -> None:
    (tmp_path / "reward_helpers_beside.py").write_text("BONUS = 3")
    assert values(spec("def f(sample):\n    from reward_helpers_beside import BONUS\n    return BONUS")) == [
        3,
        3,
        3,
    ]


def test_rewards_run_inside_a_running_event_loop(spec) -> None:
    reward = load_reward(spec("async def f(sample): return 1"))

    async def notebook_cell() -> list[Reward]:
        return score_all(reward, SAMPLES)

    assert asyncio.run(notebook_cell()) == [Reward(1.0)] * 3


def test_a_weighted_sum_logs_every_reward(spec) -> None:
    code = "def bonus(completions): return [1, 0, None]"
    reward = load_reward([{"name": "wer", "weight": 2}, {"name": spec(code, "bonus"), "weight": 0.5}])
    assert score_all(reward, SAMPLES) == [
        Reward(0.5, {"wer": 0.0, "wer/wer": 0.0, "wer/edits": 0.0, "bonus": 1.0}),
        Reward(-1.0, {"wer": -0.5, "wer/wer": 0.5, "wer/edits": 1.0, "bonus": 0.0}),
        Reward(-2.5, {"wer": -1.0, "wer/wer": 1.0, "wer/edits": 1.0}),
    ]


def test_the_same_reward_twice_is_numbered() -> None:
    reward = load_reward(["wer", {"name": "wer", "unit": "char", "weight": 0}])
    scored = score_all(reward, SAMPLES[1:2])[0]
    assert scored.value == -0.5
    assert (scored.parts["wer"], scored.parts["wer_2"]) == (-0.5, pytest.approx(-4 / 7))


def test_one_reward_with_a_weight_is_a_sum_of_one() -> None:
    assert values({"name": "wer", "weight": 3}) == [0.0, -1.5, -3.0]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "def f(sample):\n    return 1 / len(sample.response)",
            r"mine\.py:f' failed on sample 'b' \(completion 0\): ZeroDivisionError: division by zero "
            r"\[mine\.py, line 2\]; make it handle this, or let reward_limits retry it or drop the sample$",
        ),
        (
            "async def f(sample):\n    raise TimeoutError",
            r"mine\.py:f' failed on sample 'a' \(completion 0\): TimeoutError \[mine\.py, line 2\]",
        ),
        (
            "def f(completions):\n    raise KeyError('x')",
            r"mine\.py:f' failed on a batch of 3, 'a' \(completion 0\) to 'b' \(completion 0\): "
            r"KeyError: 'x' \[mine\.py, line 2\]; make it handle this, or let reward_limits ",
        ),
        (
            "def f(sample): return float('nan') if sample.index else 0.0",
            r"mine\.py:f' returned a value of nan for sample 'a' \(completion 1\); every number must",
        ),
        (
            "from antiphon.types import Reward\ndef f(sample): return Reward(1.0, {'x': float('inf')})",
            r"mine\.py:f' returned the part 'x' of inf for sample 'a' \(completion 0\)",
        ),
        (
            "def f(completions): return [1, float('inf'), 0]",
            r"a value of inf for sample 'a' \(completion 1\)",
        ),
        (
            "def f(sample): return 'good'",
            r"mine\.py:f' returned 'good' for sample 'a' \(completion 0\), which is not a number",
        ),
        ("def f(completions): return [1, '2', 3]", r"returned '2' for sample 'a' \(completion 1\)"),
        (
            "def f(completions): return [1]",
            r"mine\.py:f' returned a list of length 1 for a batch of 3, .*; return a list with one number",
        ),
        ("def f(completions): return 1.0", r"mine\.py:f' returned a float for a batch of 3"),
        ("def f(completions): pass", r"mine\.py:f' returned a NoneType for a batch of 3"),
        (
            "def f(sample): pass",
            r"mine\.py:f' returned None for sample 'a' \(completion 0\); return a number",
        ),
        (
            "def f(completions): return [1, None, 1]",
            r"no reward applies to sample 'a' \(completion 1\): '.*mine\.py:f' returned None; return a",
        ),
        (
            "def f(completions, difficulty): return completions",
            r"mine\.py:f' needs the column 'difficulty', which no row of the batch has "
            r"\(columns: prompts, completions, .*, level, room\); add it to the data",
        ),
    ],
)
def test_a_reward_that_fails_is_named_with_the_sample(spec, code: str, message: str) -> None:
    with pytest.raises(RewardError, match=message):
        values(spec(code))


def test_a_failure_inside_a_sum_is_the_same_message(spec) -> None:
    with pytest.raises(RewardError, match=r"mine\.py:f' returned a value of nan for sample 'a'"):
        values(["wer", spec("def f(sample): return float('nan')")])


def test_the_cause_of_a_failure_is_kept(spec) -> None:
    with pytest.raises(RewardError) as caught:
        values(["wer", spec("def f(sample): return {}['x']")])
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_column_named_like_an_argument_is_refused(spec) -> None:
    sample = Sample("a", "", "", "", metadata={"completions": 1})
    with pytest.raises(RewardError, match=r"column 'completions' has the name of an argument .* rename the column"):
        values(spec("def f(**columns): return [1]"), [sample])


@pytest.mark.parametrize(
    ("code", "name", "message"),
    [
        ("def bonus(sample): return 1", "bonis", r"mine\.py has no 'bonis'; did you mean 'bonus'\?$"),
        ("def bonus(sample): return 1", "zzz", r"mine\.py has no 'zzz'; it has: bonus$"),
        ("X = 1", "f", r"mine\.py has no 'f'; it has no functions; write one$"),
        ("f = 3", "f", r"is of type int, not callable; name a function$"),
        ("class f: pass", "f", r"is a class; name a function, or a callable instance$"),
        ("def f(:", "f", r"mine\.py cannot be run: SyntaxError: .*line 1.*; correct it$"),
        (
            "import nowhere_at_all",
            "f",
            r"cannot be run: ModuleNotFoundError: .* \[mine\.py, line 1\]; correct it$",
        ),
        (
            "def f(response, label): return 1",
            "f",
            r"has the parameters \(response, label\), which match none of the accepted forms; use one of\n"
            r"  f\(sample\) +one sample\n"
            r"  f\(prompts, completions, completion_ids, \*\*columns\) +a batch, as TRL calls it\n"
            r"  f\(args, sample, \*\*kwargs\) +one sample, as slime calls it\n"
            r"  f\(data_source, solution_str, ground_truth, extra_info=None\) +one sample, as verl calls it$",
        ),
        ("def f(): return 1", "f", r"has the parameters \(\), which match none of the accepted forms"),
        ("def f(sample, *, url): return 1", "f", r"has the parameters \(sample, \*, url\), which match none"),
        (
            "def f(solution_str, tokenizer): return 1",
            "f",
            r"\(solution_str, tokenizer\), which match none of the accepted",
        ),
    ],
)
def test_a_function_that_cannot_be_used_is_explained(spec, code: str, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_reward(spec(code, name))


@pytest.mark.parametrize(
    ("reward_spec", "message"),
    [
        ("nowhere.py:f", "the reward 'nowhere.py:f': there is no file nowhere.py (looked for "),
        (
            "nowhere.py",
            "the reward 'nowhere.py': there is no file nowhere.py (looked for ",
        ),
        ("no_such_package.x:f", "the module 'no_such_package.x' cannot be imported: ModuleNotFoundError"),
        ("math:sqr", "the reward 'math:sqr': math has no 'sqr'"),
        (
            "were",
            "unknown reward 'were' in 'reward'; did you mean 'wer'? (your own is written file.py:function or ",
        ),
        (
            "sample",
            "unknown reward 'sample' in 'reward'; there are: exact, format, hallucination, keywords, language, omni, "
            "wer (your own is written file.py:function or ",
        ),
        (["wer", "xyz"], "unknown reward 'xyz' in 'reward[1]'; there are: exact, "),
        ([], "'reward' is an empty list; name at least one reward, such as wer"),
        ({"cap": 1}, "'reward' has no name; add one, such as {name: wer}"),
        ({"name": "wer", "weight": "2"}, "'reward[0].weight' must be a finite number, got '2'"),
        ([{"name": "wer", "weight": float("nan")}], "'reward[0].weight' must be a finite number, got nan"),
        ([{"name": "wer", "cpa": 1}], "unknown key 'reward[0].cpa'; did you mean 'reward[0].cap'?"),
        (
            {"name": "math:sqrt", "cap": 1},
            "'reward' passes settings (cap) to the function 'math:sqrt', which takes none; set them in the function",
        ),
    ],
)
def test_a_wrong_reward_in_a_recipe_is_explained(reward_spec, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_reward(reward_spec)
