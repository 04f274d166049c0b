"""Options that several commands share, and the model they describe."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from antiphon.errors import ConfigError
from antiphon.types import Device, DType, LongAudio

if TYPE_CHECKING:
    from antiphon.evaluate.decode import Decode
    from antiphon.evaluate.subject import Subject
    from antiphon.models.policy import Policy


Model = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="Path, hub id, RUN, RUN@STEP or builtin:NAME.", show_default=False),
]
Target = Annotated[
    str,
    typer.Argument(
        metavar="MODEL|URL", help="Path, hub id, RUN, RUN@STEP or builtin:NAME, or http://HOST/v1.", show_default=False
    ),
]
DeviceOption = Annotated[Device, typer.Option("--device", help="auto takes a GPU where there is one.")]
DTypeOption = Annotated[DType, typer.Option("--dtype", help="auto is bfloat16 on a GPU, else float32.")]
TrustRemoteCode = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code", help="Run Python code that comes with the weights. For a run, its recipe says so."
    ),
]
TaskOption = Annotated[
    str,
    typer.Option(
        "--task", metavar="NAME", help="What rows without a column `task` ask: asr, classify, text, or file.py:name."
    ),
]
TASK = "asr"
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Clips recognized side by side.")]
SideBySide = Annotated[
    int | None,
    typer.Option(
        "--batch-size", "--concurrency", min=1, help="Clips recognized side by side: 64, or 8 requests to a URL."
    ),
]
Beam = Annotated[
    int | None, typer.Option("--beam", min=1, help="Width of a beam search, for CTC models; greedy by default.")
]
MaxNewTokens = Annotated[
    int | None,
    typer.Option("--max-new-tokens", min=1, help="Longest transcript, in tokens: 256, or what the model has room for."),
]
ServedModel = Annotated[
    str | None, typer.Option("--served-model", metavar="NAME", help="Of a URL that serves several models.")
]
Timeout = Annotated[
    float | None, typer.Option("--timeout", min=0.1, help="Seconds that an answer of a URL may take: 120.")
]
Chat = Annotated[bool, typer.Option("--chat", help="Ask a URL in a chat that holds the clip, for audio LMs.")]
Data = Annotated[
    list[str] | None,
    typer.Option("--data", help="FILE.jsonl, builtin:SET or hf:REPO:CONFIG:SPLIT; may be given several times."),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Rows used of each set.")]
Language = Annotated[str, typer.Option("--language", help="auto, given (each row's own), or a language such as en.")]
Columns = Annotated[
    list[str] | None, typer.Option("--columns", metavar="FIELD=KEY", help="Rename: audio=wav, text=txt.")
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="NAME",
        help="Form of the sets: jsonl, csv, kaldi …, or your own reader, file.py:name; found by default.",
    ),
]
MaxSeconds = Annotated[
    float, typer.Option("--max-seconds", min=0.1, help="Longer clips are bad audio; none is ever cut.")
]
RunsFolder = Annotated[str, typer.Option("--runs", metavar="DIR", help="Folder that holds the run folders.")]
Normalizer = Annotated[
    str | None,
    typer.Option(
        "--normalizer",
        metavar="NAME",
        help="What is made equal first: default, whisper, open-asr, none, or module:function.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def parse_columns(given: list[str] | None) -> dict[str, str]:
    """Parse ["audio=wav"] to {"audio": "wav"}. Raises `ConfigError` for anything but FIELD=KEY."""
    columns: dict[str, str] = {}
    for option in given or []:
        name, equals, key = option.partition("=")
        if not (name and equals and key):
            raise ConfigError(f"--columns {option}: write FIELD=KEY, e.g. --columns audio=wav")
        if name in columns:
            raise ConfigError(f"--columns {option}: {name} is given twice; name each field once")
        columns[name] = key
    return columns


LongAudioOption = Annotated[
    LongAudio,
    typer.Option(
        "--long-audio", help="Stop at a clip longer than the model hears, leave it out, or transcribe it in pieces."
    ),
]


class OnBadAudio(StrEnum):
    error = "error"
    skip = "skip"


OnBadAudioOption = Annotated[
    OnBadAudio, typer.Option("--on-bad-audio", help="Stop at a clip that cannot be used, or leave it out.")
]


@dataclass(frozen=True)
class Loaded:
    """A model ready to recognize."""

    policy: Policy
    decode: Decode


def load(
    model: str, device: Device, dtype: DType, batch_size: int, beam: int | None, runs: str, trust_remote_code: bool
) -> Loaded:
    """Load `model` for inference."""
    from antiphon.distributed.device import prepare_cpu, resolve_device, resolve_dtype
    from antiphon.evaluate.decode import decoder
    from antiphon.models.load import load_policy
    from antiphon.rollout.engines.in_process import InProcessEngine

    place = resolve_device(device)
    prepare_cpu()
    precision = resolve_dtype(dtype, place)
    policy = load_policy(model, place, precision, output=runs, trust_remote_code=trust_remote_code)
    return Loaded(policy, decoder(policy, InProcessEngine(policy), batch_size, beam))


TIMEOUT = 120.0


@dataclass(frozen=True)
class ModelOptions:
    """How models are loaded, or reached, and asked."""

    device: Device = "auto"
    dtype: DType = "auto"
    side_by_side: int | None = None
    beam: int | None = None
    max_new_tokens: int | None = None
    runs: str = "runs"
    served_model: str | None = None
    timeout: float | None = None
    chat: bool = False
    trust_remote_code: bool = False

    def subject(self, model: str) -> Subject:
        """`model` to be evaluated. Raises `ConfigError` for an option that such a model has not."""
        from antiphon.evaluate.remote import is_url

        return self._remote(model) if is_url(model) else self._local(model)

    def _local(self, model: str) -> Subject:
        from antiphon.evaluate.subject import LocalModel
        from antiphon.models.load import pin

        given = {"--served-model": self.served_model, "--timeout": self.timeout, "--chat": self.chat or None}
        if odd := [name for name, value in given.items() if value is not None]:
            raise ConfigError(f"{odd[0]} is for a model behind a URL, and {model} is none; leave it out")
        side_by_side = self.side_by_side or 64
        loaded = load(model, self.device, self.dtype, side_by_side, self.beam, self.runs, self.trust_remote_code)
        # A run is called by the step of its checkpoint too.
        name = pin(model, self.runs)
        return LocalModel(name, loaded.policy, loaded.decode, side_by_side, self.beam, self.max_new_tokens)

    def _remote(self, url: str) -> Subject:
        from antiphon.client.http import Client
        from antiphon.evaluate.remote import RemoteModel
        from antiphon.evaluate.subject import LONGEST

        set_there = {
            "--device": self.device != "auto",
            "--dtype": self.dtype != "auto",
            "--trust-remote-code": self.trust_remote_code,
            "--beam": self.beam is not None,
            "--max-new-tokens": self.max_new_tokens is not None and not self.chat,
        }
        if odd := [name for name, given in set_there.items() if given]:
            raise ConfigError(f"{odd[0]} is for the server at {url} to set; leave it out")
        remedy = "see that it runs and takes such clips; with --output, the same command goes on from here"
        endpoint = Client(url, self.timeout or TIMEOUT, remedy=remedy)
        how = (self.side_by_side or 8, self.chat, self.max_new_tokens or LONGEST)
        return RemoteModel.connect(endpoint, self.served_model, *how)
