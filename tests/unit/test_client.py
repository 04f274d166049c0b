"""The HTTP client, the messages it sends, and a free port."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx2
import pytest
import tenacity

from antiphon.client.http import LONGEST_PAUSE, Client
from antiphon.client.messages import conversation, user_message
from antiphon.client.port import free_port
from antiphon.errors import ModelError, RunError

OK = httpx2.Response(200, json={"done": True})


def client(answer: Callable[[httpx2.Request], httpx2.Response], **settings: Any) -> Client:
    """A client whose server is a function."""
    made = Client("http://here/v1/", 1.0, **settings)
    made._client = httpx2.Client(transport=httpx2.MockTransport(answer), headers=made._client.headers)
    return made


def scripted(*answers: httpx2.Response) -> Callable[[httpx2.Request], httpx2.Response]:
    script = iter(answers)
    return lambda request: next(script)


@pytest.fixture(autouse=True)
def pauses(monkeypatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr(tenacity.nap.time, "sleep", waited.append)
    monkeypatch.delenv("ANTIPHON_API_KEY", raising=False)
    return waited


def busy(retry_after: str) -> httpx2.Response:
    return httpx2.Response(503, headers={"Retry-After": retry_after})


def test_a_server_says_how_long_to_wait_in_seconds_or_by_a_date(pauses):
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=9))
    past = format_datetime(datetime.now(UTC) - timedelta(hours=1))
    asked = client(scripted(busy("3"), busy(soon), busy(past), busy("86400"), OK)).call("GET", "/x", "x")
    assert asked == {"done": True}
    assert pauses == [3.0, pytest.approx(9, abs=2), 0.0, LONGEST_PAUSE]


def test_other_pauses_double(pauses):
    client(scripted(busy("soon"), busy("-3"), busy("nan"), OK)).call("GET", "/x", "x")
    assert pauses == [0.5, 1.0, 2.0]


def test_it_tries_as_often_as_it_is_told(pauses):
    with pytest.raises(RunError, match=r"^the server did not answer x in 2 tries \(status 503: \); look there$"):
        client(lambda _: busy(""), tries=2, name="the server", remedy="look there", error=RunError).call(
            "GET", "/", "x"
        )
    assert pauses == [0.5]


def test_the_message_of_an_error_is_told():
    full = httpx2.Response(400, json={"error": {"message": "too many words", "type": "invalid"}})
    with pytest.raises(ModelError, match=r"http://here/v1 did not answer x in 1 try \(status 400: too many words\)"):
        client(lambda _: full).call("POST", "/x", "x")


def test_a_key_is_sent_and_its_variable_named_where_it_is_refused(monkeypatch):
    def guarded(request: httpx2.Request) -> httpx2.Response:
        return OK if request.headers.get("authorization") == "Bearer right" else httpx2.Response(401)

    with pytest.raises(ModelError, match="set the environment variable ANTIPHON_API_KEY to the server's key"):
        client(guarded).call("GET", "/x", "x")
    monkeypatch.setenv("MY_KEY", "wrong")
    with pytest.raises(ModelError, match=r"\(status 401.*the environment variable MY_KEY has the wrong key"):
        client(guarded, key_variable="MY_KEY").call("GET", "/x", "x")
    monkeypatch.setenv("MY_KEY", "right")
    assert client(guarded, key_variable="MY_KEY").call("GET", "/x", "x")["done"]


def test_threads_share_it_and_each_request_has_its_own_tries():
    failed: set[str] = set()

    def once_busy(request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        if path in failed:
            return httpx2.Response(200, json={"path": path})
        failed.add(path)
        return busy("0")

    shared = client(once_busy, tries=2)
    paths = [f"/{number}" for number in range(40)]
    with ThreadPoolExecutor(16) as pool:
        told = list(pool.map(lambda path: shared.call("GET", path, path)["path"], paths))
    assert told == [f"/v1{path}" for path in paths]


def test_messages_are_in_the_form_of_openai():
    clip = {"type": "input_audio", "input_audio": {"data": base64.b64encode(b"RIFF").decode(), "format": "wav"}}
    assert user_message("", b"RIFF") == {"role": "user", "content": [clip]}
    assert conversation("What?", b"RIFF", "Names: Ann") == [
        {"role": "system", "content": "Names: Ann"},
        {"role": "user", "content": [clip, {"type": "text", "text": "What?"}]},
    ]
    assert conversation("2 + 2?") == [{"role": "user", "content": [{"type": "text", "text": "2 + 2?"}]}]


def test_a_free_port_can_be_listened_on():
    with socket.socket() as server:
        server.bind(("127.0.0.1", free_port()))
