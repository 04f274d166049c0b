"""A reader from a file outside the package: three steps of training on a CSV table."""

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import soundfile

from antiphon.config import load_config
from antiphon.data.corpora.sets import builtin_set
from antiphon.run.train import train

READER = """
import csv
from pathlib import Path

from antiphon.data.rows import Row

def claims(spec):
    return spec.endswith(".csv")

def read(spec, options):
    with Path(spec).open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        for row in rows:
            yield Row(rows.line_num, row, folder=Path(spec).parent)
"""


def test_a_reader_of_csv_trains_three_steps(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("readers.py").write_text(READER)
    with Path("set.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["wav", "said", "room"])
        table.writeheader()
        for example in builtin_set("digits-noisy")[:4]:
            soundfile.write(f"{example.id}.wav", example.clip.load(16000), 16000)
            table.writerow({"wav": f"{example.id}.wav", "said": example.text, "room": "kitchen"})
    settings = {
        "data.train": ["set.csv"],
        "data.format": "readers.py",
        "data.columns": {"audio": "wav", "text": "said"},
        "data.limit": 3,
        "data.eval": ["builtin:digits-clean"],
        "eval.limit": 2,
        "rollout.prompts_per_step": 2,
        "rollout.group_size": 4,
        "train.steps": 3,
        "model": "builtin:student",
        "device": "cpu",
    }
    result = train(load_config(flags=settings))
    rows = [json.loads(line) for line in (result.run.path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3]
    rollouts = pq.read_table(result.run.path / "rollouts")
    assert set(rollouts["reference"].to_pylist()) <= {one.text for one in builtin_set("digits-noisy")[:3]}
