"""`antiphon compare`: which of two models makes fewer errors, and whether the difference is significant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from antiphon.cli import options
from antiphon.cli.output import print_json, tables
from antiphon.cli.progress import Terminal
from antiphon.errors import ConfigError
from antiphon.evaluate.percent import percent

if TYPE_CHECKING:
    from antiphon.evaluate.compare import Comparison
    from antiphon.evaluate.results import Evaluation
    from antiphon.tasks.columns import Column

EPILOG = """\
Examples:

antiphon compare results-before results-after

antiphon compare builtin:student latest --data builtin:commands-noisy --limit 200

antiphon compare RUN@20 RUN@best --data dev.jsonl --output comparison --json
"""
Side = Annotated[str, typer.Argument(help="Folder of antiphon eval --output, a model or a URL.", show_default=False)]


def command(
    a: Side,
    b: Side,
    data: options.Data = None,
    limit: options.Limit = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="DIR", help="Save the evaluations as DIR/a and DIR/b.")
    ] = None,
    normalizer: options.Normalizer = None,
    task: options.TaskOption = options.TASK,
    columns: options.Columns = None,
    format: options.Format = None,
    language: options.Language = "auto",
    side_by_side: options.SideBySide = None,
    max_new_tokens: options.MaxNewTokens = None,
    device: options.DeviceOption = "auto",
    dtype: options.DTypeOption = "auto",
    trust_remote_code: options.TrustRemoteCode = False,
    runs: options.RunsFolder = "runs",
    as_json: options.Json = False,
) -> None:
    """Compare two evaluations, or two models on the same sets: paired bootstrap and MAPSSWE for each set."""
    from antiphon.evaluate.compare import compare
    from antiphon.evaluate.results import is_evaluation, read_evaluation
    from antiphon.tasks.summary import main_column

    if is_evaluation(Path(a)) and is_evaluation(Path(b)):
        if data:
            raise ConfigError(f"{a} and {b} are evaluations, which already have their sets; leave out --data")
        pair = [read_evaluation(Path(side)) for side in (a, b)]
    elif not data:
        neither = next(side for side in (a, b) if not is_evaluation(Path(side)))
        raise ConfigError(
            f"{neither} is not an evaluation (antiphon eval --output); to compare two models, name sets with --data"
        )
    else:
        flags = {
            "task": task,
            "language": language,
            "data.columns": options.parse_columns(columns or []),
            "data.format": format,
        }
        asked = (side_by_side, None, max_new_tokens, runs)
        model_options = options.ModelOptions(device, dtype, *asked, trust_remote_code=trust_remote_code)
        pair = _evaluations([a, b], model_options, data, flags, normalizer or "default", limit, output)
    comparisons = compare(pair[0], pair[1], a, b)
    if as_json:
        print_json({"a": _side(a, pair[0]), "b": _side(b, pair[1]), "sets": [one.to_dict() for one in comparisons]})
    else:
        _show(comparisons, {name: main_column(one) for name, one in pair[0].sets.items()})


def _evaluations(
    models: Sequence[str],
    model_options: options.ModelOptions,
    data: list[str],
    flags: dict[str, Any],
    normalizer: str,
    limit: int | None,
    output: Path | None,
) -> list[Evaluation]:
    """Evaluate both models on the same sets in turn, so that only one is in memory at a time."""
    from antiphon.config import load_config
    from antiphon.data.forms import named_sets
    from antiphon.evaluate.normalizers import load_normalizer
    from antiphon.evaluate.sets import evaluate_sets

    config = load_config(flags=flags)
    sets, rules = named_sets(data, config.data.format), load_normalizer(normalizer)
    found = []
    with Terminal() as terminal:
        for model, side in zip(models, "ab", strict=True):
            terminal.phase(f"loading {model}")
            place = output / side if output else None
            found.append(
                evaluate_sets(model_options.subject(model), sets, config, rules, terminal, limit, output=place)
            )
    return found


def _side(name: str, evaluation: Evaluation) -> dict[str, str | None]:
    return {"name": name, "model": evaluation.model, "weights": evaluation.weights}


def _show(comparisons: Sequence[Comparison], columns: Mapping[str, Column]) -> None:
    """`columns` has what each set is measured by; of accuracies the table shows the errors."""
    table = Table("set", "A", "B", "B − A [95%]", "bootstrap p", "MAPSSWE p", "rows", box=None, pad_edge=False)
    for column in table.columns:
        column.no_wrap = True
    for one in comparisons:
        measured = columns[one.set]
        show = percent if measured.is_percent else measured.show
        scale, form = (100, "+.1f") if measured.is_percent else (1, "+.3g")
        delta, low, high = (scale * value for value in (one.bootstrap["delta"], *one.bootstrap["ci"]))
        table.add_row(
            one.set,
            show(one.rate_a),
            show(one.rate_b),
            f"{delta:{form}} [{low:{form}}, {high:{form}}]",
            f"{one.bootstrap['p']:.2g}",
            f"{one.mapsswe['p']:.2g}" if one.mapsswe else "–",
            str(one.n),
        )
    tables.print(table)
    tables.print()
    for one in comparisons:
        tables.print(one.sentence, highlight=False, soft_wrap=True)
    if without := [one.set for one in comparisons if one.mapsswe is None]:
        sets = ", ".join(without)
        told = f"MAPSSWE aligns words, which the rows of {sets} do not have: the p-value is the bootstrap's alone."
        tables.print(told, highlight=False, soft_wrap=True)
