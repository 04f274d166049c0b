"""Copies of the Hugging Face hub's sets, small enough to be written by a test."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile


def flac(waveform: np.ndarray, rate: int = 16000) -> bytes:
    sound = io.BytesIO()
    soundfile.write(sound, waveform, rate, format="FLAC")
    return sound.getvalue()


def write_repository(folder: Path, splits: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]) -> Path:
    """Sets as they lie on the hub: Parquet with recordings inside, and a card that says which files are what.

    `splits` has the rows of each (configuration, split); their `audio` is {"bytes", "path"}.
    """
    files: dict[str, list[str]] = {}
    for (config, split), rows in splits.items():
        (folder / config).mkdir(parents=True, exist_ok=True)
        recordings = pa.array([row["audio"] for row in rows], datasets.Audio.pa_type)
        table = pa.Table.from_pylist([{name: row[name] for name in row if name != "audio"} for row in rows])
        table = table.add_column(0, "audio", recordings)
        features = datasets.Features.from_arrow_schema(table.schema)
        features["audio"] = datasets.Audio()
        table = table.replace_schema_metadata(features.arrow_schema.metadata)
        pq.write_table(table, folder / config / f"{split}-00000-of-00001.parquet")
        files.setdefault(config, []).append(f"  - split: {split}\n    path: {config}/{split}-*\n")
    card = "".join(f"- config_name: {config}\n  data_files:\n{''.join(them)}" for config, them in files.items())
    (folder / "README.md").write_text(f"---\nconfigs:\n{card}---\n")
    return folder
