"""Rewards that fail, hang or come late: retries, timeouts, concurrency, and samples that are dropped."""

import asyncio
import math

import pytest

from antiphon.config.rollout import RewardLimits
from antiphon.errors import RewardError
from antiphon.rewards import Sample, calling, load_reward, score_all
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
    assert scores(["wer", lambda completions: [None, 5, None]])[0] == [0.0, 4.0, -1.0]
    with pytest.raises(RewardError, match=r"no reward applies to sample 'a' \(completion 0\)"):
        scores(lambda completions: [None, 5, None])


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
