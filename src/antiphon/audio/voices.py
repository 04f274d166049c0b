"""The built-in voices: eight English accents, split so that no test voice occurs in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "more", "test", "accent"]

TRAIN_ACCENTS = {
    "american": "gmw/en-US",
    "british": "gmw/en",
    "received": "gmw/en-GB-x-rp",
    "scottish": "gmw/en-GB-scotland",
    "new-york": "gmw/en-US-nyc",
    "midlands": "gmw/en-GB-x-gbcwmd",
}
UNSEEN_ACCENTS = {"caribbean": "gmw/en-029", "lancashire": "gmw/en-GB-x-gbclan"}

_TRAIN_VARIANTS = ("m1", "f1", "m2", "f2", "m3", "f4", "m6", "Alex", "linda", "david", "steph", "Andy")
_MORE_VARIANTS = (
    *("adam", "anika", "aunty", "benjamin", "boris", "edward", "grandma", "gustave", "ian", "john", "max", "miguel"),
    *("norbert", "paul", "pedro", "quincy", "rob", "sandro", "shelby", "travis", "victor", "zac", "Lee", "Gene"),
)
_TEST_VARIANTS = ("m4", "f3", "m7", "f5", "Michael", "belinda")


@dataclass(frozen=True)
class Voice:
    """A speaker: an accent's pronunciation rules, a variant's formants, and a base pitch (0 to 99)."""

    name: str
    accent: str
    espeak: str
    pitch: int
    split: Split


def _voices() -> tuple[Voice, ...]:
    def voice(accent: str, file: str, variant: str, pitch: int, split: Split) -> Voice:
        return Voice(f"{accent}-{variant.lower()}", accent, f"{file}+{variant}", pitch, split)

    voices: list[Voice] = []
    for i, (accent, file) in enumerate(TRAIN_ACCENTS.items()):
        for j in range(4):
            variant = _TRAIN_VARIANTS[(4 * i + j) % len(_TRAIN_VARIANTS)]
            voices.append(voice(accent, file, variant, 35 + 10 * j, "train"))
        for j in range(2):
            variant = _TEST_VARIANTS[(2 * i + j) % len(_TEST_VARIANTS)]
            voices.append(voice(accent, file, variant, 42 + 12 * j, "test"))
    for accent, file in TRAIN_ACCENTS.items():
        for j, variant in enumerate(_MORE_VARIANTS):
            voices.append(voice(accent, file, variant, 30 + 10 * (j % 5), "more"))
    for accent, file in UNSEEN_ACCENTS.items():
        for j, variant in enumerate(_TEST_VARIANTS[:4]):
            voices.append(voice(accent, file, variant, 36 + 8 * j, "accent"))
    return tuple(voices)


VOICES: tuple[Voice, ...] = _voices()


def voices_of(split: Split) -> tuple[Voice, ...]:
    """The voices of one split: `train`, `test` (unseen speakers), `accent` (unseen speakers and accents), or `more`
    (more training voices, used only by the built-in teacher)."""
    return tuple(voice for voice in VOICES if voice.split == split)
