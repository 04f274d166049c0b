"""Chat responses in OpenAI's format, whole or streamed."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from antiphon.models.decoding import Row
from antiphon.models.policy import Sampling
from antiphon.serve.conversation import question_of
from antiphon.serve.job import LEAST, Job
from antiphon.serve.question import Expected
from antiphon.serve.schemas import ChatRequest
from antiphon.serve.service import Service
from antiphon.serve.stops import cut
from antiphon.text.thoughts import Parts, settled, split

LONGEST = 1024
"""Tokens of an answer, where the request sets no limit; fewer if the model has less room."""


class Chat:
    """One request in progress."""

    def __init__(self, service: Service, request: ChatRequest, job: Job, thinks: bool) -> None:
        self.service, self.request, self.job, self.thinks = service, request, job, thinks
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": service.name}

    @classmethod
    @asynccontextmanager
    async def begun(cls, service: Service, request: ChatRequest) -> AsyncIterator[Chat]:
        """Raises `RequestError` if the model does not support the request."""
        filters = (request.top_k, request.top_p, request.min_p)
        sampling = Sampling(request.temperature, request.longest or LONGEST, *filters, shorten=request.longest is None)
        async with question_of(service, request) as (question, thinks):
            job = service.ask(
                question,
                sampling,
                n=request.n,
                seed=request.seed,
                alternatives=request.top_logprobs,
                streams=request.stream,
                top=request.prompt_logprobs,
                ids=request.return_token_ids or request.prompt_logprobs is not None,
                stops=request.stops,
            )
            yield cls(service, request, job, thinks)

    async def whole(self) -> dict[str, Any]:
        """A `chat.completion`."""
        await self.job.answered()
        self._count()
        answer = {**self._head, "object": "chat.completion", "choices": [*map(self._choice, range(self.request.n))]}
        if self.request.prompt_logprobs is not None:
            answer["prompt_logprobs"] = [self._expected(one) for one in self.job.expected]
        if self.job.ids:
            answer["prompt_token_ids"] = self.job.prompt_ids
        return {**answer, "usage": self._usage()}

    def _choice(self, index: int) -> dict[str, Any]:
        row, completion = self.job.rows[index], self.job.completions[index]
        text, stopped = cut(completion.text, self.request.stops)
        thoughts, content = split(text, self.thinks)
        choice: dict[str, Any] = {
            "index": index,
            "message": {
                "role": "assistant",
                "content": content,
                **({"reasoning_content": thoughts} if thoughts else {}),
            },
            "logprobs": self._logprobs(row, 0, len(row.token_ids)) if self.request.logprobs else None,
            "finish_reason": "stop" if stopped else completion.finish_reason,
        }
        return choice | ({"token_ids": row.token_ids} if self.request.return_token_ids else {})

    async def events(self) -> AsyncIterator[str]:
        """`chat.completion.chunk`s as server-sent events."""
        rows = [_ChoiceStream(self, i) for i in range(self.request.n)]
        begun = False
        async for _ in self.job.steps():
            if not begun:
                opened = [{"index": i, "delta": {"role": "assistant", "content": ""}} for i in range(len(rows))]
                yield self._event(opened, **({"prompt_token_ids": self.job.prompt_ids} if self.job.ids else {}))
                begun = True
            chunks = [chunk for row in rows for chunk in row.more()]
            if chunks:
                yield self._event(chunks)
        self._count()
        if self.request.stream_options and self.request.stream_options.include_usage:
            yield self._event([], usage=self._usage())
        yield "data: [DONE]\n\n"

    def _event(self, choices: list[dict[str, Any]], **more: Any) -> str:
        whole = [{"finish_reason": None, **choice} for choice in choices]
        return sse({**self._head, "object": "chat.completion.chunk", "choices": whole, **more})

    def _count(self) -> None:
        self.service.metrics.completion_tokens.inc(sum(len(row.token_ids) for row in self.job.rows))

    def _usage(self) -> dict[str, int]:
        said = sum(len(row.token_ids) for row in self.job.rows)
        return {"prompt_tokens": self.job.size, "completion_tokens": said, "total_tokens": self.job.size + said}

    def _logprobs(self, row: Row, begin: int, end: int) -> dict[str, Any]:
        """Log-probabilities of the tokens from `begin` to `end` of an answer."""
        content = []
        for place in range(begin, end):
            best = row.alternatives[place] if row.alternatives else []
            top = [self._token(token, logprob) for token, logprob in best]
            content.append({**self._token(row.token_ids[place], row.logprobs[place]), "top_logprobs": top})
        return {"content": content}

    def _token(self, token: int, logprob: float) -> dict[str, Any]:
        text = self.service.tokenizer.decode([token])
        whole = "\ufffd" not in text  # Otherwise it is part of a character, whose bytes the tokenizer does not expose.
        return {"token": text, "logprob": max(logprob, LEAST), "bytes": list(text.encode()) if whole else None}

    def _expected(self, expected: Expected | None) -> dict[str, Any] | None:
        """Prompt log-probabilities in vLLM's format."""
        if expected is None:
            return None
        return {
            str(token): {
                "logprob": max(logprob, LEAST),
                "rank": rank,
                "decoded_token": self.service.tokenizer.decode([token]),
            }
            for token, (logprob, rank) in expected.items()
        }


class _ChoiceStream:
    """One streamed answer: what has been sent of it."""

    def __init__(self, chat: Chat, index: int) -> None:
        self.chat, self.index, self.row = chat, index, chat.job.rows[index]
        self._sent: Parts = ("", "")
        self._told = 0
        self._closed = False

    def more(self) -> list[dict[str, Any]]:
        """The next chunk."""
        if self._closed:
            return []
        # Read the reason first: a row that ends now may have tokens that this chunk would miss.
        reason = self.row.finish_reason
        count = len(self.row.logprobs)
        stops = self.chat.request.stops
        text, stopped = cut(self.chat.service.decoded(self.row.token_ids[:count]), stops)
        reason = "stop" if stopped else reason
        parts = split(text if reason else settled(text, stops), self.chat.thinks, ended=reason is not None)
        delta = {
            name: now.removeprefix(before)
            for name, now, before in zip(("reasoning_content", "content"), parts, self._sent, strict=True)
            if now != before
        }
        chunk: dict[str, Any] = {"index": self.index, "delta": delta, "finish_reason": reason}
        if self.chat.request.logprobs:
            chunk["logprobs"] = self.chat._logprobs(self.row, self._told, count)
        if self.chat.request.return_token_ids:
            chunk["token_ids"] = self.row.token_ids[self._told : count]
        self._sent, self._told, self._closed = parts, count, reason is not None
        return [chunk] if delta or reason or len(chunk) > 3 else []


def sse(payload: Any) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(payload, ensure_ascii=False)}\n\n"
