"""Options that several commands share, and the model they describe."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from antiphon.evaluate.decode import Decode
    from antiphon.evaluate.sets import Subject
    from antiphon.models.policy import Policy


class Device(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Task(StrEnum):
    asr = "asr"
    classify = "classify"
    text = "text"


class DType(StrEnum):
    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


Model = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="Path, hub id, RUN, RUN@STEP or builtin:NAME.", show_default=False),
]
DeviceOption = Annotated[Device, typer.Option("--device", help="auto takes a GPU where there is one.")]
DTypeOption = Annotated[DType, typer.Option("--dtype", help="auto is bfloat16 on a GPU, else float32.")]
TaskOption = Annotated[Task, typer.Option("--task", help="What the rows without a column `task` ask.")]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Clips recognised side by side.")]
Beam = Annotated[
    int | None, typer.Option("--beam", min=1, help="Width of a beam search, for CTC models; greedy by default.")
]
MaxNewTokens = Annotated[int, typer.Option("--max-new-tokens", min=1, help="Longest transcript, in tokens.")]
Language = Annotated[str, typer.Option("--language", help="auto, given (each row's own), or a language such as en.")]
Columns = Annotated[
    list[str] | None, typer.Option("--columns", metavar="FIELD=KEY", help="Rename: audio=wav, text=txt.")
]
MaxSeconds = Annotated[
    float, typer.Option("--max-seconds", min=0.1, help="Longer clips are bad audio; none is ever cut.")
]
RunsFolder = Annotated[str, typer.Option("--runs", metavar="DIR", help="Folder that holds the run folders.")]
Normaliser = Annotated[
    str,
    typer.Option(
        "--normalizer", metavar="NAME", help="What is made equal first: default, whisper, none, or module:function."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


class OnBadAudio(StrEnum):
    error = "error"
    skip = "skip"


OnBadAudioOption = Annotated[
    OnBadAudio, typer.Option("--on-bad-audio", help="Stop at a clip that cannot be used, or leave it out.")
]


@dataclass(frozen=True)
class Loaded:
    """A model ready to recognise."""

    policy: Policy
    decode: Decode


def load(model: str, device: Device, dtype: DType, batch_size: int, beam: int | None, runs: str) -> Loaded:
    """Load `model` for inference."""
    from antiphon.device import prepare_cpu, resolve_device, resolve_dtype
    from antiphon.evaluate.decode import decoder
    from antiphon.models.load import load_policy

    place = resolve_device(device.value)
    prepare_cpu()
    policy = load_policy(model, place, resolve_dtype(dtype.value, place), output=runs)
    return Loaded(policy, decoder(policy, batch_size, beam))


def subject(
    model: str, device: Device, dtype: DType, batch_size: int, beam: int | None, max_new_tokens: int, runs: str
) -> Subject:
    """Load `model` to be evaluated; a run is called by the step of its checkpoint too."""
    from antiphon.evaluate.sets import Subject
    from antiphon.models.load import pin

    loaded = load(model, device, dtype, batch_size, beam, runs)
    return Subject(pin(model, runs), loaded.policy, loaded.decode, batch_size, beam, max_new_tokens)
