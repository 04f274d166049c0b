"""Requests as clients and proxies really send them: neutral fields, other names, other hosts, and what goes wrong."""

from __future__ import annotations

import base64
import io
import logging
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import openai
import pytest
import soundfile
import tiny_encoder_decoder
import torch
from openai.types.audio import Transcription, TranscriptionTextDoneEvent
from serving import Served, say, served, text_policy

from antiphon.data.corpora.sets import builtin_set
from antiphon.errors import ConfigError
from antiphon.models.load import load_policy
from antiphon.serve.address import Address
from antiphon.serve.describe import operations
from antiphon.serve.hosts import is_own, own_names
from antiphon.types import Prompt

RATE = 16000
CHAT, TRANSCRIBE = "/v1/chat/completions", "/v1/audio/transcriptions"


def wav(seconds: float = 0.5, waveform: np.ndarray | None = None) -> bytes:
    """`waveform`, or noise that swells like speech does."""
    file, time = io.BytesIO(), np.arange(round(RATE * seconds)) / RATE
    noise = np.random.default_rng(0).normal(0, 0.1, len(time)) * np.sin(2 * np.pi * 4 * time)
    soundfile.write(file, noise if waveform is None else waveform, RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def policy(name: str) -> Any:
    return load_policy(f"builtin:{name}", torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    address = {"root_path": "/speech", "allow_hosts": ["*.example.org"], "allow_origins": ["https://page.example"]}
    with served({"reader": text_policy(), "student": policy("student")}, "s3cret", address) as server:
        yield server


def ask(server: Served, path: str, status: int = 200, method: str = "POST", **request: Any) -> Any:
    headers = {"Authorization": "bearer s3cret", **request.pop("headers", {})}
    with server.client() as client:
        answer = client.request(method, path, headers=headers, **request)
    assert answer.status_code == status, answer.text
    return answer


def trouble(server: Served, path: str, status: int = 400, **request: Any) -> dict[str, Any]:
    return ask(server, path, status, **request).json()["error"]


NEUTRAL = {
    "presence_penalty": 0,
    "frequency_penalty": 0.0,
    "logit_bias": {},
    "tools": [],
    "tool_choice": "none",
    "parallel_tool_calls": True,
    "response_format": {"type": "text"},
    "modalities": ["text"],
    "store": False,
    "user": "me",
    "top_k": -1,
    "top_logprobs": None,
    "n": None,
    "stop": None,
    "seed": None,
    "stream_options": None,
    "audio": None,
}


def test_values_that_change_nothing_are_accepted(server):
    body = say("Hi", max_tokens=4)
    plain = ask(server, CHAT, json=body).json()
    assert ask(server, CHAT, json=body | NEUTRAL).json()["choices"] == plain["choices"]


def test_a_message_dumped_from_a_response_is_accepted(server):
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="s3cret", max_retries=0)
    first: list[Any] = [{"role": "user", "content": "Hi"}]
    message = client.chat.completions.create(model="reader", messages=first, max_tokens=4).choices[0].message
    dumped = message.model_dump() | {"refusal": None, "annotations": [], "audio": None, "tool_calls": None}
    again = [*first, dumped, {"role": "user", "content": "And?"}]
    assert client.chat.completions.create(model="reader", messages=again, max_tokens=4).choices


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"store": True}, "store"),
        ({"messages": [{"role": "user", "content": "x", "tool_calls": [{}]}]}, "messages[0].tool_calls"),
    ],
)
def test_what_would_change_the_answer_is_refused_by_name(server, more, param):
    error = trouble(server, CHAT, json=say("x") | more)
    assert (error["param"], error["code"]) == (param, "unknown_parameter")


def test_clips_come_as_base64_of_every_kind_and_as_data_uris(server):
    encoded = base64.b64encode(wav()).decode()
    uri = f"data:audio/wav;base64,{encoded}"
    parts = [
        {"type": "input_audio", "input_audio": {"data": encoded, "format": "wav"}},
        {"type": "input_audio", "input_audio": {"data": uri}},
        {"type": "audio_url", "audio_url": {"url": uri}},
    ]
    said = [
        ask(server, CHAT, json={"model": "student", "messages": [{"role": "user", "content": [one]}], "temperature": 0})
        for one in parts
    ]
    assert len({one.json()["choices"][0]["message"]["content"] for one in said}) == 1
    remote = {"type": "audio_url", "audio_url": {"url": "http://127.0.0.1/clip.wav"}}
    error = trouble(server, CHAT, json={"model": "student", "messages": [{"role": "user", "content": [remote]}]})
    assert "audio_url.url: is no data URI; the server fetches nothing" in error["message"]
    assert error["code"] == "invalid_value"
    for url in ("data:audio/wav;base64,AAAA", "data:audio/wav;base64,%%%%", "data:,"):
        part = {"type": "audio_url", "audio_url": {"url": url}}
        error = trouble(server, CHAT, json={"model": "student", "messages": [{"role": "user", "content": [part]}]})
        assert error["param"] == "messages"


@pytest.mark.parametrize("language", ["en-US", "en_US", "en", "English", "auto", ""])
def test_languages_are_understood_as_clients_name_them(server, language):
    form = {"model": "student", "language": language, "response_format": "verbose_json"}
    answer = ask(server, TRANSCRIBE, files={"file": wav()}, data=form).json()
    assert answer["language"] in ("english", "unknown")


@pytest.mark.parametrize(("name", "value"), [("language", "de"), ("prompt", "Names."), ("max_new_tokens", 9)])
def test_what_a_ctc_model_cannot_honor_is_refused(name, value):
    with served(policy("wav2vec2")) as plain, plain.client() as client:
        refused = client.post(TRANSCRIBE, files={"file": wav()}, data={name: value})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, name)


def test_forms_are_checked_before_they_are_read(server):
    twice = trouble(server, TRANSCRIBE, files=[("file", wav()), ("file", wav())])
    assert (twice["message"], twice["param"]) == ("file is given 2 times; give it once", "file")
    forgotten = trouble(server, TRANSCRIBE, files={"file": (None, b"clip.wav"), "model": (None, b"student")})
    assert "put @ before the path" in forgotten["message"]
    assert trouble(server, TRANSCRIBE, files={"model": (None, b"student")})["code"] == "missing_required_parameter"
    for headers in ({}, {"Content-Type": "application/x-www-form-urlencoded"}):
        error = trouble(server, TRANSCRIBE, content=wav(2.0), headers=headers)
        assert "-F file=@clip.wav" in error["message"]
        assert len(error["message"]) < 200


def test_errors_do_not_repeat_what_was_sent(server):
    for body in ({"x" * 5000: 1}, {"messages": "y" * 5000}, {"temperature": "z" * 5000}, {"model": "m" * 5000}):
        error = trouble(server, CHAT, 404 if "model" in body else 400, json=say("x") | body)
        assert len(error["message"]) < 300
    broken = trouble(server, CHAT, content=b'{"messages": [', headers={"Content-Type": "application/json"})
    assert "not valid JSON" in broken["message"]
    assert broken["param"] is None
    told = trouble(server, TRANSCRIBE, files={"file": (f"{'n' * 5000}.wav", b"s3cret bytes of the client's" * 9)})
    assert "s3cret" not in told["message"]
    assert len(told["message"]) < 300


@pytest.mark.parametrize("body", [b"", b"[1]", b'"text"', b"{"])
def test_a_body_that_is_no_object_is_named(server, body):
    error = trouble(server, CHAT, content=body, headers={"Content-Type": "application/json"})
    assert error["message"].startswith("the body: ")
    assert error["param"] is None


def test_unknown_paths_and_methods_name_what_there_is(server):
    near = trouble(server, "/v1/audio/transcription", 404)
    assert (near["message"], near["code"]) == (
        "there is no /v1/audio/transcription; did you mean '/v1/audio/transcriptions'?",
        "unknown_url",
    )
    assert trouble(server, TRANSCRIBE, 405, method="GET")["message"] == f"{TRANSCRIBE} takes POST, not GET"


def test_keys(server):
    with server.client() as client:
        for header in ({}, {"Authorization": "s3cret"}, {"Authorization": "Bearer wrong"}):
            refused = client.get("/v1/models", headers=header)
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
            assert refused.json()["error"]["code"] == "invalid_api_key"
        for scheme in ("Bearer", "bearer", "BEARER"):
            assert client.get("/v1/models", headers={"Authorization": f"{scheme} s3cret"}).status_code == 200
    for key in ("schlüssel", "two words", ""):
        with pytest.raises(ConfigError, match="API key"):
            Address(api_key=key)


def test_a_name_that_is_not_the_servers_is_refused(server):
    """A web page whose name resolves to this machine would be let in otherwise."""
    for name in ("127.0.0.1:9", "localhost", "[::1]:9", "speech.example.org"):
        assert ask(server, "/health", method="GET", headers={"Host": name}).json()["status"] == "ok"
    for name in ("evil.example", "example.org.evil.example", "127.0.0.1.evil.example"):
        assert trouble(server, "/health", 403, method="GET", headers={"Host": name})["code"] == "host_not_allowed"
    assert is_own("gpu-box:8025", own_names("127.0.0.1", ["gpu-box"]))
    assert is_own("anything", own_names("127.0.0.1", ["*"]))


def test_pages_of_an_allowed_origin_may_ask(server):
    preflight = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    answer = ask(server, CHAT, method="OPTIONS", headers=preflight)
    assert answer.headers["access-control-allow-origin"] == "https://page.example"
    other = ask(server, "/health", method="GET", headers={"Origin": "https://other.example"})
    assert "access-control-allow-origin" not in other.headers


def test_a_proxy_may_leave_its_path_on_or_take_it_off(server):
    for path in ("/speech/v1/models", "/v1/models"):
        assert len(ask(server, path, method="GET").json()["data"]) == 2
    assert ask(server, "/speech/", method="GET").headers["content-type"].startswith("text/html")
    head = ask(server, "/health", method="HEAD")
    assert (head.content, head.headers["content-type"]) == (b"", "application/json")


def test_requests_have_ids_and_a_line_in_the_log(server, caplog):
    logger = logging.getLogger("antiphon.access")
    logger.setLevel(logging.INFO)
    logger.propagate = True
    with caplog.at_level(logging.INFO, logger="antiphon.access"):
        assert (
            ask(server, "/health", method="GET", headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
        )
        assert ask(server, "/health", method="GET", headers={"x-request-id": "a b"}).headers["x-request-id"] != "a b"
    assert any("mine-1 127.0.0.1 GET /health 200" in line for line in caplog.messages)


def test_a_streamed_transcript_ends_with_its_usage(server):
    answer = ask(server, TRANSCRIBE, files={"file": wav()}, data={"model": "student", "stream": "true"})
    done = answer.text.split("data: ")[-2]
    usage = TranscriptionTextDoneEvent.model_validate_json(done.strip()).usage
    assert usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens > 0


def test_one_model_has_several_names():
    from antiphon.serve.app import create_app
    from antiphon.serve.limits import Limits

    services = create_app({"tiny": text_policy()}, Limits(), aliases={"whisper-1": "tiny"}).state.services
    assert services.named("whisper-1") is services.named("tiny") is services.first
    assert list(services.by_name) == ["tiny", "whisper-1"]
    services.first.worker.stop()


def test_the_limit_counts_the_recording_as_openai_does():
    with served(policy("student"), megabytes=0.1) as small, small.client() as client:
        fits, too_large = wav(3.2), wav(3.3)
        assert len(fits) < 0.1 * 2**20 < len(too_large)
        assert client.post(TRANSCRIBE, files={"file": fits}).status_code == 200
        refused = client.post(TRANSCRIBE, files={"file": too_large})
        assert (refused.status_code, refused.json()["error"]["code"]) == (413, "request_too_large")
        part = {"type": "input_audio", "input_audio": {"data": base64.b64encode(fits).decode()}}
        body = {"messages": [{"role": "user", "content": [part]}], "max_tokens": 2}
        assert client.post(CHAT, json=body).status_code == 200


@pytest.mark.parametrize("name", ["student", "whisper"])
def test_silence_and_steady_noise_have_no_words(name):
    noise = np.random.default_rng(0).normal(0, 0.05, 2 * RATE)
    with served(policy(name)) as one, one.client() as client:
        for waveform in (np.zeros(RATE // 2), np.zeros(round(3.9 * RATE)), noise):
            sent = {"files": {"file": wav(waveform=waveform)}}
            assert client.post(TRANSCRIBE, **sent).json()["text"] == ""
            verbose = client.post(TRANSCRIBE, **sent, data={"response_format": "verbose_json"}).json()
            assert (verbose["segments"], verbose["text"]) == ([], "")
            assert client.post(TRANSCRIBE, **sent, data={"response_format": "srt"}).text == ""
        for seconds in (0.0001, 0.05, 0.0999):
            refused = client.post(TRANSCRIBE, files={"file": wav(seconds)})
            assert (refused.status_code, refused.json()["error"]["code"]) == (400, "audio_too_short")


@pytest.fixture(scope="module")
def spoken() -> tuple[np.ndarray, str]:
    example = builtin_set("digits-clean")[1]
    assert example.clip is not None
    return example.clip.load(RATE), example.text


@pytest.mark.parametrize("name", ["student", "whisper"])
def test_log_probabilities_of_the_transcripts_tokens(name, spoken):
    with served(policy(name)) as one:
        client = openai.OpenAI(base_url=f"{one.url}/v1", api_key="none", max_retries=0)
        file = wav(waveform=spoken[0])
        answer = client.audio.transcriptions.create(model="tiny", file=file, include=["logprobs"])
        told = Transcription.model_validate(answer.model_dump(warnings=False)).logprobs
        assert told
        assert "".join(place.token or "" for place in told).strip() == answer.text
        assert all(place.logprob is not None and place.logprob <= 0 for place in told)
        with pytest.raises(openai.BadRequestError, match="response_format=json"):
            client.audio.transcriptions.create(model="tiny", file=file, include=["logprobs"], response_format="text")


def test_a_recording_is_split_at_pauses_where_asked_to(server, spoken):
    pause = np.zeros(RATE // 2, np.float32)
    file = wav(waveform=np.concatenate([spoken[0], pause, spoken[0]]))
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="s3cret", max_retries=0)
    for chunking in ({"type": "server_vad"}, {"type": "server_vad", "silence_duration_ms": 300, "threshold": 0.4}):
        verbose: Any = client.audio.transcriptions.create(
            model="student",
            file=file,
            response_format="verbose_json",
            chunking_strategy=chunking,  # type: ignore[arg-type]
        )
        assert [segment.text for segment in verbose.segments] == [spoken[1]] * 2
    for value in ("never", '{"type": "server_vad", "silence_duration_ms": -1}', '{"type": "client_vad"}', "{"):
        error = trouble(server, TRANSCRIBE, files={"file": file}, data={"model": "student", "chunking_strategy": value})
        assert (error["param"], "server_vad" in error["message"]) == ("chunking_strategy", True)


def test_only_models_that_can_translate_do(server):
    error = trouble(server, "/v1/audio/translations", files={"file": wav()}, data={"model": "student"})
    assert (error["param"], "does not translate" in error["message"]) == ("model", True)
    with served(tiny_encoder_decoder.whisper()) as one:
        client = openai.OpenAI(base_url=f"{one.url}/v1", api_key="none", max_retries=0)
        verbose: Any = client.audio.translations.create(model="tiny", file=wav(), response_format="verbose_json")
        assert (verbose.language, verbose.task) == ("english", "translate")
        ids = one.service.policy.prompt_ids(
            Prompt("clip", np.zeros(RATE, np.float32), RATE, transcribe=True, translate=True, language="de")
        )
        assert one.service.policy.model.generation_config.task_to_id["translate"] in ids


@pytest.mark.skipif(shutil.which("curl") is None and not os.environ.get("CI"), reason="no curl on the path")
def test_the_examples_of_the_api_description_work_and_every_field_is_described(tmp_path, spoken):
    (tmp_path / "clip.wav").write_bytes(wav(waveform=spoken[0]))
    able = {"/v1/chat/completions": text_policy(), "/v1/audio/translations": tiny_encoder_decoder.whisper()}
    with ExitStack() as stack:
        servers = {path: stack.enter_context(served(one)) for path, one in able.items()}
        usual = stack.enter_context(served({"builtin:student": policy("student")}))
        with usual.client() as client:
            found = operations(client.get("/openapi.json").json(), "http://HERE")
        assert len(found) >= 10
        for one in found:
            assert [field.name for field in one.fields if not field.about] == []
            words = shlex.split(one.example.replace("http://HERE", servers.get(one.path, usual).url))
            done = subprocess.run([*words, "-sS", "--fail-with-body"], cwd=tmp_path, capture_output=True, text=True)
            assert done.returncode == 0, (one.example, done.stdout, done.stderr)


def test_examples_name_the_server_as_the_reader_reached_it(server):
    for host in ("api.example.org", "127.0.0.1:4711", "localhost"):
        with server.client() as client:
            page = client.get("/docs", headers={"Host": host}).text
        assert f"curl -F file=@clip.wav http://{host}/speech/asr" in page
