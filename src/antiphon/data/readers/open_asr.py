"""The public English test sets of the Open ASR Leaderboard, https://github.com/huggingface/open_asr_leaderboard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from antiphon.data.readers import hub
from antiphon.data.rows import ReadOptions, Row
from antiphon.errors import ConfigError, did_you_mean
from antiphon.text.normalize import normalizer

PREFIX = "open-asr:"
REPO = "hf-audio/open-asr-leaderboard"
SETS = {
    "ami": ("ami_cleaned", "test"),
    "earnings22": ("earnings22", "test"),
    "gigaspeech": ("gigaspeech_cleaned", "test"),
    "librispeech-clean": ("librispeech", "test.clean"),
    "librispeech-other": ("librispeech", "test.other"),
    "spgispeech": ("spgispeech", "test"),
    "voxpopuli": ("voxpopuli_cleaned_aa", "test"),
}
"""Configuration and split of each set, as the leaderboard has used them since 2026."""
NORMALIZER = "open-asr"
UNSCORED = {"", "ignore time segment in scoring"}
"""The leaderboard skips rows whose normalized reference is one of these."""


def specs(copy: str | None = None) -> list[str]:
    """All sets as values for `--data`; `copy` is a folder with a copy of the repository."""
    return [f"{PREFIX}{name}" + (f":{copy}" if copy else "") for name in SETS]


def claims(spec: str) -> bool:
    return spec.startswith(PREFIX)


def set_name(spec: str) -> str:
    return spec.removeprefix(PREFIX).partition(":")[0]


def read(spec: str, options: ReadOptions) -> Iterator[Row]:
    """Read the scored rows of `open-asr:NAME` or `open-asr:NAME:FOLDER`, up to the limit. All are English.

    Raises `ConfigError` for a name that is not in `SETS`, and the errors of the hub reader.
    """
    name, _, copy = spec.removeprefix(PREFIX).partition(":")
    if name not in SETS:
        raise ConfigError(f"the Open ASR Leaderboard has no set {name!r}; {did_you_mean(name, SETS)}")
    clean = normalizer("en", NORMALIZER)
    for row in hub.rows(hub.HubSet(copy or REPO, *SETS[name]), options):
        keys = dict(row.keys or {}, language="language", task="task")
        said = row.values[keys["text"]]
        if said is None or clean(said).strip() not in UNSCORED:
            values = {key: value for key, value in row.values.items() if key != options.columns.get("language")}
            yield replace(row, values={**values, "language": "en", "task": "asr"}, keys=keys)
