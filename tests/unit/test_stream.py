"""Which examples a step sees: distinct, reshuffled each epoch, a function of seed and step; prompts read ahead."""

import threading
from collections.abc import Iterator

import pytest

from antiphon.data.stream import PromptStream
from antiphon.errors import AudioError, ConfigError
from antiphon.types import Example, Prompt


def make_prompt(example: Example) -> Prompt:
    return Prompt(example.id, None, 16000)


def dataset(size: int) -> list[Example]:
    return [Example(str(i), "asr", None, "") for i in range(size)]


@pytest.fixture
def stream() -> Iterator[PromptStream]:
    """Ten examples, three a step: an epoch is three steps and leaves one out."""
    made = PromptStream(dataset(10), 3, seed=0, prompt=make_prompt)
    yield made
    made.close()


def ids(stream: PromptStream, step: int) -> list[str]:
    return [example.id for example in stream.examples(step)]


def test_an_epoch_repeats_no_example(stream: PromptStream):
    for epoch in range(20):
        seen = [name for step in range(3 * epoch, 3 * epoch + 3) for name in ids(stream, step)]
        assert len(seen) == len(set(seen)) == 9


def test_every_epoch_is_shuffled_anew_and_leaves_another_example_out(stream: PromptStream):
    epochs = [tuple(name for step in range(3 * e, 3 * e + 3) for name in ids(stream, step)) for e in range(40)]
    assert len(set(epochs)) == 40
    left_out = [({str(i) for i in range(10)} - set(epoch)).pop() for epoch in epochs]
    assert len(set(left_out)) > 5


def test_any_step_can_be_asked_for_alone(stream: PromptStream):
    forwards = [ids(stream, step) for step in range(30)]
    fresh = PromptStream(dataset(10), 3, seed=0, prompt=make_prompt)
    assert [ids(fresh, step) for step in reversed(range(30))] == forwards[::-1]
    fresh.close()


def test_the_seed_decides_the_order(stream: PromptStream):
    other = PromptStream(dataset(10), 3, seed=1, prompt=make_prompt)
    assert [ids(other, step) for step in range(3)] != [ids(stream, step) for step in range(3)]
    other.close()


def test_a_step_may_take_every_example():
    stream = PromptStream(dataset(4), 4, seed=0, prompt=make_prompt)
    assert sorted(ids(stream, 0)) == sorted(ids(stream, 5)) == ["0", "1", "2", "3"]
    stream.close()


def test_too_few_examples_are_refused():
    with pytest.raises(ConfigError) as caught:
        PromptStream(dataset(3), 4, seed=0, prompt=make_prompt)
    assert str(caught.value) == (
        "the training set has 3 usable examples, fewer than rollout.prompts_per_step=4; lower that to 3 or add data"
    )


def test_prompts_are_those_of_the_steps_examples_in_any_order_of_asking(stream: PromptStream):
    for step in (0, 1, 2, 7, 8, 3, 3, 4):
        assert [prompt.id for prompt in stream.prompts(step)] == ids(stream, step)


def test_the_next_steps_prompts_are_made_meanwhile_and_only_once():
    made: list[str] = []
    ahead = threading.Event()

    def prompt(example: Example) -> Prompt:
        made.append(example.id)
        if len(made) == 6:
            ahead.set()
        return make_prompt(example)

    stream = PromptStream(dataset(10), 3, seed=0, prompt=prompt)
    stream.prompts(0)
    assert ahead.wait(10), "step 1 was not read while step 0 was in use"
    assert made == ids(stream, 0) + ids(stream, 1)
    stream.prompts(1)
    stream.close()
    assert made == [name for step in range(3) for name in ids(stream, step)][: len(made)]


def test_a_step_that_is_the_whole_set_is_not_held_twice():
    made: list[str] = []
    stream = PromptStream(dataset(4), None, seed=0, prompt=lambda one: made.append(one.id) or make_prompt(one))
    stream.prompts(0)
    stream.close()
    assert made == ids(stream, 0)


def test_a_clip_that_cannot_be_read_stops_its_own_step():
    stream = PromptStream(dataset(10), 3, seed=0, prompt=lambda example: refuse(example, bad))
    bad = ids(stream, 1)[1]
    assert len(stream.prompts(0)) == 3
    with pytest.raises(AudioError, match=f"clip {bad} is broken"):
        stream.prompts(1)
    stream.close()


def refuse(example: Example, bad: str) -> Prompt:
    if example.id == bad:
        raise AudioError(f"clip {bad} is broken")
    return make_prompt(example)


def test_closing_ends_the_thread(stream: PromptStream):
    stream.prompts(0)
    stream.close()
    assert not any(thread.name.startswith("prompts") for thread in threading.enumerate() if thread.is_alive())
