"""What a row asks in its own words: read in every form, refused where it is no question, and what is asked then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from antiphon.config import load_config
from antiphon.data.rows import ReadOptions
from antiphon.data.source import read_set
from antiphon.tasks import asr, classify
from antiphon.tasks.load import find_task, prompter
from antiphon.tasks.request import unread
from antiphon.types import Example, Prompt

SILENCE = np.zeros(160, np.float32)
USER = {"role": "user", "content": "<audio>What is said?"}
SYSTEM = {"role": "system", "content": "You hear calls."}
ANSWER = {"role": "assistant", "content": "one two"}


def read(folder: Path, row: dict, **options: Any):
    path = folder / "a.jsonl"
    path.write_text(json.dumps(row) + "\n")
    return read_set(path, ReadOptions(**options))


def one(folder: Path, row: dict, **options: Any) -> Example:
    return read(folder, row, **options).require_good().examples[0]


def prompt(columns: dict, task: str = "asr", context: str = "") -> Prompt:
    return find_task(task).prompt(Example("a", task, None, "", columns=columns), SILENCE, 16000, context=context)


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [SYSTEM, USER, ANSWER], "audios": ["a.wav"]},  # ms-swift
        {"messages": [SYSTEM, USER], "audios": "a.wav", "text": "one two"},
        {
            "prompt": [SYSTEM, USER],
            "audios": [{"audio": "a.wav"}],
            "reward_model": {"style": "rule", "ground_truth": "one two"},
        },  # verl
        {
            "conversations": [
                {"from": "system", "value": "You hear calls."},
                {"from": "human", "value": "<audio>\nWhat is said?"},
                {"from": "gpt", "value": "one two"},
            ],
            "audio": "a.wav",
        },  # ShareGPT
        {
            "messages": [
                SYSTEM,
                {
                    "role": "user",
                    "content": [{"type": "audio", "audio": "a.wav"}, {"type": "text", "text": "What is said?"}],
                },
                {"role": "assistant", "content": [{"type": "text", "text": "one two"}]},
            ]
        },  # transformers' chat templates
        {
            "messages": [
                SYSTEM,
                {"role": "user", "content": "What is said?<|startofspeech|>!a.wav<|endofspeech|>"},
                ANSWER,
            ]
        },  # Fun-ASR
        {"audio": "a.wav", "text": "one two", "prompt": "<audio>What is said?", "context": "You hear calls."},
    ],
)
def test_a_question_of_every_form(tmp_path: Path, row: dict):
    example = one(tmp_path, row)
    assert (example.text, example.clip.name if example.clip else None) == ("one two", str(tmp_path / "a.wav"))
    asked = find_task("asr").prompt(example, SILENCE, 16000, context="the recipe's")
    assert (asked.instruction, asked.context, asked.transcribe) == ("What is said?", "You hear calls.", False)


def test_a_clip_inside_a_message(tmp_path: Path):
    heard = {"type": "input_audio", "input_audio": {"data": "UklGRg", "format": "wav"}}
    example = one(tmp_path, {"messages": [{"role": "user", "content": [heard, {"type": "text", "text": "?"}]}, ANSWER]})
    assert example.clip is not None
    assert example.clip.path.read() == b"RIFF"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": [USER, ANSWER, USER, ANSWER]}, '"messages" holds more than one question and its answer'),
        ({"messages": [USER, SYSTEM]}, '"messages" holds more than one question'),
        ({"messages": [USER, {"role": "tool", "content": "x"}]}, '"messages" holds more than one question'),
        ({"messages": [SYSTEM]}, '"messages" has no message of the user'),
        ({"messages": ["hi"]}, "\"messages\" holds 'hi', not messages"),
        ({"messages": [{"role": "user"}]}, '"messages" has a message without content'),
        ({"messages": [USER, ANSWER], "text": "three"}, '"text" and the answer in the conversation differ'),
        ({"prompt": "<audio> and <audio>"}, "the prompt has 2 clips (<audio>); a row has one"),
        ({"prompt": {"a": 1}}, '"prompt" is a dict; it must be a string'),
        ({"context": ["a"]}, '"context" is a list; it must be a string'),
        ({"hotwords": 7}, '"hotwords" is 7; give a list of strings'),
    ],
)
def test_what_is_no_question_is_refused_with_its_row(tmp_path: Path, row: dict, reason: str):
    (bad,) = read(tmp_path, {"audio": "a.wav", "text": "one two", **row}).bad
    assert bad.reason.startswith(reason)


def test_two_clips_in_a_row_are_refused(tmp_path: Path):
    (bad,) = read(tmp_path, {"messages": [USER, ANSWER], "audios": ["a.wav", "b.wav"]}).bad
    assert bad.reason == '"audios" lists 2 recordings; a row has one'


def test_hot_words_follow_the_context(tmp_path: Path):
    assert prompt({"hotwords": ["Anna", "New York"]}).context == "Anna, New York"
    assert prompt({"keywords": "Anna; New York、东京"}, context="Calls.").context == "Calls.\nAnna, New York, 东京"
    assert prompt({"hotwords": ["Anna"], "context": "Mine."}, context="Calls.").context == "Mine.\nAnna"
    assert prompt({"hotwords": ["Anna"]}).transcribe
    assert prompt({"keywords": {"topic": 1}, "hotword": None}).context == ""


def test_rows_that_ask_nothing_are_asked_what_the_task_asks():
    for columns in ({}, {"prompt": asr.INSTRUCTION}, {"prompt": f"<audio>\n{asr.INSTRUCTION}"}, {"prompt": " "}):
        assert (prompt(columns).instruction, prompt(columns).transcribe) == (asr.INSTRUCTION, True)
        assert prompt(columns, "classify").instruction == classify.INSTRUCTION
    assert prompt({"prompt": "Which animal?"}, "classify", "cat, dog").instruction == "Which animal?"


def test_a_set_of_texts_is_asked_by_its_conversations(tmp_path: Path):
    user = {"role": "user", "content": "Say one two."}
    for row in ({"messages": [SYSTEM, user, ANSWER]}, {"prompt": "Say one two.", "text": "one two"}):
        example = one(tmp_path, row, task="text")
        assert (example.clip, example.text) == (None, "one two")
        asked = find_task("text").prompt(example, None, 0)
        assert asked.instruction == "Say one two."
    (bad,) = read(tmp_path, {"text": "x"}, task="text").bad
    assert bad.reason == 'a row of task "text" needs a "prompt", the text to answer; add it as a string'


@pytest.mark.parametrize(
    ("text", "words", "language"),
    [
        ("language English<asr_text>one two", "one two", "English"),
        ("language Chinese<asr_text>三 四", "三 四", "Chinese"),
        ("language None<asr_text>", "", None),
        ("language None<asr_text>one two", "one two", None),
        ("language and text", "language and text", None),
        ("a < b > c <laugh> [noise] | x", "a < b > c <laugh> [noise] | x", None),
    ],
)
def test_transcripts_in_qwen3_asrs_training_form(tmp_path: Path, text: str, words: str, language: str | None):
    example = one(tmp_path, {"audio": "a.wav", "text": text})
    assert (example.text, example.language) == (words, language)
    assert one(tmp_path, {"audio": "a.wav", "text": text, "language": "de"}).language == "de"


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("one<|endoftext|>", "<|endoftext|>"),
        ("<|im_start|>assistant\none<|im_end|>", "<|im_start|>"),
        ("one two</s>", "</s>"),
        ("one <asr_text> two", "<asr_text>"),
        ("language English<asr_text>one<asr_text>", "<asr_text>"),
        ("<|zh|><|NEUTRAL|>三", "<|zh|>"),
        ("<|0.00|> one<|1.20|>", "<|0.00|>"),
    ],
)
def test_control_tokens_in_a_transcript_are_refused_with_their_row(tmp_path: Path, text: str, token: str):
    (bad,) = read(tmp_path, {"audio": "a.wav", "text": text}).bad
    assert bad.reason == (
        f"the transcript has the control token {token!r}, which models obey and nobody says; remove it"
    )


class Sine:
    name = "sine"

    def load(self, rate: int) -> np.ndarray:
        return np.sin(np.arange(rate) / 10).astype(np.float32)


def test_a_model_without_a_place_for_it_is_asked_without_and_the_user_is_told():
    columns = [{}, {"hotwords": ["Anna"]}, {"context": "Calls."}, {"prompt": "What?"}, {"prompt": asr.INSTRUCTION}]
    examples = [Example(str(n), "asr", Sine(), "", columns=held) for n, held in enumerate(columns)]

    def contexts(reads: set, recipe: str = "") -> list[str]:
        make = prompter(load_config(flags={"context": recipe}), 16000, reads=reads)
        return [make(example).context for example in examples]

    assert contexts({"instruction", "context"}) == ["", "Anna", "Calls.", "", ""]
    assert contexts(set()) == [""] * 5
    assert contexts(set(), "R") == ["R"] * 5, "the recipe's own context is refused by the model itself"
    assert unread(examples, {"instruction", "context"}) == []
    instruction = "1 row(s) have an instruction of their own, for which this model has no place; "
    context = "2 row(s) have a context or hot words of their own, for which this model has no place; "
    assert [note.startswith(instruction) for note in unread(examples, {"context"})] == [True]
    notes = unread(examples, set())
    assert [note.startswith(start) for note, start in zip(notes, (instruction, context), strict=True)] == [True, True]
