"""Time and memory to open a large JSONL file, shuffle it and load a first batch: the first time, and again.

    python benchmarks/data_scale.py --json scale.json
    python benchmarks/data_scale.py --rows 10000 100000 --check

Each measurement is a process of its own; its memory is the peak of the resident set, libraries included. `--check` also
decodes every clip, which are segments of a few files made here, first and again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

FILES, PER_STEP = 100, 8
WORDS = ["turn", "on", "the", "kitchen", "light", "set", "a", "timer", "for", "five", "minutes"]


def write(folder: Path, rows: int) -> Path:
    """`rows` rows that name segments of `FILES` recordings."""
    import numpy as np
    import soundfile

    rng = np.random.default_rng(0)
    per_file = -(-rows // FILES)
    (folder / "clips").mkdir(exist_ok=True)
    for number in range(FILES):
        sound = 0.1 * rng.standard_normal(16000 + 8 * per_file)
        soundfile.write(folder / "clips" / f"{number:03d}.wav", sound, 16000)
    path = folder / f"rows-{rows}.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for row in range(rows):
            begin = (row // FILES) / 2000
            said = " ".join(rng.choice(WORDS, 8).tolist())
            values = {
                "audio": f"clips/{row % FILES:03d}.wav",
                "text": said,
                "speaker": f"s{row % 500}",
                "begin_time": begin,
                "end_time": begin + 0.5,
            }
            file.write(json.dumps(values) + "\n")
    return path


def measure(path: str, check: bool) -> dict[str, float]:
    """Seconds of each part, and the peak of memory in MiB."""
    import resource
    import time

    from antiphon.config import load_config
    from antiphon.data.rows import ReadOptions
    from antiphon.data.source import read_set
    from antiphon.data.stream import PromptStream
    from antiphon.data.validate import validate
    from antiphon.tasks.load import prompter

    prompt = prompter(load_config(None, []), 16000)
    begun = time.perf_counter()
    rows = read_set(path, ReadOptions()).require_good()
    opened = time.perf_counter()
    stream = PromptStream(rows.examples, PER_STEP, 0, prompt)
    assert len(stream.prompts(0)) == PER_STEP
    loaded = time.perf_counter()
    stream.close()
    found = {"open": opened - begun, "batch": loaded - opened, "total": loaded - begun}
    if check:
        begun = time.perf_counter()
        validate(rows.examples, 30.0, source=path)
        found["check"] = time.perf_counter() - begun
    return found | {"mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def run(path: Path, cache: Path, check: bool) -> dict[str, float]:
    """`measure` in a new process."""
    command = [sys.executable, __file__, "--measure", str(path), *(["--check"] if check else [])]
    done = subprocess.run(command, env=os.environ | {"ANTIPHON_CACHE": str(cache)}, capture_output=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    """Print a Markdown table, or write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--check", action="store_true", help="Also decode every clip.")
    parser.add_argument("--json", metavar="FILE", help="Write the figures there.")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.measure, args.check)))
        return
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        for rows in args.rows:
            path = write(Path(folder), rows)
            for time in ("first", "again"):
                figures.append({"rows": rows, "time": time} | run(path, Path(folder) / "cache", args.check))
    if args.json:
        Path(args.json).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    names = list(figures[0])
    print("|".join(["", *names, ""]))
    print("|".join(["", *("---" for _ in names), ""]))
    for one in figures:
        print(
            "|".join(["", *(f"{value:.2f}" if isinstance(value, float) else f"{value}" for value in one.values()), ""])
        )


if __name__ == "__main__":
    main()
