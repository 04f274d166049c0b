"""What each token wrote, for the record of rollouts."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from antiphon.models.load import CHECKPOINTS
from antiphon.models.pieces import Pieces


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(CHECKPOINTS / "student")


def test_pieces_put_together_are_the_completion(tokenizer):
    ids = tokenizer("language English<asr_text>seven zero 你好<|im_end|>")["input_ids"]
    pieces = Pieces(tokenizer)(ids)
    assert len(pieces) == len(ids)
    assert "".join(pieces) == tokenizer.decode(ids)
    assert pieces[:4] == ["language", " English", "<asr_text>", "seven"]
    assert pieces[-1] == "<|im_end|>"


def test_a_character_of_several_tokens_belongs_to_the_last(tokenizer):
    ids = tokenizer("你")["input_ids"]
    assert len(ids) > 1
    assert Pieces(tokenizer)(ids) == [*[""] * (len(ids) - 1), "你"]


def test_a_character_that_is_never_finished_writes_nothing(tokenizer):
    first, zero = tokenizer("你")["input_ids"][0], tokenizer(" zero")["input_ids"]
    assert Pieces(tokenizer)([first, *zero, first]) == ["", " zero", ""]


def test_a_space_before_a_word_is_kept_where_decoders_drop_it():
    class Strips:
        """As SentencePiece models do: the space that the text begins with is no part of it."""

        def decode(self, ids, **_):
            return "".join(f" word{number}" for number in ids).removeprefix(" ")

    assert Pieces(Strips())([1, 1, 2]) == [" word1", " word1", " word2"]
