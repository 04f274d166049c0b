"""Rewards that fail, hang or come late: retries, timeouts, concurrency, and samples that are dropped."""

import asyncio
import math
import threading
import time

import pytest

from antiphon.config.rollout import RewardLimits
from antiphon.errors import RewardError
from antiphon.rewards import Sample, calling, load_reward, running, score_all
from antiphon.types import Reward

SAMPLES = [Sample("a", "", "one", "one", 0), Sample("a", "", "two", "one", 1), Sample("b", "", "three", "one", 0)]
DROP = RewardLimits(on_failure="drop")


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "RETRY_PAUSE", 0.0)


def scores(reward, limits: RewardLimits = DROP, samples=SAMPLES) -> tuple[list[float | None], list[str]]:
    """Each sample's value, None where it was dropped, and what was said about those."""
    said: list[str] = []
    rewards = score_all(load_reward(reward, limits), samples, said.append)
    return [None if one is None else one.value for one in rewards], said


def on_two(result):
    """A reward that is 1, but for the answer "two", where `result` is returned, raised or called."""

    def f(sample: Sample):
        if sample.response != "two":
            return 1
        if isinstance(result, Exception):
            raise result
        return result

    return f


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (ValueError("no such word"), "failed on sample 'a' (completion 1): ValueError: no such word [test_reward_limi"),
        (math.nan, "returned a value of nan for sample 'a' (completion 1); every number must be finite"),
        (-math.inf, "returned a value of -inf for sample 'a' (completion 1)"),
        (None, "returned None for sample 'a' (completion 1); return a number"),
        ("1.0", "returned '1.0' for sample 'a' (completion 1), which is not a number"),
        ([1.0], "returned [1.0] for sample 'a' (completion 1), which is not a number"),
        (Reward(1.0, {"x": math.nan}), "returned the part 'x' of nan for sample 'a' (completion 1)"),
        ({"score": math.nan}, "returned a value of nan for sample 'a' (completion 1)"),
        ({"points": 1.0}, "returned {'points': 1.0} for sample 'a' (completion 1), which is not a number"),
    ],
)
def test_a_failure_stops_or_drops_and_is_never_a_number(result, said: str) -> None:
    values, messages = scores(on_two(result))
    assert values == [1.0, None, 1.0]
    (message,) = messages
    assert said in message
    with pytest.raises(RewardError) as stopped:
        scores(on_two(result), RewardLimits())
    assert str(stopped.value) == message


def test_a_batch_function_drops_single_samples_or_all() -> None:
    assert scores(lambda completions: [1, math.nan, "x"])[0] == [1.0, None, None]
    for wrong in ([1, 2], 5, None):
        with pytest.raises(
            RewardError, match=r"^all 3 samples of a step would be dropped\. The first: reward .*returned"
        ):
            scores(lambda completions, wrong=wrong: wrong)


def test_a_step_without_a_single_reward_stops() -> None:
    with pytest.raises(
        RewardError, match=r"^all 3 samples of a step would be dropped\. The first: .*ZeroDivisionError"
    ):
        scores(lambda sample: 1 / 0)


def test_a_sample_is_dropped_when_one_of_several_rewards_fails() -> None:
    values, messages = scores(["wer", {"name": on_two(math.nan), "weight": 0}])
    assert values == [0.0, None, -1.0]
    assert len(messages) == 1


def test_not_to_apply_is_not_to_fail() -> None:
    assert scores(["wer", lambda completions: [None, 5, None]])[0] == [0.0, 4.0, -2.0]
    with pytest.raises(RewardError, match=r"no reward applies to sample 'a' \(completion 0\)"):
        scores(lambda completions: [None, 5, None])


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        # The answers have 0, 1 and 1 errors in one word; the weights of those that answer add up to all.
        pytest.param(["wer", {"name": lambda completions: [-1, None, -1], "weight": 0.1}], [-0.1, -1.1, -1.1], id="2"),
        pytest.param(
            [
                "wer",
                {"name": lambda completions: [2, None, 1], "weight": 0.5},
                {"name": lambda prompts: [None, None, 4], "weight": 0.5},
            ],
            [4 / 3, -2.0, 1.5],
            id="one or two of three",
        ),
        pytest.param(
            [{"name": "wer", "weight": -1}, {"name": lambda completions: [None, 1, None], "weight": 3}],
            [0.0, 4.0, 4.0],
            id="a negative weight counts by its size",
        ),
        pytest.param(
            ["wer", {"name": lambda completions: [None, None, 7], "weight": 0}], [0.0, -1.0, -1.0], id="weight 0"
        ),
    ],
)
def test_those_that_apply_take_the_weight_of_one_that_does_not(terms, expected) -> None:
    assert scores(terms)[0] == pytest.approx(expected)


def test_an_abstention_is_never_the_best_of_a_group() -> None:
    same = [Sample("a", "", "two", "one", i) for i in range(3)]
    values, _ = scores(["wer", {"name": lambda completions: [-1, None, -1], "weight": 0.1}], samples=same)
    assert values == pytest.approx([-1.1] * 3)


def test_where_only_a_reward_that_does_not_count_applies_none_does() -> None:
    terms = [{"name": "wer", "weight": 0}, {"name": lambda completions: [1, None, 1], "weight": 1}]
    with pytest.raises(RewardError, match=r"no reward applies to sample 'a' \(completion 1\)"):
        scores(terms)


@pytest.mark.parametrize("value", [1e39, -3.5e38, 2e9])
def test_a_reward_that_fp32_cannot_compare_is_named(value: float) -> None:
    values, (message,) = scores(on_two(value))
    assert values == [1.0, None, 1.0]
    assert f"returned a value of {value:g} for sample 'a' (completion 1), beyond ±1e+09" in message


def test_a_sum_may_be_too_large_too() -> None:
    with pytest.raises(
        RewardError, match=r"reward 'wer \+ .*' returned a value of -1e\+12 for sample 'a' \(completion 1"
    ):
        scores([{"name": "wer", "weight": 1e12}, lambda completions: [0, 0, 0]], RewardLimits())


def fails_before(tries: int, error: type[Exception] = ConnectionError):
    """An async reward whose first `tries` calls for each sample fail; `calls` counts them by sample."""
    calls: dict[str, int] = {}

    async def f(sample: Sample) -> float:
        calls[sample.title] = calls.get(sample.title, 0) + 1
        await asyncio.sleep(0)
        if calls[sample.title] <= tries:
            raise error("busy")
        return calls[sample.title]

    return f, calls


def test_a_call_is_tried_again() -> None:
    reward, calls = fails_before(1)
    assert scores(reward, RewardLimits(retries=3))[0] == [2.0, 2.0, 2.0]
    assert set(calls.values()) == {2}


def test_tries_come_to_an_end() -> None:
    reward, calls = fails_before(9)
    with pytest.raises(RewardError, match=r"failed on sample 'a' \(completion 0\) in each of 3 tries: ConnectionError"):
        scores(reward, RewardLimits(retries=2))
    assert calls[SAMPLES[0].title] == 3


def test_a_reward_error_is_not_tried_again() -> None:
    reward, calls = fails_before(9, RewardError)
    with pytest.raises(RewardError, match=r"^busy$"):
        scores(reward, RewardLimits(retries=2, concurrency=1))
    assert set(calls.values()) == {1}


def test_a_batch_is_tried_again() -> None:
    tries = []

    async def f(completions):
        tries.append(len(completions))
        if len(tries) < 2:
            raise ConnectionError
        return [1, 2, 3]

    assert scores(f, RewardLimits(retries=1))[0] == [1.0, 2.0, 3.0]
    assert tries == [3, 3]


def test_pauses_between_tries_double(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "RETRY_PAUSE", 0.5)
    pauses = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(calling.asyncio, "sleep", sleep)
    with pytest.raises(RewardError):
        scores(lambda sample: 1 / 0, RewardLimits(retries=3), SAMPLES[:1])
    assert pauses == [0.5, 1.0, 2.0]


async def hangs_on_two(sample: Sample) -> float:
    if sample.response == "two":
        await asyncio.sleep(60)
    return 1.0


def test_a_call_that_takes_too_long_has_failed() -> None:
    values, (message,) = scores(hangs_on_two, RewardLimits(timeout_s=0.02, on_failure="drop"))
    assert values == [1.0, None, 1.0]
    assert (
        "failed on sample 'a' (completion 1): TimeoutError: no answer within 0.02 s (reward_limits.timeout_s); make it"
        in message
    )
    with pytest.raises(RewardError, match=r"in each of 2 tries: TimeoutError: no answer within 0\.02 s"):
        scores(hangs_on_two, RewardLimits(timeout_s=0.02, retries=1))


def sleeps(sample: Sample) -> float:
    if sample.response == "two":
        time.sleep(3)
    return 1.0


def loops(sample: Sample) -> float:
    while sample.response == "two":
        pass
    return 1.0


def loops_and_catches(sample: Sample) -> float:
    while sample.response == "two":
        try:
            sum(range(100))
        except Exception:
            continue
    return 1.0


@pytest.mark.parametrize("reward", [sleeps, loops, loops_and_catches])
def test_a_call_that_never_awaits_times_out_too(reward) -> None:
    began = time.monotonic()
    values, (message,) = scores(reward, RewardLimits(timeout_s=0.15, on_failure="drop"))
    assert values == [1.0, None, 1.0]
    assert "failed on sample 'a' (completion 1): TimeoutError: no answer within 0.15 s" in message
    assert time.monotonic() - began < 2.5


def test_a_batch_that_never_awaits_times_out_too() -> None:
    def f(completions):
        while True:
            pass

    with pytest.raises(RewardError, match=r"failed on a batch of 3.*: TimeoutError: no answer within 0\.05 s"):
        scores(f, RewardLimits(timeout_s=0.05))


def test_a_loop_that_timed_out_ends() -> None:
    threads = {one for one in threading.enumerate() if one.name == "antiphon-reward"}
    scores(loops, RewardLimits(timeout_s=0.15, on_failure="drop"))
    ended = time.monotonic() + 5
    while time.monotonic() < ended:
        left = [one for one in threading.enumerate() if one.name == "antiphon-reward" and one not in threads]
        if len(left) <= 1:  # The one that took its place.
            return
        time.sleep(0.01)
    raise AssertionError(f"still running: {left}")


def test_the_limit_is_each_calls_own() -> None:
    """Calls that wait for their turn are not late."""

    def f(sample: Sample) -> float:
        time.sleep(0.02)
        return 1.0

    samples = [Sample(str(i), "", "", "") for i in range(30)]
    assert scores(f, RewardLimits(timeout_s=0.5), samples)[0] == [1.0] * 30


def test_plain_calls_are_made_one_after_the_other_in_one_thread() -> None:
    where = []

    def f(sample: Sample) -> float:
        where.append(threading.get_ident())
        return 1.0

    reward = load_reward(f, RewardLimits())
    for _ in range(2):
        score_all(reward, SAMPLES)
    assert len(where) == 6
    assert len(set(where)) == 1
    assert where[0] != threading.get_ident()


def in_sleep() -> None:
    for _ in range(100):
        time.sleep(0.01)


def in_loop() -> None:
    while True:
        pass


def in_iterator() -> None:
    for _ in iter(int, 1):
        pass


@pytest.mark.parametrize("block", [in_sleep, in_loop, in_iterator])
def test_an_async_function_that_holds_up_the_others_is_named(block, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "WATCH_EVERY", 0.02)

    async def f(sample: Sample) -> float:
        await asyncio.sleep(0)
        if sample.response == "two":
            block()
        return 1.0

    with pytest.raises(
        RewardError, match=r"failed on sample 'a' \(completion 1\): .*reward_limits\.timeout_s.*plain fun"
    ):
        scores(f, RewardLimits(timeout_s=0.1, on_failure="drop"))
    assert scores(lambda sample: 2.0)[0] == [2.0] * 3, "the next call has a loop of its own"


def test_a_function_that_exits_has_failed() -> None:
    with pytest.raises(RewardError, match=r"failed on sample 'a' \(completion 0\): SystemExit: 3"):
        scores(lambda sample: exit(3), RewardLimits())


def test_a_functions_own_timeout_is_said_as_it_is() -> None:
    with pytest.raises(RewardError, match=r": TimeoutError: the judge \[test_reward_limits"):
        scores(on_two(TimeoutError("the judge")), RewardLimits())


@pytest.mark.parametrize("limit", [1, 3])
def test_no_more_calls_in_flight_than_the_limit(limit: int) -> None:
    running, most = 0, 0

    async def f(sample: Sample) -> float:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return 1.0

    scores(f, RewardLimits(concurrency=limit), [Sample(str(i), "", "", "") for i in range(10)])
    assert most == limit


def test_the_first_failure_stops_the_calls_that_wait() -> None:
    begun = []

    async def f(sample: Sample) -> float:
        begun.append(sample.id)
        await asyncio.sleep(0)
        raise ValueError

    with pytest.raises(RewardError):
        scores(f, RewardLimits(concurrency=2), [Sample(str(i), "", "", "") for i in range(50)])
    assert len(begun) <= 4


def test_all_steps_share_one_event_loop() -> None:
    loops = []

    async def f(sample: Sample) -> float:
        loops.append(asyncio.get_running_loop())
        return 0.0

    async def in_a_notebook() -> None:
        scores(f)

    scores(f)
    scores(f)
    asyncio.run(in_a_notebook())
    assert len(set(map(id, loops))) == 1
    assert loops[0].is_running()
