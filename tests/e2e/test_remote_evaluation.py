"""`antiphon eval URL`: a model behind our own server, and servers that are busy, broken or want a key."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import tenacity
import torch
from conftest import write_rows, write_set
from serving import served
from test_evaluation import Quiet

from antiphon.client import http
from antiphon.client.http import Client
from antiphon.config import load_config
from antiphon.data.corpora.sets import builtin_set
from antiphon.errors import ConfigError, ModelError
from antiphon.evaluate.normalizers import load_normalizer
from antiphon.evaluate.remote import RemoteModel
from antiphon.evaluate.sets import evaluate_sets
from antiphon.models.load import load_policy

CLIPS = 6


@pytest.fixture(scope="module")
def dev(tmp_path_factory) -> Path:
    return write_set(tmp_path_factory.mktemp("remote") / "dev.jsonl", "commands-noisy", CLIPS)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(load_policy("builtin:student", torch.device("cpu"), torch.float32)) as server:
        yield f"{server.url}/v1"


def test_a_model_behind_a_url_gets_the_figures_it_gets_here(cli, dev, url, tmp_path):
    how = ("--data", dev, "--normalizer", "none", "--json")
    here = cli("eval", "builtin:student", *how).json["dev"]
    there = cli("eval", url, *how, "--concurrency", 3, "--output", tmp_path).json["dev"]
    same = ("wer", "cer", "edits", "n", "ci", "seconds", "empty_share", "normalizer")
    assert {key: there[key] for key in same} == {key: here[key] for key in same}
    assert (there["concurrency"], there["precision"], there["device"]) == (3, "unknown", "http")
    assert there["rtfx"] > 0
    assert there["truncated_share"] is None, "a server does not say what it cut"
    assert json.loads((tmp_path / "summary.json").read_text())["model"] == f"tiny at {url}"
    assert "3 requests side by side over HTTP" in (tmp_path / "report.html").read_text()
    kept = (tmp_path / "transcripts" / "dev.jsonl").read_text().splitlines()
    assert len(kept) == 1 + CLIPS, "each answer is kept as it comes"


def test_an_audio_lm_is_asked_in_a_chat(cli, dev, url):
    here = cli("eval", "builtin:student", "--data", dev, "--json").json["dev"]
    there = cli("eval", url, "--data", dev, "--chat", "--json").json["dev"]
    assert (there["wer"], there["n"], there["truncated_share"]) == (here["wer"], here["n"], 0.0)
    cut = cli("eval", url, "--data", dev, "--chat", "--max-new-tokens", 2, "--json").json["dev"]
    assert cut["truncated_share"] == 1.0


def test_a_text_lm_behind_a_url_answers_questions_in_a_chat(tmp_path):
    asked: list[dict[str, Any]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(json.loads(request.read()))
        return httpx2.Response(200, json={"choices": [{"message": {"content": "4"}, "finish_reason": "stop"}]})

    questions = write_rows(tmp_path / "sums.jsonl", [{"task": "text", "prompt": "2 + 2?", "text": "4"}])
    config = load_config(flags={"task": "text", "context": "Be brief."})
    model = RemoteModel(scripted(answer), "m", 1, chat=True, max_new_tokens=9)
    figures = evaluate_sets(model, {"sums": str(questions)}, config, load_normalizer(), Quiet()).sets["sums"]
    assert figures["accuracy"] == 1.0
    (request,) = asked
    assert [one["role"] for one in request["messages"]] == ["system", "user"]
    assert request["messages"][1]["content"] == [{"type": "text", "text": "2 + 2?"}]
    assert (request["max_tokens"], request["temperature"]) == (9, 0)


def test_two_urls_are_compared_like_two_models(cli, dev, url):
    shown = cli("compare", url, url, "--data", dev, "--limit", 3)
    assert shown.status == 0, shown.err
    assert f"{url} makes exactly as many errors as {url} on dev" in shown.out


def test_options_that_the_server_sets_or_only_a_server_has_are_refused(cli, dev, url):
    for options, message in (
        (("--beam", 4), f"--beam is for the server at {url} to set; leave it out"),
        (("--max-new-tokens", 9), "--max-new-tokens is for the server"),
        (("--task", "classify"), "is asked for transcripts, not for task classify; add --chat"),
        (("--chat", "--language", "en"), "a chat has no place for --language en"),
    ):
        assert message in cli("eval", url, "--data", dev, *options).err
    local = cli("eval", "builtin:student", "--data", dev, "--served-model", "x")
    assert "--served-model is for a model behind a URL, and builtin:student is none" in local.err


def test_a_server_that_wants_a_key_gets_it_from_the_environment(cli, dev, monkeypatch):
    with served(load_policy("builtin:student", torch.device("cpu"), torch.float32), api_key="secret") as server:
        arguments = ("eval", f"{server.url}/v1", "--data", dev, "--limit", 1, "--json")
        refused = cli(*arguments)
        assert refused.status == 2
        assert "in 1 try (status 401" in refused.err
        assert "set the environment variable ANTIPHON_API_KEY to the server's key" in refused.err
        monkeypatch.setenv("ANTIPHON_API_KEY", "secret")
        assert cli(*arguments).json["dev"]["n"] == 1


def scripted(answer: Callable[[httpx2.Request], httpx2.Response]) -> Client:
    """An API whose server is a function."""
    there = Client("http://here/v1/", 1.0, remedy="see that it runs and takes such clips")
    there._client = httpx2.Client(transport=httpx2.MockTransport(answer))
    return there


class Scripted:
    """A server that answers each request by what comes next in its script, and "ok" when that is at its end."""

    def __init__(self, *script: Any) -> None:
        self.script, self.asked = list(script), 0

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        answer = self.script.pop(0) if self.script else httpx2.Response(200, json={"text": "ok"})
        if isinstance(answer, Exception):
            raise answer
        return answer

    def evaluated(self, output: Path | None = None, limit: int = CLIPS) -> dict[str, Any]:
        subject = RemoteModel(scripted(self), "m", 1)
        sets = {"dev": "builtin:digits-clean"}
        return evaluate_sets(subject, sets, load_config(), load_normalizer(), Quiet(), limit, output=output).sets["dev"]


@pytest.fixture
def no_pause(monkeypatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr(tenacity.nap.time, "sleep", waited.append)
    return waited


def test_a_busy_server_is_asked_again_when_it_says_so(no_pause):
    busy = httpx2.Response(429, headers={"Retry-After": "7"}, json={"error": "full"})
    server = Scripted(busy, httpx2.ConnectError("refused"), httpx2.ReadTimeout("slow"), httpx2.Response(502))
    assert server.evaluated(limit=1)["n"] == 1
    assert server.asked == 5
    assert no_pause == [7.0, 1.0, 2.0, 4.0]


def test_a_server_that_stays_away_ends_the_evaluation_and_what_is_there_is_kept(no_pause, tmp_path):
    good = [httpx2.Response(200, json={"text": "one"})] * 2
    down = [httpx2.ConnectError("connection refused")] * http.TRIES
    with pytest.raises(
        ModelError, match=r"did not answer example 'digits-clean-00002' in 5 tries \(ConnectError: conn"
    ):
        Scripted(*good, *down).evaluated(tmp_path)
    rest = Scripted()
    assert rest.evaluated(tmp_path)["n"] == CLIPS
    assert rest.asked == CLIPS - 2, "the same command goes on"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            httpx2.Response(413, text="too long"),
            r"in 1 try \(status 413: too long\); see that it runs and takes such",
        ),
        (httpx2.Response(404, text="Not Found"), "in 1 try .*give the URL with its version"),
        (httpx2.Response(200, text="<html>"), "with something other than a JSON object: <html>"),
        (httpx2.Response(200, json={"error": "no"}), "example 'digits-clean-00000' without a text: {'error': 'no'}"),
    ],
)
def test_a_server_that_refuses_is_not_asked_again(no_pause, answer, message):
    server = Scripted(answer)
    with pytest.raises(ModelError, match=message):
        server.evaluated(limit=1)
    assert server.asked == 1


def test_what_is_said_to_a_server():
    bodies: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        bodies.append(request.read().decode("latin-1"))
        return httpx2.Response(200, json={"text": " yes "})

    example = builtin_set("digits-clean")[0]
    model = RemoteModel(scripted(answer), "mine", 1)
    (portion,) = model.portions([example], load_config(flags={"language": "en", "context": "digits"}))
    assert [one.answer.text for one in portion.transcripts] == ["yes"]
    parts = dict(part.split("\r\n\r\n", 1) for part in bodies[0].split("--" + bodies[0][2:34]) if "\r\n\r\n" in part)
    fields = {head.split('name="')[1].split('"')[0]: value.strip() for head, value in parts.items()}
    assert {key: fields[key] for key in ("model", "language", "prompt", "temperature")} == {
        "model": "mine",
        "language": "en",
        "prompt": "digits",
        "temperature": "0",
    }
    assert fields["file"].startswith("RIFF")


def test_one_of_several_served_models_has_to_be_named():
    served_models = ["a"]

    def listing(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"data": [{"id": name} for name in served_models]})

    assert RemoteModel.connect(scripted(listing), None, 1).name == "a at http://here/v1"
    served_models.append("b")
    assert RemoteModel.connect(scripted(listing), "b", 1).name == "b at http://here/v1"
    with pytest.raises(ConfigError, match="http://here/v1 serves a, b; name one with --served-model"):
        RemoteModel.connect(scripted(listing), None, 1)
