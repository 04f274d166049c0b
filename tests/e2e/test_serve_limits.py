"""One server, many clients: nobody waits for a long answer, and nobody takes more than there is."""

from __future__ import annotations

import asyncio
import importlib
import io
import json
import socket
import threading
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from serving import say, served, text_policy, until

from antiphon.models.load import load_policy

CHAT, TRANSCRIBE = "/v1/chat/completions", "/v1/audio/transcriptions"


@pytest.fixture(scope="module")
def student():
    return load_policy("builtin:student", torch.device("cpu"), torch.float32)


def wav(seconds: float = 0.5) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(round(seconds * 16000), np.float32), 16000, format="WAV")
    return file.getvalue()


def connected(server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])))


def in_background(server, **body) -> threading.Thread:
    """A long answer, being given."""

    def ask() -> None:
        with server.client() as client:
            client.post(CHAT, json=say("Tell me all.", max_tokens=400, **body))

    thread = threading.Thread(target=ask)
    thread.start()
    assert until(lambda: server.service.worker.running)
    return thread


def test_a_short_answer_overtakes_a_long_one():
    with served(text_policy()) as server, server.client() as client:
        long = in_background(server)
        began = server.service.worker.steps
        answer = client.post(CHAT, json=say("Short.", max_tokens=3)).json()
        assert long.is_alive()
        assert server.service.worker.running == 1
        assert answer["usage"]["completion_tokens"] == 3
        assert server.service.worker.steps - began < 300
        long.join()


def test_an_answer_does_not_depend_on_what_is_answered_beside_it():
    body = say("And you?", max_tokens=24, temperature=1.0, seed=7)
    with served(text_policy()) as server, server.client() as client:
        alone = client.post(CHAT, json=body).json()["choices"]
        long = in_background(server)
        assert client.post(CHAT, json=body).json()["choices"] == alone
        long.join()


def test_beyond_the_number_of_requests_one_is_told_when_to_come_again():
    with served(text_policy(), requests=1) as server, server.client() as client:
        long = in_background(server)
        refused = client.post(CHAT, json=say("Me too.", max_tokens=1))
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) >= 1
        assert client.get("/health").status_code == 200
        long.join()
        assert client.post(CHAT, json=say("Me too.", max_tokens=1)).status_code == 200


def test_an_answer_that_takes_too_long_is_given_up():
    with served(text_policy(), answer_s=0.2) as server, server.client() as client:
        late = client.post(CHAT, json=say("All.", max_tokens=480, n=16))
        assert late.status_code == 504
        assert "0.2 s" in late.json()["error"]["message"]
        assert server.idle()


@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_is_answered_no_more(stream):
    with served(text_policy()) as server:
        body = json.dumps(say("All.", max_tokens=480, n=16, stream=stream)).encode()
        kind = "Host: localhost\r\nContent-Type: application/json"
        head = f"POST {CHAT} HTTP/1.1\r\n{kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        with connected(server) as connection:
            connection.sendall(head.encode() + body)
            assert until(lambda: server.service.worker.running == 16)
        began = server.service.worker.steps
        assert server.idle()
        assert server.service.worker.steps - began < 400


def test_a_body_may_be_neither_too_large_nor_too_slow():
    with served(text_policy(), megabytes=0.01, upload_s=0.3) as server, server.client() as client:
        assert client.post(CHAT, json=say("x" * 100_000)).status_code == 413

        def unannounced():
            for _ in range(100):
                yield b"x" * 1000

        assert client.post(CHAT, content=unannounced()).status_code == 413

        with connected(server) as connection:
            connection.sendall(f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{{".encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 408 ")
        assert client.post(CHAT, json=say("x", max_tokens=1)).status_code == 200


def test_bodies_may_not_take_all_memory_together():
    """Of 1272 kB for all, 17 clients that are slow to send theirs hold 1258."""
    with served(text_policy(), megabytes=0.01) as server, server.client() as client, ExitStack() as slow:
        for _ in range(17):
            connection = slow.enter_context(connected(server))
            connection.sendall(
                f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 74000\r\n\r\n".encode() + b" " * 73900
            )
        body = say("x" * 40_000, max_tokens=1)
        assert until(lambda: client.post(CHAT, json=body).status_code == 429)
        refused = client.post(CHAT, json=body)
        assert "use all the memory" in refused.json()["error"]["message"]
        assert int(refused.headers["Retry-After"]) >= 1
        assert client.post(CHAT, json=say("x", max_tokens=1)).status_code == 200
        slow.close()
        assert until(lambda: client.post(CHAT, json=body).status_code != 429)


def test_a_head_that_does_not_come_ends_its_connection(monkeypatch):
    monkeypatch.setattr("antiphon.serve.connection.HEAD_S", 0.3)
    with served(text_policy()) as server:
        with connected(server) as silent:
            assert silent.recv(100) == b""
        with connected(server) as dribbling:
            whole = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
            dribbling.sendall(whole)
            assert dribbling.recv(1000).startswith(b"HTTP/1.1 200 ")

            def closed() -> bool:
                try:
                    dribbling.sendall(b"G")
                    return False
                except ConnectionError:
                    return True

            assert until(closed, 3)


def test_a_recording_may_not_be_too_long(student):
    with served(student, seconds=1.0) as server, server.client() as client:
        refused = client.post(TRANSCRIBE, files={"file": wav(1.1)})
        assert refused.status_code == 413
        assert "1 s" in refused.json()["error"]["message"]
        assert client.post(TRANSCRIBE, files={"file": wav(0.9)}).status_code == 200


def test_with_a_key_only_health_is_open():
    with served(text_policy(), api_key="secret") as server, server.client() as client:
        assert client.get("/health").status_code == 200
        for key in (None, "Bearer wrong", "Bearer s\u00e9cret".encode("latin-1")):
            headers = {} if key is None else {"Authorization": key}
            assert client.get("/v1/models", headers=headers).status_code == 401
            assert client.post(CHAT, json=say("x"), headers=headers).status_code == 401
        assert client.get("/v1/models", headers={"Authorization": "Bearer secret"}).status_code == 200


def test_shutting_down_finishes_what_is_being_answered():
    with served(text_policy()) as server, server.client() as client:
        with client.stream(
            "POST", CHAT, json=say("All.", max_tokens=200, stream=True, return_token_ids=True)
        ) as answer:
            lines = answer.iter_lines()
            next(lines)
            server.server.should_exit = True
            rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]"
        told = [one for line in rest[:-1] for c in json.loads(line[6:])["choices"] for one in c.get("token_ids", [])]
        assert len(told) == 200
        server.thread.join(20)
        assert not server.thread.is_alive()
        assert server.service.worker.trouble == "the worker has stopped"


def test_health_says_when_the_engine_does_not_go_on(monkeypatch):
    with served(text_policy()) as server, server.client() as client:
        assert client.get("/health").json()["status"] == "ok"
        monkeypatch.setattr("antiphon.serve.worker.STUCK", -1.0)
        long = in_background(server)
        sick = client.get("/health")
        assert sick.status_code == 503
        assert "has made no progress" in sick.json()["error"]["message"]
        assert 'antiphon_engine_up{model="tiny"} 0' in client.get("/metrics").text
        long.join()


def test_a_step_that_fails_fails_its_requests_and_no_others(monkeypatch):
    with served(text_policy()) as server, server.client() as client:
        with monkeypatch.context() as broken:
            broken.setattr("antiphon.models.decoding.Decoding._draw", lambda _: 1 / 0)
            failed = client.post(CHAT, json=say("x", max_tokens=2))
            assert failed.status_code == 500
            assert "division" not in failed.text
        assert client.post(CHAT, json=say("x", max_tokens=2)).status_code == 200


def test_the_load_benchmark_finds_what_is_lost_and_what_differs(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    load = importlib.import_module("serve_load")
    monkeypatch.setattr(load, "prepare_cpu", lambda threads: None)
    options = ["--worker", "--clients", "4", "--clips", "4", "--seconds", "0.5", "--rounds", "1", "--json"]
    load.main(options)
    found = json.loads(capsys.readouterr().out)
    assert found["ratio"] > 0
    for side in ("one", "4"):
        assert (found[side]["lost"], found[side]["different"]) == (0, 0)
        assert 0 < found[side]["p50_ms"] <= found[side]["p95_ms"] <= found[side]["p99_ms"]

    async def forgetful(client: int, clip: int) -> str:
        await asyncio.sleep(0)
        if clip == 1:
            raise ConnectionError
        return "different"

    turns = load.Turns()
    asyncio.run(load.turn(forgetful, 2, 0.01, ["said", "said"], turns))
    assert turns.lost
    assert turns.different == len(turns.times) > 0
