"""A server as a process: what the documents tell to run against it, and its end when it is told to."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import httpx2
import pytest
import soundfile
from doc_blocks import ROOT, blocks
from processes import start_command
from serving import until

from antiphon.client.port import free_port
from antiphon.data.corpora.sets import builtin_set

BLOCKS = list(blocks(ROOT / "docs" / "serving.md"))
CURLS = [line for block in BLOCKS for line in block.text.splitlines() if line.startswith("curl ")]
PYTHON = [block for block in BLOCKS if block.language == "python"]
SAID = "one zero three"
needs_curl = pytest.mark.skipif(shutil.which("curl") is None and not os.environ.get("CI"), reason="no curl on the path")


@dataclass(frozen=True)
class Server:
    process: BaseProcess
    port: int
    state: Path
    """The file that lists it."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    folder, port = tmp_path_factory.mktemp("state"), free_port()
    words = ["builtin:student", "--served-model-name", "latest", "--port", port, "--threads", 1]
    process = start_command("serve", *words, folder=folder)
    state = folder / "antiphon" / "serve" / f"{port}.json"
    try:
        assert until(state.exists, 120)
        assert until(lambda: "Uvicorn running" in (folder / "stderr").read_text())
        yield Server(process, port, state)
    finally:
        process.kill()
        process.join()


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A working folder with the documents' recording."""
    example = builtin_set("digits-clean")[1]
    assert example.clip is not None
    assert example.text == SAID
    soundfile.write(tmp_path / "clip.wav", example.clip.load(16000), 16000)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@needs_curl
@pytest.mark.parametrize("line", CURLS)
def test_a_curl_line_of_the_documents_does_what_it_says(server, place, line):
    words = shlex.split(line.replace("127.0.0.1:8025", f"127.0.0.1:{server.port}"))
    done = subprocess.run([*words, "--silent", "--show-error", "--fail-with-body"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    if "clip.wav" in line:
        told = "".join(re.findall(r'"delta": "(.*?)"', done.stdout)) if "stream=true" in line else done.stdout
        assert SAID in told
    else:
        assert json.loads(done.stdout)


@pytest.mark.parametrize("block", PYTHON, ids=[block.place for block in PYTHON])
def test_python_of_the_documents_prints_the_transcript(server, place, block):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block.text.replace("127.0.0.1:8025", f"127.0.0.1:{server.port}"), block.place, "exec"), {})
    assert SAID in printed.getvalue()


def test_told_to_end_it_finishes_what_it_is_answering_and_leaves_the_list(server, place):
    clip = (place / "clip.wav").read_bytes()
    slow = {"temperature": "2", "max_new_tokens": "400", "stream": "true"}
    with httpx2.Client(base_url=server.url, timeout=60) as client:
        answer = client.stream("POST", "/v1/audio/transcriptions", files={"file": ("clip.wav", clip)}, data=slow)
        with answer as answer:
            lines = answer.iter_lines()
            next(lines)
            server.process.terminate()
            *_, done, last = [line for line in lines if line]
    assert json.loads(done.removeprefix("data: "))["type"] == "transcript.text.done"
    assert last == "data: [DONE]"
    server.process.join(60)
    assert server.process.exitcode == 0
    assert not server.state.exists()
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{server.url}/health")
