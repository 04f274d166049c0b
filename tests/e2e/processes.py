"""Commands and scripts in processes of their own, without the seconds that the imports take.

A process of multiprocessing's fork server has imported the package once, and each of these is a fork of it: a real
process, with a pid of its own and nothing of the tests in it.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.process import BaseProcess
from pathlib import Path
from signal import SIGKILL

from antiphon.cli.main import main

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["antiphon.cli.main", "antiphon.run.train", "antiphon.evaluate.sets"])


def start_command(*arguments: object, folder: Path) -> BaseProcess:
    """Starts the command line in `folder`, where its `stdout` and `stderr` and its user's state go."""
    return _started(folder, main, [str(one) for one in arguments])


def start_script(script: Path, *arguments: object, folder: Path) -> BaseProcess:
    """Starts a Python script likewise, from its top to its bottom."""
    return _started(folder, _run_script, [str(one) for one in (script, *arguments)])


def run_and_kill(*arguments: object, folder: Path, when: Callable[[], bool]) -> None:
    """Runs the command line and kills it, without warning, once `when` holds."""
    process = start_command(*arguments, folder=folder)
    try:
        deadline = time.monotonic() + 120
        while not when():
            assert process.is_alive(), (folder / "stderr").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        process.kill()
        process.join()
    assert process.exitcode == -SIGKILL


def _started(folder: Path, run: Callable[[list[str]], object], words: list[str]) -> BaseProcess:
    process = _FORKS.Process(target=_run_in, args=(folder, run, words))
    process.start()
    return process


def _run_in(folder: Path, run: Callable[[list[str]], object], words: list[str]) -> None:
    os.chdir(folder)
    os.environ["XDG_STATE_HOME"] = str(folder)
    out, err = ((folder / name).open("w", 1) for name in ("stdout", "stderr"))
    with out, err, redirect_stdout(out), redirect_stderr(err):
        run(words)


def _run_script(words: list[str]) -> None:
    sys.argv = words
    runpy.run_path(words[0], run_name="__main__")
