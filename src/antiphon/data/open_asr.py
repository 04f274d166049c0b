"""The public English test sets of the Open ASR Leaderboard, https://github.com/huggingface/open_asr_leaderboard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from antiphon.data.hub import HubSet, load_hub
from antiphon.errors import ConfigError, did_you_mean
from antiphon.text.normalise import normaliser
from antiphon.types import Example

OPEN_ASR = "open-asr:"
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
"""Configuration and split of each, as the leaderboard measures them since 2026."""
NORMALISER = "whisper"
UNSCORED = {"", "ignore time segment in scoring"}
"""Normalised references of rows that the leaderboard leaves out."""


def specs(copy: str | None = None) -> list[str]:
    """Every set as `--data` takes it; `copy` is a folder that holds a copy of the repository."""
    return [f"{OPEN_ASR}{name}" + (f":{copy}" if copy else "") for name in SETS]


def set_name(spec: str) -> str:
    return spec.removeprefix(OPEN_ASR).partition(":")[0]


def load(spec: str, columns: Mapping[str, str], limit: int | None) -> list[Example]:
    """The scored rows of `open-asr:NAME` or `open-asr:NAME:FOLDER`, or of its first `limit` rows; all are English.

    Raises `ConfigError` for a name that is none of `SETS`, and what `load_hub` raises.
    """
    name, _, copy = spec.removeprefix(OPEN_ASR).partition(":")
    if name not in SETS:
        raise ConfigError(f"the Open ASR Leaderboard has no set {name!r}; {did_you_mean(name, SETS)}")
    clean = normaliser("en", NORMALISER)
    examples = load_hub(HubSet(copy or REPO, *SETS[name]), columns, limit)
    return [replace(one, language="en") for one in examples if clean(one.text).strip() not in UNSCORED]
