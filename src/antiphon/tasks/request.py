"""What a row asks of the model in its own words: `prompt`, `messages`, `context` and hot words."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from antiphon.errors import DataError
from antiphon.types import Example, Prompt, Words

TRANSCRIBE = "Transcribe the speech to text. Respond with only the transcript."
"""The request of transcription, which rows made from recordings have where nothing else is asked."""
READS: frozenset[Words] = frozenset({"instruction", "context"})
CONVERSATIONS = ("messages", "conversations", "prompt")
"""Columns that may hold a list of messages; the first one that does is read."""
HOT_WORDS = ("hotwords", "hot_words", "hotword", "keywords")
MARK = "<audio>"
"""Where a written prompt has the clip."""
ASKING = frozenset({*CONVERSATIONS, "context", *HOT_WORDS})
"""Columns by which a row may ask something of its own."""
_ROLES = {"human": "user", "gpt": "assistant", "model": "assistant"}
_FUN_ASR = re.compile(r"<\|startofspeech\|>!?(.*?)<\|endofspeech\|>", re.DOTALL)
_SEPARATORS = re.compile(r"[,;|\n、，；]")


@dataclass(frozen=True)
class Conversation:
    """A question, the system prompt before it, and the answer after it."""

    system: str = ""
    question: str = ""
    answer: str | None = None
    recordings: tuple[Any, ...] = ()
    """Those that the question names, a path, URL or data URI each."""


@dataclass(frozen=True)
class Request:
    """What a row asks. Empty where it says nothing."""

    instruction: str = ""
    context: str = ""
    hot_words: tuple[str, ...] = ()

    @property
    def said_before(self) -> str:
        """The context and the hot words, a line each."""
        return "\n".join(filter(None, (self.context, ", ".join(self.hot_words))))


_NOTHING = Request()


def request_of(columns: Mapping[str, Any]) -> Request:
    """The request in a row's columns. Raises `DataError` if they hold what is none, or several turns."""
    if columns.keys().isdisjoint(ASKING):
        return _NOTHING
    talk = conversation_of(columns) or Conversation()
    prompt, context = columns.get("prompt"), columns.get("context")
    for name, value in (("prompt", prompt), ("context", context)):
        if not isinstance(value, str | list | None):
            raise DataError(f'"{name}" is a {type(value).__name__}; it must be a string')
    if isinstance(context, list):
        raise DataError('"context" is a list; it must be a string: the system prompt')
    written = _without_mark(prompt) if isinstance(prompt, str) else talk.question
    return Request(written, (context or "").strip() or talk.system, hot_words_of(columns))


def conversation_of(columns: Mapping[str, Any]) -> Conversation | None:
    """The conversation in a row's columns, None if it has none. Raises `DataError` if it has further turns."""
    name = next((one for one in CONVERSATIONS if isinstance(columns.get(one), list)), None)
    if name is None:
        return None
    said: dict[str, str] = {}
    recordings: list[Any] = []
    for message in columns[name]:
        role, text, heard = _message(message, name)
        order = ("system", "user", "assistant")
        if role not in order or any(order.index(one) >= order.index(role) for one in said):
            raise DataError(
                f'"{name}" holds more than one question and its answer; a row has at most one message of the system, '
                "one of the user and one of the assistant, in this order: split the conversation"
            )
        said[role] = text
        recordings += heard
    if "user" not in said:
        raise DataError(f'"{name}" has no message of the user; add what is asked')
    return Conversation(said.get("system", ""), said["user"], said.get("assistant"), tuple(recordings))


def hot_words_of(columns: Mapping[str, Any]) -> tuple[str, ...]:
    """A row's hot words, from the first of `HOT_WORDS` that it has. Raises `DataError`, see `words_in`.

    `keywords` are hot words only if they are words: other sets describe their rows by them.
    """
    name = next((one for one in HOT_WORDS if columns.get(one) is not None), None)
    if name is None or (name == "keywords" and not _are_words(columns[name])):
        return ()
    return words_in(columns[name], name)


def words_in(words: Any, name: str) -> tuple[str, ...]:
    """The words in the column `name`: a list of strings, or one string with commas, semicolons or lines between them.

    Raises `DataError` for anything else.
    """
    if isinstance(words, str):
        words = _SEPARATORS.split(words)
    if not _are_words(words):
        raise DataError(f'"{name}" is {words!r}; give a list of strings, or one string with commas')
    return tuple(stripped for word in words if (stripped := word.strip()))


def _are_words(words: Any) -> bool:
    return isinstance(words, str) or (isinstance(words, list | tuple) and all(isinstance(one, str) for one in words))


def asked(prompt: Prompt, example: Example) -> Prompt:
    """`prompt` with what the example's own row asks in place of what the recipe does.

    Hot words come after the context. A prompt with an instruction of its own is no plain request to transcribe.
    """
    own = request_of(example.columns)
    if own.instruction not in ("", TRANSCRIBE, prompt.instruction):
        prompt = replace(prompt, instruction=own.instruction, transcribe=False)
    context = replace(own, context=own.context or prompt.context).said_before
    return prompt if context == prompt.context else replace(prompt, context=context)


def without(columns: Mapping[str, Any], reads: Collection[Words]) -> tuple[bool, bool]:
    """Whether a row has an instruction, and whether it has a context or hot words, that a model does not read."""
    own = request_of(columns)
    return (
        "instruction" not in reads and own.instruction not in ("", TRANSCRIBE),
        "context" not in reads and own.said_before != "",
    )


def unread(examples: Iterable[Example], reads: Collection[Words]) -> list[str]:
    """What to tell the user about rows that ask something of a model which does not read it: a sentence for each kind.

    `reads` are the words that the model reads (`Policy.reads`).
    """
    if set(reads) >= READS:
        return []
    found = [without(example.columns, reads) for example in examples]
    counts = {"an instruction": sum(one for one, _ in found), "a context or hot words": sum(two for _, two in found)}
    return [
        f"{count} row(s) have {what} of their own, for which this model has no place; it hears their clips without"
        for what, count in counts.items()
        if count
    ]


def _message(message: Any, name: str) -> tuple[str, str, list[Any]]:
    """The role, text and recordings of a message."""
    if not isinstance(message, Mapping):
        raise DataError(f'"{name}" holds {message!r:.60}, not messages; write {{"role": "user", "content": "…"}}')
    role = message.get("role", message.get("from"))
    content = message.get("content", message.get("value"))
    if isinstance(content, str):
        heard = _FUN_ASR.findall(content)
        return _ROLES.get(str(role), str(role)), _without_mark(_FUN_ASR.sub("", content)), heard
    if not isinstance(content, Sequence):
        raise DataError(f'"{name}" has a message without content; give it a text')
    texts, heard = [], []
    for part in content:
        if not isinstance(part, Mapping):
            raise DataError(f'"{name}" has a content part {part!r:.60}; write {{"type": "text", "text": "…"}}')
        if isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif (recording := _recording(part)) is not None:
            heard.append(recording)
        elif part.get("type") != "audio":
            raise DataError(f'"{name}" has a content part of type {part.get("type")!r}; give texts and one clip')
    return _ROLES.get(str(role), str(role)), _without_mark("\n".join(texts)), heard


def _recording(part: Mapping[str, Any]) -> Any:
    """The recording in a content part, None if it has none."""
    for key in ("audio", "audio_url", "path", "url", "input_audio"):
        value = part.get(key)
        if isinstance(value, Mapping):
            if "data" in value:
                return f"data:audio/{value.get('format', 'wav')};base64,{value['data']}"
            value = value.get("url", value.get("path"))
        if value is not None:
            return value
    return None


def _without_mark(text: str) -> str:
    if text.count(MARK) > 1:
        raise DataError(f"the prompt has {text.count(MARK)} clips ({MARK}); a row has one")
    return text.replace(MARK, "").strip()
