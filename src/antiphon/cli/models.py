"""`antiphon models`: which models can be trained, and whether one of yours can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from antiphon.cli import options
from antiphon.cli.output import console, print_json, tables
from antiphon.cli.progress import Terminal
from antiphon.errors import ConfigError

if TYPE_CHECKING:
    from antiphon.rollout.gate import GateReport
    from antiphon.types import Prompt

app = typer.Typer(help="List the model families, or check that a model can be trained.")
SPEECH = "builtin:commands-clean"
REMOTE, TEXT = "audio LM with its own code", "text LM"
OPEN = (REMOTE, TEXT)
"""Families that no list of model types names in full."""
EPILOG = """\
Examples:

antiphon models check builtin:student

antiphon models check Qwen/Qwen3-ASR-1.7B-hf --data dev.jsonl --device cuda

antiphon models check ./my-model --trust-remote-code --json
"""


@dataclass(frozen=True)
class Family:
    """One row of the table of families."""

    family: str
    architectures: tuple[str, ...]
    """Classes of transformers; a description for families that are open."""
    model_types: tuple[str, ...]
    task: str
    token_losses: bool
    """Whether a token has a log-probability of its own; otherwise the whole answer has one."""
    feature_cache: bool
    """Whether the features of a frozen encoder can be kept (`train.cache_features_mb`)."""
    bound: float = 1e-5
    """How far log-probabilities are from transformers' own at most, and gradients, relative to their norm; in fp32."""


def families() -> list[Family]:
    """Every family, from the tables that loading goes by."""
    from transformers.models.auto import modeling_auto as auto

    from antiphon.models import audio_lm, classifier, ctc, encoder_decoder, text_lm

    def by_type(mapping: Mapping[Any, str], types: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return tuple(dict.fromkeys(mapping[one] for one in types)), tuple(types)

    speech = by_type(auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES, sorted(encoder_decoder.FAMILIES))
    labels = by_type(auto.MODEL_FOR_CTC_MAPPING_NAMES, sorted(ctc.FAMILIES))
    classes = by_type(auto.MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES, sorted(classifier.FAMILIES))
    hearing = {name: family.architecture for name, family in sorted(audio_lm.FAMILIES.items())}
    return [
        Family("audio-prefix LM", *by_type(hearing, list(hearing)), "asr, classify", True, True),
        Family(
            REMOTE,
            ("causal LMs that take `audios`, with trust_remote_code",),
            (),
            "asr, classify",
            True,
            False,
        ),
        Family("encoder-decoder", *speech, "asr", True, True),
        Family("CTC", *labels, "asr", False, True),
        Family("classifier", *classes, "classify", False, False),
        Family(
            TEXT,
            ("causal LMs whose layers all attend",),
            tuple(sorted(text_lm.MODEL_TYPES)),
            "text",
            True,
            False,
        ),
    ]


@app.callback(invoke_without_command=True)
def list_command(context: typer.Context, as_json: options.Json = False) -> None:
    """List the families of models that can be trained, and what each can do."""
    if context.invoked_subcommand is not None:
        if as_json:
            raise ConfigError(f"put --json last: antiphon models {context.invoked_subcommand} ... --json")
        return
    rows = families()
    if as_json:
        print_json({"families": [asdict(row) for row in rows]})
        return
    table = Table("family", "task", "token losses", "feature cache", box=None, pad_edge=False)
    names = Table("family", "model types", box=None, pad_edge=False)
    for row in rows:
        answers = ("yes" if one else "no" for one in (row.token_losses, row.feature_cache))
        table.add_row(row.family, row.task, *answers)
        names.add_row(row.family, ", ".join(row.architectures if row.family in OPEN else row.model_types))
    tables.print(table)
    tables.print()
    tables.print(names)
    tables.print(
        "\nEvery family has rollouts from the weights in training, GRPO and the other algorithms over whole answers, "
        "LoRA, freezing by part and activation checkpointing."
    )
    tables.print(
        f"The tests hold log-probabilities and gradients of tiny instances to within {rows[0].bound:g} of what "
        "transformers' own forward makes of the expanded batch."
    )
    tables.print("For a model of yours: antiphon models check MODEL")


@app.command("check", epilog=EPILOG)
def check_command(
    model: options.Model,
    data: Annotated[str | None, typer.Option("--data", help=f"FILE.jsonl or builtin:SET; {SPEECH} by default.")] = None,
    prompts: Annotated[int, typer.Option("--prompts", min=1, help="Rows of it that are used.")] = 4,
    columns: options.Columns = None,
    language: options.Language = "auto",
    max_new_tokens: options.MaxNewTokens = None,
    trust_remote_code: options.TrustRemoteCode = False,
    device: options.DeviceOption = "auto",
    dtype: options.DTypeOption = "auto",
    runs: options.RunsFolder = "runs",
    as_json: options.Json = False,
) -> None:
    """Load a model and run the parity gate: sampling and training agree, and it hears. Exit status 1 where it fails.

    A text model answers the words of the speech set instead of hearing it.
    """
    from antiphon.distributed.device import prepare_cpu, resolve_device, resolve_dtype
    from antiphon.models.load import load_policy
    from antiphon.models.policy import Sampling
    from antiphon.rollout.engines.in_process import InProcessEngine
    from antiphon.rollout.gate import run_gate

    with Terminal() as terminal:
        terminal.phase("loading the model")
        place = resolve_device(device)
        prepare_cpu()
        policy = load_policy(
            model, place, resolve_dtype(dtype, place), output=runs, trust_remote_code=trust_remote_code
        )
        terminal.phase("reading the prompts")
        asked = _prompts(data, prompts, policy.rate, language, options.parse_columns(columns or []))
        terminal.phase("checking")
        report = run_gate(
            policy,
            InProcessEngine(policy),
            asked,
            Sampling(1.0, max_new_tokens or 32, shorten=max_new_tokens is None),
            seed=0,
        )
    architecture = type(policy.model).__name__
    if as_json:
        checks = [{**asdict(check), "passed": check.passed} for check in report.checks]
        print_json({"model": model, "architecture": architecture, **report.to_dict(), "checks": checks})
    else:
        _show(architecture, report)
    if not report.passed:
        raise typer.Exit(1)


def _prompts(data: str | None, limit: int, rate: int, language: str, columns: dict[str, str]) -> list[Prompt]:
    """The first rows of `data` as the model is asked them. A model that hears nothing reads."""
    from antiphon.config import load_config
    from antiphon.data.source import load_set
    from antiphon.tasks.load import fitting_task, prompter
    from antiphon.types import Prompt

    task = fitting_task(hears=rate > 0)
    config = load_config(flags={"language": language, "task": task.name, "data.columns": columns})
    examples, _ = load_set(data or SPEECH, config, limit)
    if data is None and "audio" not in task.fields:
        return [Prompt(example.id, None, rate, instruction=example.text) for example in examples]
    prompt = prompter(config, rate)
    return [prompt(example) for example in examples]


def _show(architecture: str, report: GateReport) -> None:
    sampled = f"{architecture}, {report.precision}: {report.actions} actions on {report.prompts} prompts"
    tables.print(sampled, highlight=False)
    table = Table("check", "measured", "limit", "", box=None, pad_edge=False)
    for check in report.checks:
        limit = f"{'>' if check.at_least else '≤'} {check.limit:g}"
        table.add_row(check.name, f"{check.value:.2g}", limit, "pass" if check.passed else "FAIL")
    tables.print(table)
    if report.ablation is None:
        tables.print("no audio in the prompts, so nothing to hear")
    if report.prompt_lengths is not None:
        lengths = ", ".join(map(str, report.prompt_lengths))
        tables.print(f"tokens or frames of each prompt: {lengths}", highlight=False)
    for check in report.checks:
        if not check.passed:
            console.print(check.remedy, highlight=False, soft_wrap=True)
