"""The paths that run models: OpenAI's transcriptions and chat, and `/asr`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, File, Form, Request, UploadFile
from fastapi.responses import PlainTextResponse, Response, StreamingResponse

from antiphon.serve.body import ParsedRoute
from antiphon.serve.chat import Chat, sse
from antiphon.serve.errors import RequestError, body_of, status_of
from antiphon.serve.forms import ServerVad, checked, chunking
from antiphon.serve.languages import asked
from antiphon.serve.schemas import ChatRequest, answers, example
from antiphon.serve.service import Service
from antiphon.serve.state import Served
from antiphon.serve.subtitles import srt, vtt
from antiphon.serve.transcription import Transcription, TranscriptionOptions, options_of

router = APIRouter(route_class=ParsedRoute)
_log = logging.getLogger("antiphon.serve")
PATHS = {"/v1/audio/transcriptions", "/v1/audio/translations", "/asr", "/v1/chat/completions"}
MaxNewTokens = Annotated[int | None, Form(ge=1, le=4096, description="Maximum tokens per segment; default: 256.")]


Model = Annotated[str | None, Form(description="A served model; default: the first.")]
ContextPrompt = Annotated[str, Form(description="Context: hotwords, domain, style.")]
ResponseFormat = Annotated[
    Literal["json", "text", "verbose_json", "srt", "vtt"], Form(description="Form of the answer.")
]
Temperature = Annotated[float, Form(ge=0, le=2, description="Sampling temperature; 0 is greedy.")]
Upload = Annotated[UploadFile, File(description="The recording: WAV, FLAC, MP3, OGG, WebM, MP4/M4A, AAC …")]


@router.post(
    "/v1/audio/transcriptions",
    response_model=None,
    dependencies=[Depends(checked)],
    responses=answers("application/json", "text/plain", "text/vtt", "application/x-subrip", "text/event-stream"),
    openapi_extra=example("-F file=@clip.wav -F language=en -F response_format=verbose_json {url}"),
)
async def transcriptions(
    request: Request,
    services: Served,
    file: Upload,
    model: Model = None,
    language: Annotated[
        str | None, Form(description="Language: a code such as en or en-US, or a name; auto or none: detected.")
    ] = None,
    prompt: ContextPrompt = "",
    response_format: ResponseFormat = "json",
    temperature: Temperature = 0.0,
    stream: Annotated[bool, Form(description="Stream events; response_format must be json or verbose_json.")] = False,
    max_new_tokens: MaxNewTokens = None,
    granularities: Annotated[
        Sequence[Literal["segment", "word"]],
        Form(alias="timestamp_granularities[]", description="What verbose_json has times of; segments always."),
    ] = (),
    include: Annotated[
        Sequence[Literal["logprobs"]],
        Form(alias="include[]", description="logprobs: tell each token's log-probability; with response_format json."),
    ] = (),
    chunking_strategy: Annotated[
        str, Form(description='auto, or {"type": "server_vad"} to split at every pause; long recordings always are.')
    ] = "auto",
    vad: ServerVad | None = Depends(chunking),
) -> Response | dict[str, Any]:
    """Transcribe a recording. With `stream`, sends the events `transcript.text.delta` and `transcript.text.done`."""
    service = services.named(model)
    words = "word" in granularities or _shows_words(service, response_format)
    options = options_of(service, asked(language), prompt, temperature, max_new_tokens, vad, words=words)
    if include and not service.policy.token_level:
        raise RequestError(400, f"{service.name} has no log-probabilities of tokens; leave out include", "include[]")
    if include and response_format != "json":
        raise RequestError(400, "include[]=logprobs needs response_format=json", "response_format")
    if granularities and response_format != "verbose_json":
        raise RequestError(400, "timestamp_granularities needs response_format=verbose_json", "response_format")
    if stream:
        if response_format not in ("json", "verbose_json"):
            raise RequestError(
                400,
                f"response_format {response_format} cannot be streamed; leave out response_format or stream",
                "response_format",
            )
        events = _transcript(service, file, options, response_format == "verbose_json", bool(include))
        return await _streamed(request, service, events)
    done = await service.attend(request, _transcribed(service, file, options))
    return _in_form(done, response_format, bool(include))


@router.post(
    "/v1/audio/translations",
    response_model=None,
    dependencies=[Depends(checked)],
    responses=answers("application/json", "text/plain", "text/vtt", "application/x-subrip"),
    openapi_extra=example("-F file=@clip.wav {url}"),
)
async def translations(
    request: Request,
    services: Served,
    file: Upload,
    model: Model = None,
    prompt: ContextPrompt = "",
    response_format: ResponseFormat = "json",
    temperature: Temperature = 0.0,
    max_new_tokens: MaxNewTokens = None,
) -> Response | dict[str, Any]:
    """Transcribe a recording in another language into English, with a model that can: a multilingual Whisper."""
    service = services.named(model)
    words = _shows_words(service, response_format)
    options = options_of(service, None, prompt, temperature, max_new_tokens, translate=True, words=words)
    return _in_form(await service.attend(request, _transcribed(service, file, options)), response_format)


def _shows_words(service: Service, response_format: str) -> bool:
    """Whether subtitles can follow the words."""
    return service.words and response_format in ("srt", "vtt")


def _in_form(done: Transcription, response_format: str, logprobs: bool = False) -> Response | dict[str, Any]:
    """A transcript as the client wants it."""
    match response_format:
        case "verbose_json":
            return done.verbose()
        case "text":
            return PlainTextResponse(f"{done.text}\n")
        case "srt":
            return PlainTextResponse(srt(done.words), media_type="application/x-subrip")
        case "vtt":
            return PlainTextResponse(vtt(done.words), media_type="text/vtt")
    return {"text": done.text, "usage": done.usage} | ({"logprobs": done.logprobs} if logprobs else {})


@router.post("/asr", dependencies=[Depends(checked)], openapi_extra=example("-F file=@clip.wav {url}"))
async def asr(request: Request, services: Served, file: Upload, max_new_tokens: MaxNewTokens = None) -> dict[str, Any]:
    """Transcribe a recording, without options."""
    began, service = time.perf_counter(), services.first
    options = options_of(service, max_new_tokens=max_new_tokens)
    done = await service.attend(request, _transcribed(service, file, options))
    return {"text": done.text, "audio_seconds": done.seconds, "seconds": time.perf_counter() - began}


@router.post(
    "/v1/chat/completions",
    response_model=None,
    responses=answers("application/json", "text/event-stream"),
    openapi_extra=example(
        """--json '{"messages": [{"role": "user", "content": "Why?"}], "max_completion_tokens": 64}' {url}"""
    ),
)
async def chat_completions(request: Request, services: Served, wanted: ChatRequest) -> Response | dict[str, Any]:
    """Continue a conversation; with `stream`, as server-sent events."""
    service = services.named(wanted.model)
    if wanted.stream:
        return await _streamed(request, service, _chat(service, wanted))

    async def whole() -> dict[str, Any]:
        async with Chat.begun(service, wanted) as chat:
            return await chat.whole()

    return await service.attend(request, whole())


async def _transcribed(service: Service, file: UploadFile, options: TranscriptionOptions) -> Transcription:
    async with service.waveform(file.file, file.filename or "") as waveform:
        transcription = await Transcription.begun(service, waveform, options)
        await transcription.whole()
    return transcription


async def _transcript(
    service: Service, file: UploadFile, options: TranscriptionOptions, verbose: bool, logprobs: bool
) -> AsyncGenerator[str]:
    """OpenAI's events. Deltas are final; `transcript.text.done` has the whole text, or all of `verbose_json`."""
    async with service.waveform(file.file, file.filename or "") as waveform:
        transcription, sent = await Transcription.begun(service, waveform, options, streams=True), ""
        async for text in transcription.texts():
            if text.startswith(sent) and text != sent:
                yield sse({"type": "transcript.text.delta", "delta": text.removeprefix(sent)})
                sent = text
    whole = transcription.verbose() if verbose else {"text": transcription.text}
    more = {"logprobs": transcription.logprobs} if logprobs else {}
    yield sse({"type": "transcript.text.done", **whole, **more, "usage": transcription.token_usage})
    yield "data: [DONE]\n\n"


async def _chat(service: Service, wanted: ChatRequest) -> AsyncGenerator[str]:
    async with Chat.begun(service, wanted) as chat:
        async for event in chat.events():
            yield event


async def _streamed(request: Request, service: Service, events: AsyncGenerator[str]) -> StreamingResponse:
    """Stream `events` after waiting for the first one, so that earlier errors get a proper status."""
    deadline = asyncio.get_running_loop().time() + service.limits.answer_s
    first = await service.attend(request, anext(events))

    async def all_events() -> AsyncGenerator[str]:
        service.requests += 1
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
            service.requests -= 1
            await events.aclose()

    return StreamingResponse(all_events(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
