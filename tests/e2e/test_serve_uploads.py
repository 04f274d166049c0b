"""Whatever is sent, the answer is a refusal in words, and the next good request is served."""

from __future__ import annotations

import importlib
import io
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from serving import Served, served

from antiphon.models.load import load_policy

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
RATE = 16000


def good(form: str) -> bytes:
    waveform = (0.1 * np.random.default_rng(0).standard_normal(RATE // 4)).astype(np.float32)
    file = io.BytesIO()
    soundfile.write(file, waveform, RATE, format=form)
    return file.getvalue()


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    policy = load_policy("builtin:wav2vec2", torch.device("cpu"), torch.float32)
    with served(policy, seconds=1.0, megabytes=1.0) as server:
        yield server


def test_malformed_requests_never_fail_the_server(monkeypatch):
    """As `benchmarks/fuzz_server.py` makes them by the thousand."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    fuzz = importlib.import_module("fuzz_server")
    policy = load_policy("builtin:student", torch.device("cpu"), torch.float32)
    with served(policy, megabytes=1.0, seconds=60.0, upload_s=1.0) as server:
        port, found, before = server.port, fuzz.Found(), fuzz.memory_mb(os.getpid())["VmRSS"]
        text = fuzz.transcript(port)
        assert text
        fuzz.attack_all(port, fuzz.attacks(300, 1), found)
        assert found.failures == []
        assert fuzz.transcript(port) == text
        assert fuzz.memory_mb(os.getpid())["VmRSS"] - before < 500
        assert server.idle()
    statuses = sum(found.statuses.values(), Counter())
    assert statuses.total() == 300
    assert statuses["400"] + statuses["413"] + statuses["408"] > 150
    assert set(statuses) <= {"200", "400", "404", "405", "408", "413", "429", "closed", "left"}
    assert len(found.statuses) > 18


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\n"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\ntext\r\n--b--\r\n',
        ),
        ("multipart/form-data; boundary=b", b"\xff" * 100),
        ("multipart/form-data; boundary=\xff", b"--b--"),
        ("application/x-www-form-urlencoded", b"file=%ff%fe"),
        ("application/json", b'{"messages": [{"role": "user", "content": "\\ud800"}]}'),
        ("application/json", b"[" * 5000),
        ("application/json", b'{"messages": NaN}'),
        ("text/plain", b"\x00"),
    ],
)
@pytest.mark.parametrize("path", ["/asr", "/v1/audio/transcriptions", "/v1/chat/completions"])
def test_a_malformed_body_is_refused(server, path, content_type, body):
    with server.client() as client:
        answer = client.post(path, content=body, headers={"Content-Type": content_type.encode("latin-1")})
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["message"]


def test_playlists_open_no_files(server, tmp_path):
    """FFmpeg would read what a playlist names: a file of the server, or an address."""
    secret = tmp_path / "secret.wav"
    secret.write_bytes(good("WAV"))
    with server.client() as client:
        for text in (f"#EXTM3U\n#EXTINF:1,\n{secret}\n", f"ffconcat version 1.0\nfile {secret}\n"):
            answer = client.post("/asr", files={"file": ("a.m3u8", text.encode())})
            assert answer.status_code == 400


def test_clips_of_a_model_that_answers_at_once_share_a_pass(server):
    from concurrent.futures import ThreadPoolExecutor

    clips = [good("WAV"), good("FLAC")] * 4
    with server.client() as client:

        def text(clip: bytes) -> str:
            return client.post("/asr", files={"file": ("clip", clip)}).json()["text"]

        alone = [text(clip) for clip in clips[:2]]
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(text, clips)) == alone * 4
