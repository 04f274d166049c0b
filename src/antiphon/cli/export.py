"""`antiphon export`: writes a model as one folder for transformers, vLLM and others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from antiphon.cli import options
from antiphon.cli.output import console, print_json
from antiphon.cli.progress import Terminal
from antiphon.types import DType

EPILOG = """\
Examples:

antiphon export latest my-recognizer

antiphon export RUN@60 my-recognizer --dtype bfloat16

antiphon export RUN my-adapter --adapter-only
"""


def command(
    model: options.Model,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New folder to write.", show_default=False)],
    adapter_only: Annotated[
        bool, typer.Option("--adapter-only", help="Write only the LoRA adapter, in peft's format.")
    ] = False,
    dtype: Annotated[DType, typer.Option("--dtype", help="Data type of the weights; auto keeps it.")] = "auto",
    trust_remote_code: options.TrustRemoteCode = False,
    runs: options.RunsFolder = "runs",
    as_json: options.Json = False,
) -> None:
    """Write weights, configuration and processor to a new folder that transformers and vLLM can load.

    A LoRA adapter is merged into the model.
    """
    import torch

    from antiphon.models.export import export_model

    with Terminal() as terminal:
        terminal.phase("exporting the model")
        wanted = None if dtype == "auto" else getattr(torch, dtype)
        done = export_model(model, folder, adapter_only, wanted, runs, trust_remote_code)
    precision = str(done.dtype).removeprefix("torch.")
    if as_json:
        print_json(
            {
                "model": model,
                "path": str(done.path),
                "architecture": done.architecture,
                "form": done.form,
                "dtype": precision,
                "bytes": done.bytes,
            }
        )
        return
    what = f"{done.architecture} in {precision}" + (", adapter only" if done.form == "adapter" else "")
    console.print(f"wrote {what}, {done.bytes / 1e6:.1f} MB, to {done.path}", highlight=False)
