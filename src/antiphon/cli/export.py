"""`antiphon export`: a model as one folder for transformers, vLLM and others."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from antiphon.cli import options
from antiphon.cli.output import console, print_json
from antiphon.cli.progress import Terminal

EPILOG = """\
Examples:

antiphon export latest my-recogniser

antiphon export RUN@60 my-recogniser --dtype bfloat16

antiphon export RUN my-adapter --adapter-only
"""


class ExportType(StrEnum):
    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


def command(
    model: options.Model,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New folder to write.", show_default=False)],
    adapter_only: Annotated[
        bool, typer.Option("--adapter-only", help="Write the LoRA adapter in peft's form, not merged.")
    ] = False,
    dtype: Annotated[ExportType, typer.Option("--dtype", help="Of the weights; auto leaves it.")] = ExportType.auto,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run Python code that comes with the weights.")
    ] = False,
    runs: options.RunsFolder = "runs",
    as_json: options.Json = False,
) -> None:
    """Write weights, configuration and processor to a new folder that transformers and vLLM load as it is.

    A LoRA adapter is merged into its model.
    """
    import torch

    from antiphon.models.export import export_model

    with Terminal() as terminal:
        terminal.phase("exporting the model")
        wanted = None if dtype is ExportType.auto else getattr(torch, dtype.value)
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
    what = f"{done.architecture} in {precision}" + (", its adapter alone" if done.form == "adapter" else "")
    console.print(f"wrote {what}, {done.bytes / 1e6:.1f} MB, to {done.path}", highlight=False)
