"""The paths that make work: OpenAI's transcriptions and chat, and `/asr`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, HTTPException, Request, UploadFile
from fastapi.responses import PlainTextResponse, Response, StreamingResponse

from antiphon.serve.chat import Chat, sse
from antiphon.serve.errors import body_of, status_of
from antiphon.serve.schemas import ChatRequest
from antiphon.serve.service import Service
from antiphon.serve.state import Served
from antiphon.serve.transcription import Transcription, Wish
from antiphon.serve.upload import waveform_of

router = APIRouter()
_log = logging.getLogger("antiphon.serve")
PATHS = {"/v1/audio/transcriptions", "/asr", "/v1/chat/completions"}
MaxNewTokens = Annotated[int, Form(ge=1, le=4096, description="Longest transcript of each piece, in tokens.")]


@router.post("/v1/audio/transcriptions", response_model=None)
async def transcriptions(
    request: Request,
    service: Served,
    file: Annotated[UploadFile, File(description="WAV, FLAC, MP3, OGG, WebM, MP4/M4A, AAC …")],
    model: Annotated[str | None, Form()] = None,
    language: Annotated[str | None, Form(description="As the model names it; found by the model if left out.")] = None,
    prompt: Annotated[str, Form(description="Context: hot words, domain, style.")] = "",
    response_format: Annotated[Literal["json", "text", "verbose_json"], Form()] = "json",
    temperature: Annotated[float, Form(ge=0, le=2)] = 0.0,
    stream: Annotated[bool, Form()] = False,
    max_new_tokens: MaxNewTokens = 256,
) -> Response | dict[str, Any]:
    """A recording to text. With `stream`, the events `transcript.text.delta` and `transcript.text.done`."""
    service.require_model(model)
    wish = Wish(language or None, prompt, temperature, max_new_tokens)
    if stream:
        return await _streamed(request, service, _transcript(service, file, wish))
    done = await service.attend(request, _transcribed(service, file, wish))
    if response_format == "text":
        return PlainTextResponse(done.text + "\n")
    if response_format == "verbose_json":
        return done.verbose()
    return {"text": done.text, "usage": {"type": "duration", "seconds": round(done.seconds, 3)}}


@router.post("/asr")
async def asr(
    request: Request, service: Served, file: Annotated[UploadFile, File()], max_new_tokens: MaxNewTokens = 256
) -> dict[str, Any]:
    """A recording to text, with nothing to set."""
    began = time.perf_counter()
    done = await service.attend(request, _transcribed(service, file, Wish(max_new_tokens=max_new_tokens)))
    return {"text": done.text, "audio_seconds": done.seconds, "seconds": time.perf_counter() - began}


@router.post("/v1/chat/completions", response_model=None)
async def chat_completions(request: Request, service: Served, wanted: ChatRequest) -> Response | dict[str, Any]:
    """Go on with a conversation; with `stream`, as server-sent events."""
    service.require_model(wanted.model)
    if wanted.stream and wanted.prompt_logprobs is not None:
        raise HTTPException(400, "prompt_logprobs are told in one piece; leave out stream")
    if wanted.stream:
        return await _streamed(request, service, _chat(service, wanted))

    async def whole() -> dict[str, Any]:
        return await (await Chat.begin(service, wanted)).whole()

    return await service.attend(request, whole())


async def _transcribed(service: Service, file: UploadFile, wish: Wish) -> Transcription:
    transcription = await _begun(service, file, wish)
    await transcription.whole()
    return transcription


async def _begun(service: Service, file: UploadFile, wish: Wish, streams: bool = False) -> Transcription:
    waveform = await waveform_of(service, await file.read(), file.filename or "")
    return Transcription(service, waveform, wish, streams)


async def _transcript(service: Service, file: UploadFile, wish: Wish) -> AsyncGenerator[str]:
    """OpenAI's events; what is sent stays, and `transcript.text.done` has the whole text."""
    transcription, sent = await _begun(service, file, wish, streams=True), ""
    async for text in transcription.texts():
        if text.startswith(sent) and text != sent:
            yield sse({"type": "transcript.text.delta", "delta": text.removeprefix(sent)})
            sent = text
    yield sse({"type": "transcript.text.done", "text": transcription.text})
    yield "data: [DONE]\n\n"


async def _chat(service: Service, wanted: ChatRequest) -> AsyncGenerator[str]:
    chat = await Chat.begin(service, wanted)
    async for event in chat.events():
        yield event


async def _streamed(request: Request, service: Service, events: AsyncGenerator[str]) -> StreamingResponse:
    """The response of `events`, once there is a first one: what goes wrong before it has a status of its own."""
    deadline = asyncio.get_running_loop().time() + service.limits.answer_s
    first = await service.attend(request, anext(events))

    async def all_events() -> AsyncGenerator[str]:
        try:
            yield first
            while True:
                async with asyncio.timeout_at(deadline):
                    event = await anext(events)
                yield event
        except StopAsyncIteration:
            return
        except Exception as error:
            if status_of(error) == 500:
                _log.exception("a streamed answer failed")
            yield sse(body_of(error))
        finally:
            await events.aclose()

    return StreamingResponse(all_events(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
