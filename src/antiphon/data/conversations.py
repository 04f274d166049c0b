"""Rows whose text or recording stands inside another column: conversations, and verl's `reward_model`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from antiphon.errors import DataError
from antiphon.tasks.request import conversation_of

Values = Mapping[str, Any]


def unfolded(row: Values, keys: Mapping[str, str]) -> tuple[Values, Mapping[str, str]]:
    """`row` with an `audio` and a `text` of its own where they stand in a conversation, and `keys` with these.

    The text is the assistant's answer, or verl's `reward_model: {"ground_truth": …}`. Raises `DataError` if the row's
    own text is another, and for a conversation of several turns.
    """
    judge = row.get("reward_model")
    if (
        "messages" not in row
        and "conversations" not in row
        and judge is None
        and not isinstance(row.get("prompt"), list)
    ):
        return row, keys
    talk = conversation_of(row)
    said = talk.answer if talk else None
    if said is None and isinstance(judge, Mapping) and isinstance(judge.get("ground_truth"), str):
        said = judge["ground_truth"]
    found: dict[str, Any] = {}
    if said is not None:
        own = None if keys.get("text") == "label" else row.get(keys.get("text", "text"))
        if isinstance(own, str) and own.strip() != said.strip():
            raise DataError(f'"{keys.get("text", "text")}" and the answer in the conversation differ; keep one of them')
        if own is None:
            found["text"] = said
    if talk and talk.recordings and row.get(keys.get("audio", "audio")) is None:
        found["audio"] = list(talk.recordings)
    return {**row, **found}, {**keys, **{name: name for name in found}}
