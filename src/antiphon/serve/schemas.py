"""Request schemas in OpenAI's format, with vLLM's additions.

Unknown fields are refused, not ignored, unless their value changes nothing (`antiphon.serve.neutral`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, PrivateAttr, Tag, model_validator

from antiphon.serve.neutral import MESSAGE, REQUEST, without_neutral

Stop = Annotated[str, Field(min_length=1)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TextPart(Strict):
    type: Literal["text"]
    text: str = Field(description="The text.")


class Audio(Strict):
    data: str = Field(description="The recording in base64, or as a data URI.")
    format: str = Field(default="wav", description="Ignored: the format is detected.")


class AudioPart(Strict):
    type: Literal["input_audio"]
    input_audio: Audio = Field(description="The recording.")


def _data_uri(url: str) -> str:
    if not url.startswith("data:"):
        raise ValueError("is no data URI; the server fetches nothing, so send data:audio/wav;base64,…")
    return url


class AudioUrl(Strict):
    url: Annotated[str, AfterValidator(_data_uri)] = Field(
        description="The recording as a data URI; the server fetches nothing.", json_schema_extra={"pattern": "^data:"}
    )


class AudioUrlPart(Strict):
    """vLLM's form of a recording."""

    type: Literal["audio_url"]
    audio_url: AudioUrl = Field(description="The recording.")


Part = Annotated[TextPart | AudioPart | AudioUrlPart, Field(discriminator="type")]


class Message(Strict):
    role: Literal["system", "developer", "user", "assistant"] = Field(description="Who says it.")
    content: Annotated[
        Annotated[str, Tag("<text>")] | Annotated[list[Part], Tag("<parts>")],
        Discriminator(lambda value: "<parts>" if isinstance(value, list) else "<text>"),
    ] = Field(description="A text, or parts.")
    name: str | None = Field(default=None, description="Accepted; no model reads it.")
    refusal: None = Field(default=None, description="Null, as in a response.")
    audio: None = Field(default=None, description="Null, as in a response.")
    reasoning_content: str | None = Field(
        default=None, description="Thoughts of an earlier answer, for the chat template."
    )

    @model_validator(mode="before")
    @classmethod
    def _neutral(cls, values: Any) -> Any:
        return without_neutral(values, MESSAGE)

    @property
    def parts(self) -> list[TextPart | AudioPart]:
        """The content as a list of parts, recordings in OpenAI's form."""
        if self._parts is None:
            content = [TextPart(type="text", text=self.content)] if isinstance(self.content, str) else self.content
            self._parts = [_in_openai_form(part) for part in content if not _empty(part)]
            self.content = ""  # The parts are all that is needed, and recordings are large.
        return self._parts

    _parts: list[TextPart | AudioPart] | None = PrivateAttr(default=None)


def _in_openai_form(part: Part) -> TextPart | AudioPart:
    if isinstance(part, AudioUrlPart):
        return AudioPart(type="input_audio", input_audio=Audio(data=part.audio_url.url))
    return part


def _empty(part: Part) -> bool:
    return isinstance(part, TextPart) and not part.text


class StreamOptions(Strict):
    include_usage: bool = Field(default=False, description="Tell the usage in a last chunk.")
    include_obfuscation: Literal[False] = Field(default=False, description="Not supported.")


class ChatRequest(Strict):
    """A conversation to continue."""

    model: str | None = Field(default=None, description="A served model; default: the first.")
    messages: list[Message] = Field(min_length=1, description="The conversation so far.")
    max_tokens: int | None = Field(default=None, ge=1, le=65536, description="As max_completion_tokens.")
    max_completion_tokens: int | None = Field(
        default=None, ge=1, le=65536, description="Maximum tokens of an answer; default: 1024."
    )
    temperature: float = Field(default=1.0, ge=0, le=2, description="Sampling temperature; 0 is greedy.")
    top_p: float = Field(default=1.0, gt=0, le=1, description="Sample from the likeliest tokens of this probability.")
    top_k: int | None = Field(default=None, ge=1, description="vLLM: sample from so many likeliest tokens; -1: all.")
    min_p: float | None = Field(default=None, ge=0, le=1, description="vLLM: least probability, relative to the best.")
    seed: int | None = Field(default=None, ge=0, description="The same seed gives the same answer.")
    n: int = Field(default=1, ge=1, le=16, description="Number of answers.")
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = Field(
        default=None, description="Texts before which an answer ends."
    )
    stream: bool = Field(default=False, description="Send the answer as server-sent events.")
    stream_options: StreamOptions | None = Field(default=None, description="Only with stream.")
    logprobs: bool = Field(default=False, description="Tell each token's log-probability.")
    top_logprobs: int = Field(default=0, ge=0, le=20, description="Alternatives of each token; needs logprobs.")
    prompt_logprobs: int | None = Field(default=None, ge=0, le=1000, description="vLLM: tell those of the prompt too.")
    return_token_ids: bool = Field(default=False, description="vLLM: tell the token ids of prompt and answers.")
    add_generation_prompt: bool | None = Field(default=None, description="vLLM: open an answer after the messages.")
    continue_final_message: bool = Field(default=False, description="vLLM: go on with the last message.")
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict, description="vLLM: for the chat template.")
    user: str | None = Field(default=None, description="Accepted; not used.")
    metadata: dict[str, str] | None = Field(default=None, description="Accepted; not used.")

    @model_validator(mode="before")
    @classmethod
    def _neutral(cls, values: Any) -> Any:
        values = without_neutral(values, REQUEST)
        if isinstance(values, dict) and values.get("top_k") in (-1, 0):
            values.pop("top_k")
        return values

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


def example(arguments: str) -> dict[str, Any]:
    """The arguments of a curl command as an example in the API description; `{url}` is the path's own."""
    return {"x-example": f"curl {arguments}"}


def answers(*types: str) -> dict[int | str, dict[str, Any]]:
    """The API description of a response with one of these media types."""
    return {200: {"description": "The answer.", "content": {one: {} for one in types}}}
