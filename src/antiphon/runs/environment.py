"""Describes the machine and packages of a run, without environment variables, which hold secrets."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import distributions
from typing import Any

LAUNCHED = "ANTIPHON_LAUNCHED"
"""The environment variable that marks processes started by `TrainConfig.launch`."""


def describe(command: Sequence[str]) -> dict[str, Any]:
    """The content of `environment.json`; `command` is the command line."""
    import torch

    packages = {dist.name.lower().replace("_", "-"): dist.version for dist in distributions()}
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "command": list(command),
        "folder": os.getcwd(),  # noqa: PTH109
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "cuda": torch.version.cuda,
        "git": _git(),
        "packages": dict(sorted(packages.items())),
    }


def _git() -> dict[str, Any] | None:
    """The working folder's commit and whether tracked files are modified; None outside a repository."""
    try:
        commit = _run_git("rev-parse", "HEAD")
        return {"commit": commit, "modified": bool(_run_git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _run_git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=10).stdout.strip()
