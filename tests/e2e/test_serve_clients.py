"""The libraries that people ask servers with: OpenAI's client for Node, litellm and LangChain."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import torch
from serving import Served, served, text_policy

from antiphon.audio.encode import wav
from antiphon.data.corpora.sets import builtin_set
from antiphon.models.load import load_policy

NODE = Path(__file__).parent / "node"
MODULES = Path(__file__).parents[2] / "build" / "node" / "node_modules"
needs_node = pytest.mark.skipif(
    not (MODULES.exists() or (os.environ.get("CI") and shutil.which("npm"))),
    reason="OpenAI's client for Node is not installed (make node-client)",
)


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    student = load_policy("builtin:student", torch.device("cpu"), torch.float32)
    with served({"reader": text_policy(), "student": student}) as server:
        yield server


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> tuple[Path, str]:
    """A recording, and what is said in it."""
    example = builtin_set("digits-clean")[1]
    assert example.clip is not None
    path = tmp_path_factory.mktemp("clip") / "clip.wav"
    path.write_bytes(wav(np.asarray(example.clip.load(16000)), 16000))
    return path, example.text


@pytest.fixture(scope="module")
def answer(server) -> str:
    """What the model answers to "Hi" greedily, in OpenAI's own client."""
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
    whole = client.chat.completions.create(
        model="reader", messages=[{"role": "user", "content": "Hi"}], temperature=0, max_tokens=4
    )
    assert whole.choices[0].message.content
    return whole.choices[0].message.content


@needs_node
def test_openais_client_for_node(server, clip, answer):
    path, text = clip
    script = shutil.copy(NODE / "client.js", MODULES.parent)  # Node looks for modules beside the script.
    done = subprocess.run(
        ["node", script, server.url, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "models": ["reader", "student"],
        "text": text,
        "segments": 1,
        "streamed": text,
        "answer": answer,
        "chunks": answer,
        "again": 1,
        "error": [404, "model_not_found", "model"],
    }


def test_litellm(server, clip, answer, monkeypatch):
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # Otherwise it downloads prices.
    import litellm

    where: dict[str, Any] = {"api_base": f"{server.url}/v1", "api_key": "none", "num_retries": 0}
    chat: dict[str, Any] = {"model": "openai/reader", "temperature": 0, "max_tokens": 4, **where}
    hello = {"role": "user", "content": "Hi"}
    whole: Any = litellm.completion(messages=[hello], presence_penalty=0, user="me", **chat)
    assert whole.choices[0].message.content == answer
    chunks: Any = litellm.completion(messages=[hello], stream=True, **chat)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == answer
    again = [hello, whole.choices[0].message.model_dump(), {"role": "user", "content": "And?"}]
    assert litellm.completion(messages=again, **chat)
    with clip[0].open("rb") as file:
        heard: Any = litellm.transcription(model="openai/student", file=file, language="en", **where)
    assert heard.text == clip[1]


def test_langchain(server, answer):
    from langchain_core.messages import AIMessage, HumanMessage
    from langchain_openai import ChatOpenAI

    model: Any = ChatOpenAI(
        model="reader",
        base_url=f"{server.url}/v1",
        api_key="none",  # type: ignore[arg-type]
        temperature=0,
        max_completion_tokens=4,
        presence_penalty=0,
        n=1,
        max_retries=0,
    )
    whole = model.invoke([HumanMessage("Hi")])
    assert whole.content == answer
    assert whole.usage_metadata["output_tokens"] == 4
    assert "".join(chunk.content for chunk in model.stream([HumanMessage("Hi")])) == answer
    assert isinstance(model.invoke([HumanMessage("Hi"), whole, HumanMessage("And?")]), AIMessage)
