"""Device and dtype of a run, `auto` included, and CPU settings for training."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from pathlib import Path

import torch

from antiphon.distributed import environment
from antiphon.errors import ConfigError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def resolve_device(name: str) -> torch.device:
    """The device called `name`; `auto` is a GPU if there is one. Each rank on this machine gets its own GPU.

    Raises `ConfigError` if `cuda` is requested without a GPU, or if there are fewer GPUs than ranks.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda, but torch finds no GPU; use device=auto or device=cpu")
    if name == "cuda" and environment.size() > 1:
        ranks, gpus = environment.local_size(), torch.cuda.device_count()
        if ranks > gpus:
            raise ConfigError(
                f"{ranks} ranks on a machine with {gpus} GPUs; start {gpus} at most: --nproc-per-node {gpus}"
            )
        return torch.device("cuda", environment.local_rank())
    return torch.device(name)


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype called `name`; `auto` is bfloat16 on a GPU and float32 on a CPU.

    Master weights, log-softmax and reductions are fp32 in either case.
    """
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return getattr(torch, name)


def prepare_cpu(threads: int | None = None) -> None:
    """Set the thread count, and make glibc keep freed memory.

    Without `threads`, ranks on one machine share its cores evenly; torchrun would give each rank one thread.

    By default glibc maps every block above 32 MB anew, and the kernel faults its pages in again. Keeping them makes a
    training step about twice as fast on a CPU.
    """
    if environment.local_size() > 1 and os.environ.get("OMP_NUM_THREADS", "1") == "1":
        threads = threads or max(_cores() // environment.local_size(), 1)
    if threads:
        torch.set_num_threads(threads)
    if libc := _glibc():
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, 1 << 30)


def _cores() -> int:
    """Number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def release_memory() -> None:
    """Return freed memory that glibc holds to the system: gigabytes after a run over thousands of clips."""
    if libc := _glibc():
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if hasattr(libc, "mallopt") else None


def memory_gb() -> float:
    """Memory in GB (1e9 bytes): on a GPU the peak of tensors since the last call, else this process's current memory.

    Where the current memory is unknown (not Linux), it is the process's peak.
    """
    if torch.cuda.is_initialized():
        peak = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        return peak / 1e9
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9
