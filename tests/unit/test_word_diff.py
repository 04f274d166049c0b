"""The errors that a server counts are those of an evaluation."""

import json

import pytest
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.testclient import TestClient
from measured import measured

from antiphon.serve import diff, errors


@pytest.fixture(scope="module")
def client():
    app = FastAPI()
    app.include_router(diff.router)
    app.add_exception_handler(RequestValidationError, errors.handle)
    with TestClient(app) as client:
        yield client


@pytest.mark.parametrize(
    ("reference", "hypothesis", "language"),
    [
        ("Don't stop, five six!", "do not stop six six now", "English"),
        ("He said one two three", "he said 123", "en"),
        ("今天 天气 很好", "今天天气好", "zh"),
        ("नमस्ते दुनिया", "नमस्ते", None),
        ("only this", "", None),
        ("", "made up words", None),
    ],
)
def test_the_counts_are_those_of_an_evaluation(client, reference, hypothesis, language):
    wanted = measured("a", reference, hypothesis, language=language)
    body = {"reference": reference, "hypothesis": hypothesis, "language": language}
    found = client.post("/diff", json=body).json()
    counts = (found["substitutions"], found["deletions"], found["insertions"])
    assert counts == (wanted["sub"], wanted["del"], wanted["ins"])
    if wanted["ref_words"]:
        assert found["wer"] == wanted["wer_errors"] / wanted["ref_words"]
        assert found["cer"] == wanted["cer_errors"] / wanted["ref_chars"]
    else:
        assert found["wer"] is found["cer"] is None
    assert found["normalizer"].startswith("default ")


def test_each_word_of_both_texts_is_in_one_operation(client):
    body = {"reference": "a b c d", "hypothesis": "a x c d e"}
    operations = client.post("/diff", json=body).json()["operations"]
    assert [one["reference"] for one in operations if one["reference"]] == ["a", "b", "c", "d"]
    assert [one["hypothesis"] for one in operations if one["hypothesis"]] == ["a", "x", "c", "d", "e"]
    assert [one["kind"] for one in operations] == ["hit", "substitution", "hit", "hit", "insertion"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"reference": "a"}, "hypothesis: is required"),
        ({"reference": "a", "hypothesis": "b", "more": 1}, "more: unknown field"),
        ({"reference": "a" * 20_001, "hypothesis": "b"}, "reference: String should have at most 20000"),
        ({"reference": "\ud800", "hypothesis": "b"}, "reference: Input should be a valid string"),
    ],
)
def test_what_it_cannot_compare_is_refused(client, body, said):
    refused = client.post("/diff", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert refused.status_code == 400
    assert said in refused.json()["error"]["message"]
