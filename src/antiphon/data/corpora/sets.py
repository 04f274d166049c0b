"""The built-in data sets: seeded speech that needs no download.

`builtin:CORPUS-SET`, where CORPUS is `digits` or `commands` and SET is

    train                   training voices
    train-noisy             training voices in white, pink or babble noise
    train-reverb            training voices in reverberant rooms
    clean                   unseen voices
    noisy                   unseen voices in white, pink or babble noise
    fast                    unseen voices, speaking fast
    accent                  unseen voices with accents that are not in training
    reverb                  unseen voices in reverberant rooms
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import soxr

from antiphon.audio.augment import add_noise, colored_noise, mix_babble, reverberate, telephone
from antiphon.audio.synth import synthesize
from antiphon.audio.voices import Split, Voice, voices_of
from antiphon.data.corpora import commands, digits
from antiphon.errors import ConfigError
from antiphon.types import Example, Hertz, Seconds

CORPORA = {"digits": digits, "commands": commands}
SYNTHESIS_RATE: Hertz = 16000
BABBLE_TALKERS = 4


@dataclass(frozen=True)
class Condition:
    """Acoustic conditions of a set. Values are drawn uniformly from the ranges for each utterance."""

    split: Split
    size: int
    words_per_minute: tuple[int, int] = (140, 200)
    pitch_shift: tuple[int, int] = (-12, 12)
    noises: tuple[str, ...] = ()
    snr_db: tuple[float, float] = (0.0, 0.0)
    babble_snr_db: tuple[float, float] | None = None
    """The SNR for babble, if it differs: babble masks speech better than other noise of the same power."""
    rt60: tuple[Seconds, Seconds] | None = None
    telephone: bool = False


NOISES = ("white", "pink", "babble")
SNR_DB = (0.0, 10.0)
BABBLE_SNR_DB = (8.0, 18.0)
RT60: tuple[Seconds, Seconds] = (0.4, 0.9)

CONDITIONS: dict[str, Condition] = {
    "train": Condition("train", 4000),
    "train-noisy": Condition("train", 4000, noises=NOISES, snr_db=SNR_DB, babble_snr_db=BABBLE_SNR_DB),
    "train-reverb": Condition("train", 4000, rt60=RT60),
    "clean": Condition("test", 300),
    "noisy": Condition("test", 300, noises=NOISES, snr_db=SNR_DB, babble_snr_db=BABBLE_SNR_DB),
    "fast": Condition("test", 300, words_per_minute=(260, 320)),
    "accent": Condition("accent", 300),
    "reverb": Condition("test", 300, rt60=RT60),
}
TEST_SETS = ("clean", "noisy", "fast", "accent", "reverb")


@dataclass(frozen=True)
class SynthClip:
    """The parameters of a synthetic utterance; `load` synthesizes it, then adds room, telephone line and noise."""

    name: str
    text: str
    voice: Voice
    words_per_minute: int
    pitch: int
    noise: str | None
    snr_db: float
    rt60: Seconds | None
    telephone: bool
    seed: int

    def load(self, rate: Hertz) -> np.ndarray:
        """Mono float32 [samples] at `rate`, the same on every call."""
        rng = np.random.default_rng(self.seed)
        speech = synthesize(self.text, self.voice.espeak, SYNTHESIS_RATE, self.words_per_minute, self.pitch)
        edges = rng.uniform(0.05, 0.25, size=2) * SYNTHESIS_RATE
        speech = np.pad(speech, (int(edges[0]), int(edges[1])))
        if self.rt60 is not None:
            speech = reverberate(speech, SYNTHESIS_RATE, self.rt60, rng)
        if self.noise is not None:
            speech = add_noise(speech, self._background(len(speech), rng), self.snr_db)
        if self.telephone:
            speech = telephone(speech, SYNTHESIS_RATE)
        level = 10 ** (rng.uniform(-32, -20) / 20)
        speech = speech * (level / max(float(np.sqrt(np.mean(speech**2))), 1e-6))
        speech = np.clip(speech, -1.0, 1.0).astype(np.float32)
        return speech if rate == SYNTHESIS_RATE else soxr.resample(speech, SYNTHESIS_RATE, rate)

    def _background(self, samples: int, rng: np.random.Generator) -> np.ndarray:
        if self.noise != "babble":
            return colored_noise(samples, str(self.noise), rng)
        voices = voices_of(self.voice.split)
        talkers = [
            synthesize(commands.sentence(rng), voices[rng.integers(len(voices))].espeak, SYNTHESIS_RATE)
            for _ in range(BABBLE_TALKERS)
        ]
        return mix_babble(talkers, samples, rng)


def make_example(corpus: str, set_name: str, condition: Condition, index: int, seed: int = 0) -> Example:
    """Utterance number `index` of a set; its words, voice and conditions are determined by the seed."""
    key = [seed, zlib.crc32(f"{corpus}-{set_name}".encode()), index]
    rng = np.random.default_rng(key)
    voices = voices_of(condition.split)
    voice = voices[rng.integers(len(voices))]
    text = CORPORA[corpus].sentence(rng)
    words_per_minute = int(rng.integers(*condition.words_per_minute, endpoint=True))
    pitch = int(np.clip(voice.pitch + rng.integers(*condition.pitch_shift, endpoint=True), 0, 99))
    noise = condition.noises[rng.integers(len(condition.noises))] if condition.noises else None
    snr_db = (condition.babble_snr_db if noise == "babble" else None) or condition.snr_db
    identity = f"{corpus}-{set_name}-{index:05d}"
    clip = SynthClip(
        name=f"builtin:{identity}",
        text=text,
        voice=voice,
        words_per_minute=words_per_minute,
        pitch=pitch,
        noise=noise,
        snr_db=float(rng.uniform(*snr_db)),
        rt60=float(rng.uniform(*condition.rt60)) if condition.rt60 else None,
        telephone=condition.telephone,
        seed=int(rng.integers(2**31)),
    )
    columns = {"accent": voice.accent, "noise": clip.noise or "none"}
    return Example(identity, "asr", clip, text, language="en", speaker=voice.name, columns=columns)


def set_names() -> list[str]:
    """Every built-in set, as `CORPUS-SET`."""
    return [f"{corpus}-{name}" for corpus in CORPORA for name in CONDITIONS]


@lru_cache(maxsize=32)
def builtin_set(name: str) -> tuple[Example, ...]:
    """The examples of `CORPUS-SET`. Raises `ConfigError` with the available sets."""
    corpus, _, set_name = name.partition("-")
    if corpus not in CORPORA or set_name not in CONDITIONS:
        raise ConfigError(f"there is no built-in set {name!r}; choose one of: {', '.join(set_names())}")
    condition = CONDITIONS[set_name]
    return tuple(make_example(corpus, set_name, condition, i) for i in range(condition.size))
