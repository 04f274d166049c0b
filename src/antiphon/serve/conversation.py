"""Converts chat messages to the model's input."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from jinja2 import TemplateError

from antiphon.serve.errors import RequestError
from antiphon.serve.question import Question
from antiphon.serve.schemas import AudioPart, ChatRequest, Message
from antiphon.serve.service import Service
from antiphon.serve.upload import from_base64
from antiphon.tasks.asr import INSTRUCTION
from antiphon.text.thoughts import opens
from antiphon.types import Prompt


@asynccontextmanager
async def question_of(service: Service, request: ChatRequest) -> AsyncIterator[tuple[Question, bool]]:
    """The question, with its clip held until the block ends, and whether the prompt opens the model's thoughts.

    Raises `RequestError` 400 if the model does not support the conversation.
    """
    if service.policy.chat == "turns":
        yield _text_only(service, request)
    elif service.policy.chat == "one clip":
        async with _with_clip(service, request) as question:
            yield question, False
    else:
        raise RequestError(400, f"{service.name} does not chat; use /v1/audio/transcriptions", "model")


def _text_only(service: Service, request: ChatRequest) -> tuple[Question, bool]:
    """Any number of turns, formatted by the tokenizer's chat template; without one, a line each."""
    messages = [
        {"role": one.role, "content": _text(one, audio=False)}
        | ({"reasoning_content": one.reasoning_content} if one.reasoning_content else {})
        for one in request.messages
    ]
    tokenizer = service.tokenizer
    if tokenizer.chat_template is None:
        ids = tokenizer("\n".join(one["content"] for one in messages))["input_ids"]
        return _non_empty(ids), False
    try:
        text = tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=_opens_answer(request),
            continue_final_message=request.continue_final_message,
            **request.chat_template_kwargs,
        )
    except (TemplateError, ValueError, TypeError) as error:
        raise RequestError(400, f"the model's chat template refuses this conversation: {error}", "messages") from error
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return _non_empty(ids), opens(text)


@asynccontextmanager
async def _with_clip(service: Service, request: ChatRequest) -> AsyncIterator[Question]:
    """One turn with a clip: system messages, a user message, and optionally the start of an answer."""
    messages = list(request.messages)
    said = messages.pop() if messages[-1].role == "assistant" else None
    user = messages.pop() if messages else None
    if user is None or user.role != "user" or any(one.role not in ("system", "developer") for one in messages):
        raise RequestError(
            400,
            "this model has one turn: system messages, one of the user's with a clip, and perhaps an answer to it",
            "messages",
        )
    clips = [part for part in user.parts if isinstance(part, AudioPart)]
    if len(clips) != 1:
        raise RequestError(
            400, f"the user's message has {len(clips)} input_audio parts; this model takes one", "messages"
        )
    instruction = _text(user, audio=True)
    context = "\n".join(_text(one, audio=False) for one in messages)
    ids = tuple(_said(service, request, said)) if said else ()
    content, clips[0].input_audio.data = from_base64(clips[0].input_audio.data), ""  # Free the base64 text.
    async with service.waveform(content, "input_audio", "messages") as waveform:
        prompt = Prompt(
            "the message",
            waveform,
            service.policy.rate,
            instruction or INSTRUCTION,
            context,
            transcribe=instruction in ("", INSTRUCTION),
        )
        yield Question(prompt, ids)


def _said(service: Service, request: ChatRequest, said: Message) -> list[int]:
    """The tokens of a given answer, closed unless it is to be continued."""
    if request.add_generation_prompt is not False and not request.continue_final_message:
        raise RequestError(
            400,
            "this model gives one answer, and the last message is one; set continue_final_message to go on with it, "
            "or add_generation_prompt to false to have it scored",
            "messages",
        )
    ids = service.tokenizer(_text(said, audio=False), add_special_tokens=False)["input_ids"]
    if request.continue_final_message:
        return ids
    policy: Any = service.policy
    stops, usual = policy.stop_ids, service.tokenizer.eos_token_id
    return [*ids, usual if usual in stops else min(stops)]


def _opens_answer(request: ChatRequest) -> bool:
    wanted = request.add_generation_prompt
    return not request.continue_final_message if wanted is None else wanted


def _text(message: Message, audio: bool) -> str:
    """The concatenated text parts of a message."""
    if not audio and any(isinstance(part, AudioPart) for part in message.parts):
        raise RequestError(
            400, f"a message of role {message.role} has audio, which this model does not support there", "messages"
        )
    return "\n".join(part.text for part in message.parts if not isinstance(part, AudioPart))


def _non_empty(ids: list[int]) -> Question:
    if not ids:
        raise RequestError(400, "the messages are empty; say something", "messages")
    return Question(None, tuple(ids))
