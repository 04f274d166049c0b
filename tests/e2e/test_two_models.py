"""One server, two models: requests choose, each model has a worker of its own, and both are watched."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from serving import Served, say, served, text_policy, until

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    policies = {"one": text_policy(), "two": text_policy()}
    # Both say what they say most: with other weights, other words.
    policies["two"].model.lm_head.weight.data.neg_()
    with served(policies) as server:
        yield server


def test_a_request_chooses_its_model_and_the_first_is_the_default(server):
    with server.client() as client:

        def answer(**more):
            return client.post(CHAT, json=say("Why?", max_tokens=8, **more)).json()

        one, two, default = answer(model="one"), answer(model="two"), answer()
        assert (one["model"], two["model"], default["model"]) == ("one", "two", "one")
        assert one["choices"] == default["choices"] != two["choices"]
        refused = client.post(CHAT, json=say("Why?", model="three"))
        assert refused.status_code == 404
        assert "ask for 'one' or 'two'" in refused.json()["error"]["message"]


def test_both_are_listed_and_watched(server, monkeypatch):
    with server.client() as client:
        listed = client.get("/v1/models").json()["data"]
        assert [(one["id"], one["accepts"]) for one in listed] == [("one", ["messages"]), ("two", ["messages"])]
        assert client.get("/v1/models/two").json()["id"] == "two"
        assert client.get("/health").json()["models"] == {name: {"requests": 0} for name in ("one", "two")}
        masks = [client.get("/token-mask", params=chosen).json() for chosen in ({}, {"model": "two"})]
        assert masks[0]["blocked"] == masks[1]["blocked"]
        assert client.get("/token-mask", params={"model": "three"}).status_code == 404
        monkeypatch.setattr("antiphon.serve.worker.STUCK", -1.0)
        long = threading.Thread(target=lambda: client.post(CHAT, json=say("All.", max_tokens=400, model="two")))
        long.start()
        assert until(lambda: 'antiphon_engine_running{model="two"} 1' in client.get("/metrics").text)
        assert 'antiphon_engine_running{model="one"} 0' in client.get("/metrics").text
        sick = client.get("/health")
        assert sick.status_code == 503
        assert sick.json()["error"]["message"].startswith("two: the worker has made no progress")
        long.join()


def test_two_models_of_one_name_are_refused(cli):
    outcome = cli("serve", "builtin:student", "--beside", "builtin:student")
    assert outcome.status == 2
    assert "set --served-model-name" in outcome.err
