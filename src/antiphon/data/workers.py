"""Scans clips in threads or, where there are many, in processes of their own.

A process per core, as reading short clips is mostly Python. A file that crashes a C library ends one of them and not
the run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from antiphon.data.scan import Scan, clip_of, scan
from antiphon.types import Seconds

IN_PROCESSES = 4096
"""Clips from which on processes are worth their start, of about a second."""
_COMMAND = ["-m", "antiphon.data.workers"]
_PART = 64
"""Clips that a process is given at a time."""
_AHEAD = 16
"""Parts in work at a time, for each worker."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """Cores that this process may use, shared by the ranks on this machine."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, there // int(os.environ.get("LOCAL_WORLD_SIZE", "1") or 1))


def threaded(function: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Yield each item's result, in order. Threads help where C libraries release the GIL."""
    ahead = max(workers, 1) * _AHEAD
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(items), ahead):
            yield from pool.map(function, items[start : start + ahead])


def scans(references: Sequence[str], longest: Seconds | None, workers: int) -> Iterator[Scan]:
    """Scan the clips of `references` (`scan.reference`), in order, in `workers` processes."""
    parts = [references[start : start + _PART] for start in range(0, len(references), _PART)]
    pool = _Pool()
    try:
        for found in threaded(lambda part: pool.scan(part, longest), parts, workers):
            yield from found
    finally:
        pool.close()


class _Pool:
    """A process for each thread that asks."""

    def __init__(self) -> None:
        self._mine = threading.local()
        self._all: list[subprocess.Popen[str]] = []

    def scan(self, references: Sequence[str], longest: Seconds | None) -> list[Scan]:
        """Raises nothing for a clip that ends the process: that is its fault."""
        found = self._ask(references, longest)
        if found is not None:
            return found
        if len(references) == 1:
            return [Scan(fault=f"{clip_of(references[0]).name}: decoding it crashed; convert it, or remove the row")]
        return [one for reference in references for one in self.scan([reference], longest)]

    def _ask(self, references: Sequence[str], longest: Seconds | None) -> list[Scan] | None:
        process = self._process()
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(json.dumps([references, longest]) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except OSError:
            answer = ""
        if not answer:
            process.kill()
            self._mine.process = None
            return None
        return [Scan(*values) for values in json.loads(answer)]

    def _process(self) -> subprocess.Popen[str]:
        process: Any = getattr(self._mine, "process", None)
        if process is None:
            process = self._mine.process = subprocess.Popen(
                [sys.executable, *_COMMAND],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
                env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
            self._all.append(process)
        return process

    def close(self) -> None:
        for process in self._all:
            with suppress(OSError):
                assert process.stdin
                process.stdin.close()
            process.kill()
            process.wait()
            assert process.stdout
            process.stdout.close()


def main() -> None:
    """Answer each line of clips with a line of what they are like, until there are no more."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # What libraries print is no answer.
    for line in open(0, encoding="utf-8", closefd=False):  # noqa: SIM115
        references, longest = json.loads(line)
        answers.write(json.dumps([scan(clip_of(reference), longest) for reference in references]) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
