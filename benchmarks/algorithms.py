"""Every algorithm from the same student, on the same clips in the same order: what it reaches, and how soon.

    python benchmarks/algorithms.py [--rows grpo sft] [--seeds 3] [--quick] [--json]

Each run trains the built-in student on a mixture of noisy and reverberant spoken commands and is then measured on both
test sets, whose voices training never heard. Algorithms draw the same number of completions for each prompt, but for
SFT, which takes the transcripts, and DAPO, which replaces zero-variance groups. Seconds are those of training alone:
data, rollout, reward, teacher and update. With three seeds it takes about half an hour on two CPU cores.

A run that ends adds a line to OUT/results.jsonl, and none that has a line there is made again. The table and the plot
are of all its lines that have the present settings; they are written into docs/algorithms-benchmark.md and beside it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from algorithm_report import say, summarize, write_report
from algorithm_runs import QUICK, ROWS, STUDENT, Record, Work, made_by, run_row, run_student, speak
from transformers.utils.logging import disable_progress_bar

from antiphon.distributed.device import prepare_cpu

DOCUMENT = Path(__file__).parents[1] / "docs" / "algorithms-benchmark.md"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rows", nargs="+", choices=list(ROWS), default=list(ROWS), metavar="ROW", help=f"of {[*ROWS]}"
    )
    parser.add_argument("--seeds", type=int, default=3, help="runs of each row (3)")
    parser.add_argument("--quick", action="store_true", help="two tiny steps: shows that it works, and nothing else")
    parser.add_argument("--out", type=Path, default=Path("build/algorithms"), help="results and clips")
    parser.add_argument("--report", type=Path, help="Markdown file to write into; docs/, or OUT/ with --quick")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (2)")
    parser.add_argument("--json", action="store_true", help="print one object, last")
    arguments = parser.parse_args(argv)
    if arguments.seeds < 1:
        parser.error("--seeds must be at least 1")
    return arguments


def read(results: Path, work: Work) -> list[Record]:
    """The runs with the present settings that are done."""
    if not results.exists():
        return []
    lines = (json.loads(line) for line in results.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line["made_by"] == made_by(line["row"], work)]


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(argv)
    work = QUICK if arguments.quick else Work()
    prepare_cpu(arguments.threads)
    disable_progress_bar()
    began = time.perf_counter()
    speech = speak(work, arguments.out / "speech")
    results = arguments.out / "results.jsonl"
    records = read(results, work)
    done = {(record["row"], record["seed"]) for record in records}
    wanted = [(STUDENT, 0), *((row, seed) for seed in range(arguments.seeds) for row in arguments.rows)]
    for row, seed in wanted:
        if (row, seed) not in done:
            record = run_student(work, speech) if row == STUDENT else run_row(row, seed, work, speech)
            records.append(record)
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            print(f"{time.perf_counter() - began:6.0f} s  {say(record)}", flush=True)
    summary = summarize(records)
    document = arguments.report or (arguments.out / "report.md" if arguments.quick else DOCUMENT)
    write_report(summary, document)
    print("\n".join(["", *summary["verdicts"], f"\nwritten to {document}"]))
    if arguments.json:
        print(json.dumps({**summary, "seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main()
