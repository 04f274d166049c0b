"""Requests made from the description of the API find no server error, and no answer that it does not declare."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
import torch
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from serving import Served, served, text_policy

from antiphon.models.load import load_policy

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 12
"""Requests of each path, that keep to its description and that do not."""


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    reader = text_policy()
    reader.model.config.max_position_embeddings = 64  # So that answers are short, whatever is asked.
    with served(
        {"reader": reader, "student": load_policy("builtin:student", torch.device("cpu"), torch.float32)}
    ) as one:
        yield one


@pytest.mark.parametrize("mode", GenerationMode)
def test_no_request_finds_a_server_error(server, mode):
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    asked = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and not operation.body:
            continue  # Any text is a name: nothing goes against the description.

        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(mode))
        def ask(case: Case) -> None:
            answer = case.call(timeout=60)
            case.validate_response(answer, checks=CHECKS)
            asked.add((case.operation.label, answer.status_code // 100))

        ask()
    paths = {label for label, _ in asked}
    assert {"POST /asr", "POST /v1/audio/transcriptions", "POST /v1/chat/completions", "POST /diff"} <= paths
    if mode is GenerationMode.POSITIVE:
        assert {"GET /health", "GET /metrics", "GET /v1/models", "GET /token-mask"} <= paths
        assert ("POST /v1/chat/completions", 2) in asked
    with server.client() as client:
        assert client.get("/health").json()["status"] == "ok"
