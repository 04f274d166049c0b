"""Commands in processes that a test kills.

A process of multiprocessing's fork server has imported the package once, and each command is a fork of it: a real
process, with a pid of its own and nothing of the tests in it, without the seconds that the imports take.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from signal import SIGKILL

from antiphon.cli.main import main

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["antiphon.cli.main", "antiphon.run.train", "antiphon.evaluate.sets"])


def run_and_kill(*arguments: object, when: Callable[[], bool]) -> None:
    """Runs the command line and kills it, without warning, once `when` holds."""
    process = _FORKS.Process(target=_quiet, args=([str(one) for one in arguments],))
    process.start()
    try:
        deadline = time.monotonic() + 120
        while not when():
            assert process.is_alive(), "the command ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        process.kill()
        process.join()
    assert process.exitcode == -SIGKILL


def _quiet(arguments: list[str]) -> None:
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        main(arguments)
