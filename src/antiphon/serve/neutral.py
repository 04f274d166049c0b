"""Fields of OpenAI's and vLLM's requests that antiphon does not have, with the values that change no answer.

Clients such as LangChain and litellm send them at their defaults. A neutral value is dropped, and any other value is
refused as an unknown field, because ignoring it would answer another request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def _any(value: Any) -> bool:
    return True


def _one_of(*values: Any) -> Callable[[Any], bool]:
    return lambda value: any(value == one and type(value) in (type(one), int, float) for one in values)


REQUEST: dict[str, Callable[[Any], bool]] = {
    "audio": _one_of({}),
    "best_of": _one_of(1),
    "echo": _one_of(False),
    "frequency_penalty": _one_of(0),
    "function_call": _one_of("none", "auto"),
    "functions": _one_of([]),
    "ignore_eos": _one_of(False),
    "include_stop_str_in_output": _one_of(False),
    "length_penalty": _one_of(1),
    "logit_bias": _one_of({}),
    "min_tokens": _one_of(0),
    "modalities": _one_of(["text"]),
    "parallel_tool_calls": _any,
    "presence_penalty": _one_of(0),
    "prompt_cache_key": _any,
    "repetition_penalty": _one_of(1),
    "response_format": _one_of({"type": "text"}),
    "safety_identifier": _any,
    "service_tier": _one_of("auto", "default"),
    "skip_special_tokens": _one_of(True),
    "spaces_between_special_tokens": _one_of(True),
    "stop_token_ids": _one_of([]),
    "store": _one_of(False),
    "tool_choice": _one_of("none", "auto"),
    "tools": _one_of([]),
    "use_beam_search": _one_of(False),
}
"""Of a chat request. `parallel_tool_calls` matters only with tools, the keys and identifiers only to billing."""
MESSAGE: dict[str, Callable[[Any], bool]] = {
    "annotations": _one_of([]),
    "function_call": _one_of({}),
    "provider_specific_fields": _any,
    "tool_calls": _one_of([]),
}
"""Of a message, as dumped from a response; the provider's fields are litellm's own notes."""


def without_neutral(values: Any, neutral: Mapping[str, Callable[[Any], bool]]) -> Any:
    """`values`, a JSON object, without nulls and neutral values; anything else unchanged."""
    if not isinstance(values, dict):
        return values
    return {
        name: value
        for name, value in values.items()
        if value is not None and not (name in neutral and neutral[name](value))
    }
