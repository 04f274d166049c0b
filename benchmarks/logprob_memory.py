"""Peak memory of log-probabilities, forward and backward, against vocabulary and length.

    python benchmarks/logprob_memory.py [--preset small|qwen3-asr-1.7b] [--malloc keep|default] [--json]

Ours is what every token-level policy does with its last hidden states (`antiphon.models.logits`): chunks of rows,
computed again in the backward pass. The standard way makes all logits, their log-softmax in fp32, and gathers. Both
have the same random hidden states and output layer, of the preset's width, gradients for both, and 16 completions.
Each side of each row runs in a fresh process; its peak is VmHWM, or what torch allocated at most on a GPU.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # Checkpointing loads it at its first use; a training process has it anyway.
from torch import Tensor

from antiphon.distributed.device import prepare_cpu, resolve_device, resolve_dtype
from antiphon.errors import ConfigError
from antiphon.models.logits import Predictions

WIDTHS = {"small": 256, "qwen3-asr-1.7b": 2048}
VOCABULARIES = (4096, 32768, 151936)
LENGTHS = (32, 128)
COMPLETIONS = 16


def ours(head: torch.nn.Linear, hidden: Tensor, tokens: Tensor) -> Tensor:
    blocked = torch.zeros(2, head.out_features, dtype=torch.bool, device=hidden.device)
    return Predictions(head, hidden, torch.zeros_like(tokens), blocked).tokens(tokens)


def standard(head: torch.nn.Linear, hidden: Tensor, tokens: Tensor) -> Tensor:
    return head(hidden).float().log_softmax(-1).gather(-1, tokens[:, None]).squeeze(-1)


SIDES = {"ours": ours, "standard": standard}


def measure(side: str, vocabulary: int, length: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """One side in this process: its peak in MB, how much of it the two passes added, and the log-probabilities."""
    device = resolve_device(arguments.device)
    dtype = resolve_dtype(arguments.dtype, device)
    if arguments.malloc == "keep":
        prepare_cpu()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    width, rows = WIDTHS[arguments.preset], COMPLETIONS * length
    head = torch.nn.Linear(width, vocabulary, bias=False).to(device, dtype)
    hidden = torch.randn(rows, width).to(device, dtype).requires_grad_()
    tokens = torch.randint(vocabulary, (rows,)).to(device)
    before = held(device)
    logprobs = SIDES[side](head, hidden, tokens)
    logprobs.mean().backward()
    peak = held(device, most=True)
    return {"peak_mb": round(peak), "added_mb": round(peak - before), "logprobs": logprobs.detach().cpu().tolist()}


def held(device: torch.device, most: bool = False) -> float:
    """MB held at present, or at most so far, by this process or on its GPU."""
    if device.type == "cuda":
        return (torch.cuda.max_memory_allocated() if most else torch.cuda.memory_allocated()) / 2**20
    # Not getrusage: a new process takes over its parent's peak there.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM" if most else "VmRSS"].split()[0]) / 2**10


def compare(vocabulary: int, length: int, argv: list[str]) -> dict[str, Any]:
    """One row of the table: both sides, each in a process of its own."""
    row: dict[str, Any] = {"vocabulary": vocabulary, "length": length}
    logprobs = {}
    for side in SIDES:
        command = [sys.executable, __file__, *argv, "--only", side, str(vocabulary), str(length)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        row |= {f"{side}_mb": found["peak_mb"], f"{side}_added_mb": found["added_mb"]}
        logprobs[side] = torch.tensor(found["logprobs"])
    row["memory_ratio"] = row["standard_mb"] / row["ours_mb"]
    row["max_logprob_diff"] = float((logprobs["ours"] - logprobs["standard"]).abs().max())
    return row


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=WIDTHS, default="small", help="whose hidden width (default: small)")
    parser.add_argument("--vocabularies", type=int, nargs="+", default=VOCABULARIES, metavar="V")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, metavar="T", help="tokens of a completion")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument(
        "--malloc", choices=["keep", "default"], default="keep", help="glibc keeps freed memory, or not"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, last")
    parser.add_argument("--only", nargs=3, metavar=("SIDE", "V", "T"), help="one side of one row, in this process")
    arguments = parser.parse_args(argv)
    try:
        resolve_device(arguments.device)
    except ConfigError as error:
        parser.error(str(error))
    if arguments.only:
        side, vocabulary, length = arguments.only
        print(json.dumps(measure(side, int(vocabulary), int(length), arguments)))
        return
    own = [one for one in (sys.argv[1:] if argv is None else argv) if one != "--json"]
    rows = []
    for vocabulary in arguments.vocabularies:
        for length in arguments.lengths:
            rows.append(compare(vocabulary, length, own))
            if not arguments.json:
                print("  ".join(f"{name}={value:.4g}" for name, value in rows[-1].items()), flush=True)
    if arguments.json:
        largest = {name: max(row[name] for row in rows) for name in ("memory_ratio", "max_logprob_diff")}
        setting = {name: getattr(arguments, name) for name in ("preset", "threads", "device", "dtype", "malloc")}
        print(json.dumps({**setting, **largest, "rows": rows}))


if __name__ == "__main__":
    main()
