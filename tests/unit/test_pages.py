"""What the pages are made of is all there, and names nothing outside."""

import re
from importlib.resources import files

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from antiphon.serve import pages

PARTS = sorted(one.name for one in (files("antiphon.serve") / "page").iterdir())


@pytest.fixture(scope="module")
def client():
    app = FastAPI(docs_url=None)
    app.include_router(pages.router)
    with TestClient(app) as client:
        yield client


@pytest.mark.parametrize("name", PARTS)
def test_a_part_names_only_parts_that_there_are(client, name):
    answer = client.get(f"/page/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    named = re.findall(r'(?:from "\./|"page/)([^"]+)"', answer.text)
    assert set(named) <= set(PARTS)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", answer.text)
    assert not re.search(r"<script(?! type=\"module\" src=)|<style|\sstyle=|\son\w+=", answer.text)


def test_every_part_is_used(client):
    texts = [client.get(path).text for path in ("/", "/docs", *(f"/page/{name}" for name in PARTS))]
    named = set(re.findall(r'(?:from "\./|"page/)([^"]+)"', "".join(texts)))
    assert named | {"index.html", "docs.html"} == set(PARTS)


@pytest.mark.parametrize("path", ["/page/nothing.js", "/page/%2e%2e", "/page/%2e%2e%2fpages.py", "/page/"])
def test_nothing_else_is_sent(client, path):
    assert client.get(path).status_code == 404
