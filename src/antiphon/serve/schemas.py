"""Request schemas in OpenAI's format, with vLLM's additions. Unknown fields are rejected, not ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Stop = Annotated[str, Field(min_length=1)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TextPart(Strict):
    type: Literal["text"]
    text: str


class Audio(Strict):
    data: str = Field(description="The recording, in base64.")
    format: str = Field(default="wav", description="Ignored: the format is detected.")


class AudioPart(Strict):
    type: Literal["input_audio"]
    input_audio: Audio


class Message(Strict):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart | AudioPart]
    name: str | None = None

    @property
    def parts(self) -> list[TextPart | AudioPart]:
        """The content as a list of parts."""
        if isinstance(self.content, str):
            return [TextPart(type="text", text=self.content)] if self.content else []
        return self.content


class StreamOptions(Strict):
    include_usage: bool = False


class ChatRequest(Strict):
    """A conversation to continue."""

    model: str | None = None
    messages: list[Message] = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=1, le=65536)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=65536)
    temperature: float = Field(default=1.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=1)
    min_p: float | None = Field(default=None, ge=0, le=1)
    seed: int | None = Field(default=None, ge=0)
    n: int = Field(default=1, ge=1, le=16)
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = Field(
        default=None, description="Texts before which an answer ends."
    )
    stream: bool = False
    stream_options: StreamOptions | None = None
    logprobs: bool = False
    top_logprobs: int = Field(default=0, ge=0, le=20)
    prompt_logprobs: int | None = Field(default=None, ge=0, le=1000, description="vLLM: tell those of the prompt too.")
    return_token_ids: bool = Field(default=False, description="vLLM: tell the token ids of prompt and answers.")
    add_generation_prompt: bool | None = Field(default=None, description="vLLM: open an answer after the messages.")
    continue_final_message: bool = Field(default=False, description="vLLM: go on with the last message.")
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict, description="vLLM: for the chat template.")
    user: str | None = None
    metadata: dict[str, str] | None = None

    @model_validator(mode="after")
    def _together(self) -> ChatRequest:
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs: true")
        if self.stream_options and not self.stream:
            raise ValueError("stream_options needs stream: true")
        if self.stream and self.prompt_logprobs is not None:
            raise ValueError("prompt_logprobs cannot be streamed; leave out stream")
        return self

    @property
    def stops(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def longest(self) -> int | None:
        """Maximum tokens of an answer, if the request sets it."""
        return self.max_completion_tokens or self.max_tokens


def answers(*types: str) -> dict[int | str, dict[str, Any]]:
    """The API description of a response with one of these media types."""
    return {200: {"description": "The answer.", "content": {one: {} for one in types}}}
