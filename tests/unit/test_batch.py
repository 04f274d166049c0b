"""Groups become padded tensors, and batches are cut into whole groups and trimmed."""

from dataclasses import replace

import pytest
import torch

from antiphon.train.batch import Batch, Prepared, make_batch, split_evenly
from antiphon.types import Completion, Example, Group, Prompt, Reward

CPU = torch.device("cpu")
FIELDS = ("tokens", "token_mask", "mask", "engine_logprobs", "old_logprobs")


def group(name: str, *completions: tuple[int, ...]) -> Group:
    """Token ids by hand; the engine's log-probability of token 7 is −0.7."""
    made = [Completion(ids, tuple(-i / 10 for i in ids), "", "stop") for ids in completions]
    return Group(Example(name, "asr", None, ""), Prompt(name, None, 16000), made)


@pytest.fixture
def batch() -> Batch:
    groups = [group("a", (7,), (5, 2, 9)), group("b", (4, 1), (3,)), group("c", (6,), (8,))]
    made = make_batch(groups, CPU)
    return replace(made, old_logprobs=made.engine_logprobs * 2)


def test_completions_are_padded_on_the_right(batch: Batch):
    assert batch.tokens.tolist() == [[7, 0, 0], [5, 2, 9], [4, 1, 0], [3, 0, 0], [6, 0, 0], [8, 0, 0]]
    assert batch.mask.tolist() == [[1, 0, 0], [1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]]
    assert torch.equal(batch.token_mask, batch.mask)
    torch.testing.assert_close(batch.engine_logprobs, -batch.tokens / 10)
    assert batch.tokens.dtype == torch.int64
    assert batch.engine_logprobs.dtype == torch.float32
    assert batch.group_size == 2
    assert [prompt.id for prompt in batch.prompts] == ["a", "b", "c"]


def test_token_id_zero_is_a_token_where_the_mask_says_so():
    batch = make_batch([group("a", (0, 0), (1,))], CPU)
    assert batch.mask.tolist() == [[1, 1], [1, 0]]


def test_equal_completions_of_a_group_are_told_from_the_first():
    batch = make_batch([group("a", (7,), (5, 2), (7,)), group("b", (7,), (7,), (5, 2))], CPU)
    assert batch.first.tolist() == [True, True, False, True, False, True]


def test_a_completion_whose_reward_was_dropped_takes_no_equal_one_along():
    dropped = group("a", (7,), (7,), (7,))
    dropped.rewards = [None, Reward(1.0), Reward(1.0)]
    assert make_batch([dropped], CPU).first.tolist() == [True, True, False]


def test_portions_hold_whole_groups_of_similar_length_within_the_budget():
    groups = [group("a", (1,) * 4), group("b", (1,)), group("c", (1,) * 4), group("d", (1,) * 2)]
    batch = make_batch(groups, CPU)
    assert batch.within(100, [10, 10, 10, 10]) == [[0, 2, 3, 1]]
    assert batch.within(28, [10, 10, 10, 10]) == [[0, 2], [3, 1]]
    assert batch.within(27, [10, 10, 10, 10]) == [[0], [2], [3, 1]]
    assert batch.within(1, [10, 10, 10, 10]) == [[0], [2], [3], [1]]


def test_a_split_is_in_whole_groups_and_in_order(batch: Batch):
    first, second = (batch.groups(part) for part in split_evenly(range(3), 2))
    assert [prompt.id for prompt in first.prompts + second.prompts] == ["a", "b", "c"]
    assert len(first.tokens) == 2 * len(first.prompts)
    assert first.group_size == second.group_size == 2
    for field in FIELDS:
        assert torch.equal(torch.cat([getattr(first, field), getattr(second, field)]), getattr(batch, field))


@pytest.mark.parametrize("prompts", [1, 2, 3, 5, 7, 10, 16])
@pytest.mark.parametrize("parts", [1, 2, 3, 4, 6, 16, 20])
def test_split_sizes_are_as_even_as_can_be(prompts: int, parts: int):
    split = split_evenly(range(prompts), parts)
    sizes = [len(part) for part in split]
    assert [one for part in split for one in part] == list(range(prompts))
    assert len(sizes) == min(parts, prompts)
    assert sum(sizes) == prompts
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1


def test_trimming_drops_the_columns_that_are_all_padding(batch: Batch):
    last = batch.groups([1]).trimmed()
    assert last.tokens.tolist() == [[4, 1], [3, 0]]
    assert last.mask.tolist() == [[1, 1], [1, 0]]
    assert last.engine_logprobs.shape == (2, 2)
    assert batch.groups([2]).trimmed().tokens.tolist() == [[6], [8]]
    assert torch.equal(batch.trimmed().tokens, batch.tokens)


@pytest.fixture
def labelings() -> Batch:
    """One prompt answered by two label sequences, of three labels and of none, each with one log-probability."""
    made = [Completion((7, 5, 2), (-1.5,), "", "stop"), Completion((), (-0.5,), "", "stop")]
    one = Group(Example("a", "asr", None, ""), Prompt("a", None, 16000), made)
    return replace(make_batch([one], CPU), old_logprobs=torch.zeros(2, 1))


def test_a_whole_sequence_may_be_one_action(labelings: Batch):
    assert labelings.tokens.tolist() == [[7, 5, 2], [0, 0, 0]]
    assert labelings.token_mask.tolist() == [[1, 1, 1], [0, 0, 0]]
    assert labelings.mask.tolist() == [[1], [1]]
    assert labelings.engine_logprobs.tolist() == [[-1.5], [-0.5]]


def test_trimming_keeps_tokens_and_actions_apart(labelings: Batch):
    wide = replace(
        labelings, **{name: torch.nn.functional.pad(getattr(labelings, name), (0, 2)) for name in FIELDS}
    ).trimmed()
    for name in FIELDS:
        assert torch.equal(getattr(wide, name), getattr(labelings, name)), name


def frames(*rows: tuple[int, ...]) -> Group:
    """Completions whose positions have two ids each."""
    made = [Completion(ids, (-0.5,) * (len(ids) // 2), "", "length", width=2) for ids in rows]
    return Group(Example("a", "tts", None, ""), Prompt("a", "tts", None, 16000), made)


def test_a_position_may_have_several_ids():
    batch = make_batch([frames((7, 1, 5, 2), (3, 0), (7, 1, 5, 2), ())], CPU)
    assert batch.tokens.tolist() == [[[7, 1], [5, 2]], [[3, 0], [0, 0]], [[7, 1], [5, 2]], [[0, 0], [0, 0]]]
    assert batch.token_mask.tolist() == batch.mask.tolist() == [[1, 1], [1, 0], [1, 1], [0, 0]]
    assert batch.first.tolist() == [True, True, False, True]
    assert batch.within(3, [1]) == [[0]]
    assert make_batch([frames((3, 0), ())], CPU).tokens.tolist() == [[[3, 0]], [[0, 0]]]
    assert [one.length for one in frames((7, 1, 5, 2), ()).completions] == [2, 0]


def test_positions_of_one_batch_have_one_width():
    with pytest.raises(ValueError, match="the completions of one batch have 1 and 2 ids per position"):
        make_batch([frames((7, 1)), group("b", (7,))], CPU)


def test_portions_take_what_other_models_say_along(batch: Batch):
    ones = torch.ones(*batch.mask.shape, 2)
    others = {"reference_logprobs": batch.engine_logprobs * 3}
    prepared = Prepared(**vars(batch), others=others, advantages=ones, counted=ones)
    last = prepared.groups([2, 1]).trimmed()
    assert isinstance(last, Prepared)
    torch.testing.assert_close(last.others["reference_logprobs"], 3 * last.engine_logprobs)
    assert last.advantages.shape == (4, 2, 2)
