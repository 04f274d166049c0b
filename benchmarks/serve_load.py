"""Many clients at once against one at a time, on one server: requests a second, and how long each takes.

The server is `antiphon serve`, a process of its own on 127.0.0.1. Each client sends clips of a built-in test set, the
next one as soon as it has the transcript of the last, over a connection that it keeps. One client and `--clients` of
them take turns of `--seconds / --rounds`, so that both meet the same machine; first each clip is sent once by itself,
which warms up the server and says what its transcript is. Every later transcript of the clip must be that one.

With `--worker` the same turns are taken without HTTP: clips are put to the server's worker directly, in this process.

It ends with status 1 when a request is lost or a transcript is another.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
import soundfile
import torch

from antiphon.client.port import free_port
from antiphon.data.corpora.sets import builtin_set
from antiphon.distributed.device import prepare_cpu
from antiphon.models.decoding import Row
from antiphon.models.load import load_policy
from antiphon.models.policy import Sampling
from antiphon.serve.job import Job
from antiphon.serve.question import Question
from antiphon.serve.worker import Worker
from antiphon.tasks.asr import INSTRUCTION
from antiphon.types import Prompt, Seconds

RATE = 16000
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Transcribe = Callable[[int, int], Awaitable[str]]
"""(client, clip) -> its transcript."""


@dataclass
class Turns:
    """What came of all turns of one number of clients."""

    rates: list[float] = field(default_factory=list)
    """Requests a second, of each turn."""
    times: list[Seconds] = field(default_factory=list)
    """Of each request."""
    lost: int = 0
    different: int = 0

    def figures(self) -> dict[str, Any]:
        percentiles = dict(zip(("p50_ms", "p95_ms", "p99_ms"), np.percentile(self.times, (50, 95, 99)), strict=True))
        counts = {"requests": len(self.times), "lost": self.lost, "different": self.different}
        return {"per_second": median(self.rates), **{name: 1000 * one for name, one in percentiles.items()}, **counts}


async def turn(transcribe: Transcribe, clients: int, seconds: Seconds, alone: Sequence[str], turns: Turns) -> None:
    """Let so many clients send clips for so long, and wait for the last transcripts."""
    began, before = time.monotonic(), len(turns.times)

    async def client(number: int) -> None:
        clip = number
        while (sent := time.monotonic()) < began + seconds:
            try:
                same = await transcribe(number, clip % len(alone)) == alone[clip % len(alone)]
                turns.different += not same
                turns.times.append(time.monotonic() - sent)
            except (OSError, ValueError, asyncio.IncompleteReadError):
                turns.lost += 1
            clip += clients if clients > 1 else 1

    await asyncio.gather(*map(client, range(clients)))
    turns.rates.append((len(turns.times) - before) / (time.monotonic() - began))


async def compare(transcribe: Transcribe, arguments: argparse.Namespace) -> dict[str, Any]:
    alone = [await transcribe(0, clip) for clip in range(arguments.clips)]
    one, many = Turns(), Turns()
    sides = [(1, one), (arguments.clients, many)]
    for number in range(arguments.rounds):
        for clients, turns in sides[:: 1 if number % 2 else -1]:
            await turn(transcribe, clients, arguments.seconds / arguments.rounds, alone, turns)
    ratio = median(many.rates) / median(one.rates)
    return {"ratio": ratio, "one": one.figures(), f"{arguments.clients}": many.figures()}


def waveforms(clips: int) -> list[np.ndarray]:
    return [one.clip.load(RATE) for one in builtin_set("commands-clean")[:clips] if one.clip]


@asynccontextmanager
async def http(arguments: argparse.Namespace) -> AsyncIterator[Transcribe]:
    """Asks a server over one connection for each client."""
    port = free_port()
    options = ["--port", str(port), "--threads", str(arguments.threads), "--max-requests", str(2 * arguments.clients)]
    server = subprocess.Popen(
        [sys.executable, "-m", "antiphon", "serve", arguments.model, *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        while not await asyncio.to_thread(answers, port):
            if server.poll() is not None:
                assert server.stderr
                raise SystemExit(f"the server ended: {server.stderr.read().decode()[-2000:]}")
        requests = [upload(waveform) for waveform in waveforms(arguments.clips)]
        connections: dict[int, Connection] = {}

        async def transcribe(client: int, clip: int) -> str:
            if client not in connections or connections[client][0].at_eof():  # The server closes those not in use.
                connections[client] = await asyncio.open_connection("127.0.0.1", port)
            reader, writer = connections[client]
            writer.write(requests[clip])
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            body = await reader.readexactly(int(head.partition("content-length: ")[2].partition("\r\n")[0]))
            if not head.startswith("http/1.1 200 "):
                raise ValueError(f"refused: {body.decode()}")
            return json.loads(body)["text"]

        yield transcribe
        for _, writer in connections.values():
            writer.close()
    finally:
        server.terminate()
        server.communicate(timeout=60)


def answers(port: int) -> bool:
    time.sleep(0.2)
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def upload(waveform: np.ndarray) -> bytes:
    """A whole request."""
    file = io.BytesIO()
    soundfile.write(file, waveform, RATE, format="WAV")
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="clip.wav"\r\n\r\n'
    body = part + file.getvalue() + b"\r\n--b--\r\n"
    head = f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + body


@asynccontextmanager
async def worker(arguments: argparse.Namespace) -> AsyncIterator[Transcribe]:
    """Puts clips to a worker in this process."""
    prepare_cpu(arguments.threads)
    policy = load_policy(arguments.model, torch.device("cpu"), torch.float32)
    own, clips = Worker(policy), waveforms(arguments.clips)

    async def transcribe(client: int, clip: int) -> str:
        prompt = Prompt("the recording", clips[clip], RATE, INSTRUCTION)
        job = Job(Question(prompt), [Row(Sampling(0.0, 256))])
        own.submit(job)
        (completion,) = await job.answered()
        return policy.render(completion).text

    yield transcribe
    await asyncio.to_thread(own.stop)


async def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    async with (worker if arguments.worker else http)(arguments) as transcribe:
        return await compare(transcribe, arguments)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="builtin:student")
    parser.add_argument("--clients", type=int, default=64, help="at once (default: 64)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each side, all turns together (default: 60)")
    parser.add_argument("--rounds", type=int, default=4, help="turns of each side (default: 4)")
    parser.add_argument("--clips", type=int, default=64, help="different ones (default: 64)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the model (default: 1)")
    parser.add_argument("--worker", action="store_true", help="the worker alone, without HTTP")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args(argv)
    found = asyncio.run(measured(arguments))
    if arguments.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            cells = value.items() if isinstance(value, dict) else [("", value)]
            print(f"{name:8}", "  ".join(f"{key} {one:.4g}".strip() for key, one in cells))
    if any(side["lost"] or side["different"] for side in found.values() if isinstance(side, dict)):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
