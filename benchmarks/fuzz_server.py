"""Malformed requests (`malformed.py`), thousands of them, against a server: is each refused, and the server as before?

The server is a process of its own on 127.0.0.1, with limits of one megabyte, a minute of audio and a second for a body.
After each batch of attacks a good clip must have the transcript that it had at first. Printed: to which statuses the
attacks of each kind led, the server's memory at first, after the first batch, at its peak and at the end, and the
longest wait for an answer. It ends with status 1 when an answer was 5xx, none came, or a good request was not served.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
import uvicorn
from malformed import Attack, attacks, clip, upload

from antiphon.client.port import free_port
from antiphon.distributed.device import prepare_cpu
from antiphon.models.load import load_policy
from antiphon.serve.address import Address
from antiphon.serve.app import create_app
from antiphon.serve.connection import configured
from antiphon.serve.limits import Limits

LIMITS = Limits(megabytes=1.0, seconds=60.0, upload_s=1.0)
BATCH, ABREAST = 250, 8
PATIENCE = 60.0
"""Seconds after which an answer is none."""


@dataclass
class Found:
    """What came of attacks."""

    statuses: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    failures: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")

    def noted(self, attack: Attack, status: str, seconds: float, answer: bytes) -> None:
        self.statuses[attack.kind][status] += 1
        self.slowest = max(self.slowest, (seconds, attack.kind))
        if status.startswith("5") or status == "none" or b"/tmp/" in answer:  # Where uploads are kept.
            self.failures.append(f"{attack.kind}: {status} {answer[-200:]!r}")


def strike(port: int, attack: Attack) -> tuple[str, bytes]:
    """What came of one attack: a status, "closed", "left" or "none"; and the answer."""
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            try:
                for piece, pause in attack.pieces:
                    connection.sendall(piece)
                    time.sleep(pause)
            except ConnectionError:
                pass  # Refused before all of it was sent; the answer may be there.
            if attack.leaves:
                return "left", b""
            while b"}" not in answer and (part := connection.recv(65536)):
                answer += part
    except TimeoutError:
        return "none", answer
    except ConnectionError:
        pass
    return (answer[9:12].decode("latin-1"), answer) if answer.startswith(b"HTTP/1.1 ") else ("closed", answer)


def attack_all(port: int, chosen: Sequence[Attack], found: Found) -> None:
    """Several at a time."""

    def one(attack: Attack) -> None:
        began = time.monotonic()
        status, answer = strike(port, attack)
        found.noted(attack, status, time.monotonic() - began, answer)

    with ThreadPoolExecutor(ABREAST) as pool:
        list(pool.map(one, chosen))


def transcript(port: int) -> str | None:
    """What the server makes of a good clip; None when it does not answer."""
    status, answer = strike(port, Attack("good", [(upload(clip("WAV")), 0.0)]))
    return json.loads(answer.partition(b"\r\n\r\n")[2])["text"] if status == "200" else None


def memory_mb(process: int) -> dict[str, float]:
    """What a process holds, and the most that it ever has."""
    status = Path(f"/proc/{process}/status").read_text()
    return {name: int(status.split(f"{name}:")[1].split()[0]) / 1024 for name in ("VmRSS", "VmHWM")}


def measured(count: int, seed: int, show: bool = True) -> tuple[Found, dict[str, float]]:
    """What came of `count` attacks on a new server, and its memory."""
    port = free_port()
    own = [sys.executable, __file__, "--serve", str(port)]
    server = subprocess.Popen(own, stderr=subprocess.DEVNULL)  # Decoders complain there about what they cannot read.
    try:
        while (good := transcript(port)) is None and server.poll() is None:
            time.sleep(0.2)
        found, memory = Found(), {"at first": memory_mb(server.pid)["VmRSS"]}
        for number, first in enumerate(range(0, count, BATCH)):
            attack_all(port, attacks(min(BATCH, count - first), seed + number), found)
            if server.poll() is not None:
                found.failures.append(f"the server ended with status {server.returncode} in batch {number}")
                return found, memory
            if transcript(port) != good:
                found.failures.append(f"a good request was not served after batch {number}")
            now = memory_mb(server.pid)
            memory |= {"at the peak": now["VmHWM"], "at the end": now["VmRSS"]}
            memory.setdefault(f"after {BATCH}", now["VmRSS"])
            if show:
                print(f"{first + BATCH}: {now['VmRSS']:.0f} MB", file=sys.stderr)
        return found, memory
    finally:
        server.terminate()
        server.wait(60)


def serve(port: int) -> None:
    prepare_cpu(1)
    policy = load_policy("builtin:student", torch.device("cpu"), torch.float32)
    app = create_app({"student": policy}, LIMITS)
    uvicorn.Server(configured(app, Address(port=port), LIMITS.answer_s, log_level="critical")).run()


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="attacks (default: 10000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--serve", type=int, metavar="PORT", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.serve:
        return serve(arguments.serve)
    began = time.monotonic()
    found, memory = measured(arguments.count, arguments.seed)
    for kind, statuses in sorted(found.statuses.items()):
        print(f"{kind:15}", "  ".join(f"{status}: {count}" for status, count in sorted(statuses.items())))
    print("memory:", ", ".join(f"{megabytes:.0f} MB {when}" for when, megabytes in memory.items()))
    print(f"longest wait: {found.slowest[0]:.1f} s ({found.slowest[1]}); all: {time.monotonic() - began:.0f} s")
    for failure in found.failures[:20]:
        print(failure)
    if found.failures:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
