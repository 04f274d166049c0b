"""Whatever is sent, the answer is a refusal in words, and the next good request is served."""

from __future__ import annotations

import io
from collections.abc import Iterator

import av
import numpy as np
import pytest
import soundfile
import torch
from serving import Served, served

from antiphon.models.load import load_policy

RATE, EACH = 16000, 25
DAMAGES = ("cut", "flip", "splice", "noise")


def good(form: str) -> bytes:
    waveform = (0.1 * np.random.default_rng(0).standard_normal(RATE // 4)).astype(np.float32)
    file = io.BytesIO()
    if form == "WEBM":
        with av.open(file, "w", format="webm") as output:
            stream = output.add_stream("libopus", rate=48000)
            for start in range(0, len(waveform) - 320, 320):
                frame = av.AudioFrame.from_ndarray(waveform[None, start : start + 320], format="flt", layout="mono")
                frame.sample_rate, frame.pts = RATE, start
                for piece in av.AudioResampler("flt", "mono", 48000).resample(frame):
                    output.mux(stream.encode(piece))
            output.mux(stream.encode(None))
    else:
        soundfile.write(file, waveform, RATE, format=form)
    return file.getvalue()


def damaged(content: bytes, how: str, draw: np.random.Generator) -> bytes:
    """`content`, broken in one way."""
    data = bytearray(content)
    if how == "cut":
        return bytes(data[: draw.integers(0, len(data) - 1)])
    if how == "flip":
        for place in draw.integers(0, min(len(data), 200), 12):
            data[place] = draw.integers(256)
    elif how == "splice":
        begin = int(draw.integers(0, len(data)))
        data[begin : begin + int(draw.integers(1, 200))] = draw.bytes(int(draw.integers(0, 400)))
    else:
        data[int(draw.integers(4, 64)) :] = draw.bytes(500)
    return bytes(data)


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    policy = load_policy("builtin:wav2vec2", torch.device("cpu"), torch.float32)
    with served(policy, seconds=1.0, megabytes=1.0) as server:
        yield server


@pytest.mark.parametrize("form", ["WAV", "FLAC", "MP3", "WEBM"])
def test_a_damaged_recording_never_fails_the_server(server, form):
    content, draw = good(form), np.random.default_rng(len(form))
    statuses = []
    with server.client() as client:
        for how in DAMAGES:
            for _ in range(EACH):
                answer = client.post("/asr", files={"file": ("clip", damaged(content, how, draw))})
                statuses.append(answer.status_code)
                assert answer.status_code in (200, 400, 413), (how, answer.text)
                if answer.status_code != 200:
                    assert "/tmp" not in answer.json()["error"]["message"]
        assert statuses.count(400) > len(DAMAGES) * EACH / 5
        assert client.post("/asr", files={"file": ("clip", content)}).status_code == 200


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
