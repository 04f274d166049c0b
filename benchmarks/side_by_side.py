"""What the benchmarks share: two sides timed in turn, peak memory in fresh processes, one JSON object at the end."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any

import torch

from antiphon.distributed.device import prepare_cpu, resolve_device, resolve_dtype
from antiphon.errors import ConfigError

OURS, STANDARD = "ours", "standard"
Seconds = dict[str, float]
"""Of each phase of one round."""


def parse(
    doc: str | None,
    presets: Collection[str],
    default: str,
    argv: Sequence[str] | None,
    numbers: Mapping[str, str] = MappingProxyType({}),
) -> argparse.Namespace:
    """The options every benchmark has, and `numbers` of its own with their help, None by default.

    `device` and `dtype` come back as torch's; exits where there is no such GPU.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=presets, default=default, help=f"model and work (default: {default})")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds after the warm-up (default: 5)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument(
        "--malloc",
        choices=["keep", "default"],
        default="keep",
        help="glibc keeps freed memory, as `antiphon` has it, or does as it would by itself (default: keep)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, last")
    parser.add_argument("--memory-of", choices=[OURS, STANDARD], help="run one side alone and print its peak in MB")
    for name, meaning in numbers.items():
        parser.add_argument(f"--{name}", type=int, help=meaning)
    arguments = parser.parse_args(argv)
    try:
        arguments.device = resolve_device(arguments.device)
    except ConfigError as error:
        parser.error(str(error))
    arguments.dtype = resolve_dtype(arguments.dtype, arguments.device)
    arguments.argv = list(sys.argv[1:] if argv is None else argv)
    if arguments.malloc == "keep":
        prepare_cpu()
    torch.set_num_threads(arguments.threads)
    return arguments


@contextmanager
def timed(seconds: Seconds, phase: str, device: torch.device) -> Iterator[None]:
    """Adds the wall-clock time of what is inside to `seconds[phase]`, a GPU's pending work included."""
    finish(device)
    began = time.perf_counter()
    yield
    finish(device)
    seconds[phase] = seconds.get(phase, 0.0) + time.perf_counter() - began


def finish(device: torch.device) -> None:
    """Wait for a GPU's pending work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def alternate(sides: Mapping[str, Callable[[int], Seconds]], rounds: int, warm_up: int = 1) -> dict[str, Seconds]:
    """The median seconds of each side's phases over the rounds after the warm-up; sides take turns at going first."""
    taken: dict[str, list[Seconds]] = defaultdict(list)
    for number in range(warm_up + rounds):
        order = list(sides)[:: 1 if number % 2 else -1]
        for name in order:
            taken[name].append(sides[name](number))
    return {name: medians(rows[warm_up:]) for name, rows in taken.items()}


def medians(rounds: Sequence[Seconds]) -> Seconds:
    """The median of each phase, and of the rounds' `total`."""
    totals = [{**one, "total": sum(one.values())} for one in rounds]
    return {phase: median(one[phase] for one in totals) for phase in totals[0]}


def peak_mb(script: str, arguments: argparse.Namespace, side: str) -> float:
    """Peak memory in MB of a fresh process that runs one side alone (see `report_peak`)."""
    own = [one for one in arguments.argv if one != "--json"]
    command = [sys.executable, str(Path(script).resolve()), *own, "--memory-of", side]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def report_peak(device: torch.device) -> None:
    """Print the most memory that this process (VmHWM), or its GPU, has ever held, in MB."""
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device) / 2**20
    else:
        # Not getrusage's ru_maxrss: a process inherits that of the one that started it.
        status = Path("/proc/self/status").read_text()
        peak = int(status.split("VmHWM:")[1].split()[0]) / 2**10
    print(f"{peak:.0f}")


def conclude(result: Mapping[str, Any], arguments: argparse.Namespace) -> None:
    """Print what was found: a line for each figure, or with `--json` one object."""
    setting = {name: getattr(arguments, name) for name in ("preset", "rounds", "threads", "device", "dtype", "malloc")}
    setting |= {"device": arguments.device.type, "dtype": str(arguments.dtype).removeprefix("torch.")}
    if arguments.json:
        print(json.dumps({**setting, **result}))
        return
    print("  ".join(f"{name}={value}" for name, value in setting.items()))
    for name, value in result.items():
        print(f"{name:18} {value:.4g}" if isinstance(value, float) else f"{name:18} {json.dumps(value)}")
