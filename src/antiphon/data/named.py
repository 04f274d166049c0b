"""Corpora by name: where each lies on the Hugging Face hub as Parquet, its sets, task, language and license.

No repository here runs code of its own. `seen` says what of a repository's layout was looked up; the rest is expected
from its card, and loading says so if it is otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from antiphon.data.hubset import HubSet
from antiphon.errors import ConfigError, did_you_mean

CONVERTED = "refs/convert/parquet"
"""The branch in which the hub keeps a repository's data as Parquet, CONFIG/SPLIT/NUMBER.parquet."""
_TAGS = {" <COMMA>": ",", " <PERIOD>": ".", " <QUESTIONMARK>": "?", " <EXCLAMATIONPOINT>": "!"}
_LANGUAGES = {"cmn": "zh", "nb": "no"}
"""Codes of languages where a set's name begins with another one."""

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Set:
    """A set of a corpus: a configuration and a split, or the rows of them that have the values in `where`."""

    config: str | None
    split: str
    where: Mapping[str, Any] = field(default_factory=dict)
    limit: int | None = None


@dataclass(frozen=True)
class Corpus:
    """A corpus: sets with names of their own, or a set for each configuration and split, NAME:CONFIG:SPLIT."""

    title: str
    repo: str
    license: str
    seen: str
    sets: Mapping[str, Set] = field(default_factory=dict)
    """By name, the default first."""
    splits: tuple[str, ...] = ()
    """Splits of each configuration, the default first; of corpora with a configuration for each language."""
    example: str = ""
    """A configuration, for messages."""
    task: str = "asr"
    language: str | None = None
    """Language of all rows; None if it follows from the configuration or there is none."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Columns of our fields that are not found by their usual names."""
    revision: str | None = None
    text: Callable[[str], str] | None = None
    """Makes a transcript of the corpus's notation."""
    prompt: Callable[[Values], str] | None = None
    """Makes the request of a row."""
    note: str = ""

    def specs(self, name: str) -> list[str]:
        """Its sets, as values for `--data`; a corpus with a set for each language is shown by one of them."""
        if self.sets:
            return [f"{name}:{one}" for one in self.sets]
        return [f"{name}:{self.example}:{split}" for split in self.splits]


def _librispeech() -> dict[str, Set]:
    parts = {"clean": ("train.100", "train.360"), "other": ("train.500",)}
    held_out = {
        f"{ours}-{kind}": Set(kind, theirs)
        for kind in parts
        for ours, theirs in (("test", "test"), ("dev", "validation"))
    }
    return held_out | {
        f"{split.replace('.', '-')}".replace("train-", f"train-{kind}-"): Set(kind, split)
        for kind, splits in parts.items()
        for split in splits
    }


def _punctuated(text: str) -> str:
    """GigaSpeech's notation as text: its tags become punctuation, and those of sounds alone are no speech."""
    for tag, mark in _TAGS.items():
        text = text.replace(tag, mark)
    return re.sub(r"\s*<(SIL|MUSIC|NOISE|OTHER)>\s*", " ", text).strip()


def _question(row: Values) -> str:
    choices = row.get("choices") or []
    listed = f"\nRespond with one of these, word for word: {'; '.join(map(str, choices))}" if choices else ""
    return f"{row.get('instruction', '')}{listed}"


CORPORA: dict[str, Corpus] = {
    "librispeech": Corpus(
        "LibriSpeech: 1,000 hours of read English audiobooks",
        "openslr/librispeech_asr",
        "CC BY 4.0",
        "the configuration clean in Parquet, with id, text, speaker_id and chapter_id",
        _librispeech(),
        language="en",
    ),
    "librispeech-dummy": Corpus(
        "Eight clips of LibriSpeech dev-clean, for a first try",
        "hf-internal-testing/librispeech_asr_dummy",
        "CC BY 4.0",
        "clean/validation in Parquet",
        {"first": Set("clean", "validation", limit=8), "all": Set("clean", "validation")},
        language="en",
    ),
    "speech_commands": Corpus(
        "Speech Commands v0.02: one-second words, 35 labels and background noise",
        "google/speech_commands",
        "CC BY 4.0",
        "",
        {name: Set("v0.02", name) for name in ("test", "validation", "train")},
        task="classify",
        columns={"text": "label"},
        revision=CONVERTED,
    ),
    "common_voice": Corpus(
        "Common Voice 17: read sentences of volunteers, by language",
        "fixie-ai/common_voice_17_0",
        "CC0 1.0",
        "ar, br, de, en, es, fr, ha, it, ja, pt and ru, with train, validation and test in Parquet",
        splits=("test", "validation", "train"),
        example="de",
        note="A copy by others: Mozilla gives it away outside the hub. Its own TSV files are read as they are.",
    ),
    "fleurs": Corpus(
        "FLEURS: the same sentences read in 102 languages",
        "google/fleurs",
        "CC BY 4.0",
        "the branch with Parquet, for de_de: train, validation and test",
        splits=("test", "validation", "train"),
        example="de_de",
        revision=CONVERTED,
    ),
    "aishell-1": Corpus(
        "AISHELL-1: 178 hours of read Mandarin",
        "carlot/AIShell",
        "Apache 2.0",
        "train, validation and test in Parquet",
        {"test": Set(None, "test"), "dev": Set(None, "validation"), "train": Set(None, "train")},
        language="zh",
    ),
    "wenetspeech": Corpus(
        "WenetSpeech's two test sets: Mandarin from the internet, and from meetings",
        "TwinkStart/WenetSpeech",
        "CC BY 4.0",
        "test_net (24,774 rows) and test_meeting (8,370) in Parquet, with sid and text",
        {"test-net": Set(None, "test_net"), "test-meeting": Set(None, "test_meeting")},
        language="zh",
        columns={"id": "sid"},
    ),
    "gigaspeech": Corpus(
        "GigaSpeech: 10,000 hours of English audiobooks, podcasts and YouTube",
        "fixie-ai/gigaspeech",
        "Apache 2.0; the audio for research alone",
        "dev/dev, xl/train and xl/test in Parquet",
        {"test": Set("xl", "test"), "dev": Set("dev", "dev"), "train-xl": Set("xl", "train")},
        language="en",
        text=_punctuated,
        note="Tags such as <COMMA> become punctuation; clips of noise or music alone have an empty text.",
    ),
    "voxpopuli": Corpus(
        "VoxPopuli: speeches in the European Parliament, by language",
        "facebook/voxpopuli",
        "CC0 1.0",
        "the branch with Parquet, for sl: train, validation and test",
        splits=("test", "validation", "train"),
        example="en",
        columns={"text": "normalized_text"},
        revision=CONVERTED,
    ),
    "esc-50": Corpus(
        "ESC-50: 2,000 environmental sounds of five seconds, 50 labels, five folds",
        "ashraq/esc50",
        "CC BY-NC 3.0",
        "train in Parquet, with filename, fold, target, category, esc10 and audio",
        {"all": Set(None, "train")} | {f"fold{number}": Set(None, "train", {"fold": number}) for number in range(1, 6)},
        task="classify",
        columns={"text": "category", "id": "filename"},
    ),
    "mmau": Corpus(
        "MMAU test-mini: 1,000 questions on speech, sounds and music, with choices",
        "AudioLLMs/MMAU-mini",
        "see its page",
        "the configuration MMAU-mini with test (1,000 rows); of its columns, those of the version before it",
        {"test-mini": Set("MMAU-mini", "test")},
        task="classify",
        columns={"audio": "context", "text": "answer"},
        prompt=_question,
    ),
    "haiku": Corpus(
        "Haiku with their keywords: write one about a topic",
        "statworx/haiku",
        "see its page",
        "train.parquet; its columns keywords and text",
        {"train": Set(None, "train[:-1000]"), "test": Set(None, "train[-1000:]")},
        task="text",
        language="en",
        prompt=lambda row: f"Write me a haiku about {str(row.get('keywords', '')).lower()}.",
        note="Text alone. The last 1,000 poems are the test set.",
    ),
}
CORPORA["statworx/haiku"] = CORPORA["haiku"]


@dataclass(frozen=True)
class Named:
    """A set of a corpus, found by its name."""

    corpus: Corpus
    source: HubSet
    chosen: Set
    language: str | None
    name: str
    """Its name in reports."""


def find(spec: str) -> Named:
    """The set that `NAME`, `NAME:SET`, `NAME:CONFIG` or `NAME:CONFIG:SPLIT` names, with `:FOLDER` for a local copy.

    Raises `ConfigError` for a corpus, set or split that there is not.
    """
    name, *parts = spec.split(":")
    if name not in CORPORA:
        raise ConfigError(f"there is no corpus {name!r}; {did_you_mean(name, CORPORA)}")
    corpus = CORPORA[name]
    if corpus.sets:
        label = parts.pop(0) if parts else next(iter(corpus.sets))
        if label not in corpus.sets:
            raise ConfigError(f"{name} has no set {label!r}; {did_you_mean(label, corpus.sets)}")
        chosen = corpus.sets[label]
    else:
        if not parts or not parts[0]:
            raise ConfigError(f"{name} has a set for each language; name one, such as {name}:{corpus.example}")
        label = config = parts.pop(0)
        split = parts.pop(0) if parts and parts[0] in corpus.splits else corpus.splits[0]
        chosen = Set(config, split)
        label = config if split == corpus.splits[0] else f"{config}-{split}"
    copy = ":".join(parts)
    code = re.split("[-_]", chosen.config or "")[0]
    language = corpus.language or (_LANGUAGES.get(code, code) if corpus.splits else None)
    return Named(corpus, _source(corpus, chosen, copy), chosen, language, f"{name.rpartition('/')[2]}-{label}")


def _source(corpus: Corpus, chosen: Set, copy: str) -> HubSet:
    source = HubSet(copy or corpus.repo, chosen.config, chosen.split, None if copy else corpus.revision)
    files = f"{chosen.config}/{chosen.split}/*.parquet"
    if corpus.revision == CONVERTED and (not copy or any(Path(copy).glob(files))):
        return replace(source, files=files)
    return source
