"""What the built-in recognizers are trained on: synthesized utterances under conditions drawn for each, in batches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib import import_module
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np
import torch

from antiphon.data.corpora.sets import CONDITIONS, NOISES, SYNTHESIS_RATE, Condition, make_example
from antiphon.types import Seconds

_PLAIN = replace(CONDITIONS["train"], words_per_minute=(125, 230), pitch_shift=(-20, 20))
SPEECH: dict[str, list[tuple[float, Condition]]] = {
    "student": [
        (0.30, _PLAIN),
        (0.55, replace(_PLAIN, noises=NOISES, snr_db=(15.0, 40.0))),
        (0.15, replace(_PLAIN, noises=NOISES, snr_db=(15.0, 40.0), telephone=True)),
    ],
    "teacher-refined": [
        (0.35, replace(_PLAIN, split="more")),
        (0.05, replace(_PLAIN, split="more", telephone=True)),
        (0.30, replace(_PLAIN, split="more", noises=NOISES, snr_db=(0.0, 20.0))),
        (0.15, replace(_PLAIN, split="more", words_per_minute=(230, 340))),
        (0.15, replace(_PLAIN, split="more", rt60=(0.3, 1.0))),
    ],
    "teacher": [
        (0.30, _PLAIN),
        (0.06, replace(_PLAIN, telephone=True)),
        (0.34, replace(_PLAIN, noises=NOISES, snr_db=(0.0, 20.0))),
        (0.15, replace(_PLAIN, words_per_minute=(230, 340))),
        (0.15, replace(_PLAIN, rt60=(0.3, 1.0))),
    ],
}
"""Shares of the conditions, by the recognizer first trained on them."""
HEARD: dict[str, Any] = {"utterance_seconds": 4.0}
"""What the recognizers' configurations say of it: but for one in a hundred, the longest. They make little of more."""
DIGITS_SHARE = 0.3
SHARDS = 64
BATCH = 32
BUCKET = 16
"""Batches that are sorted by length together."""
SHORT_SHARE, SHORT_STEPS = 0.25, 0.15
"""Where short clips come first: the share of the pool that training starts with, and the share of its steps after
which it has all of it. CTC finds the alignment of short clips sooner."""


class Utterance(NamedTuple):
    """One training example."""

    features: np.ndarray
    """What the recognizer's feature extractor makes of the clip, time first, in float16."""
    text: str
    seconds: Seconds


def make_pool(family: str, speech: str, size: int, seed: int, workers: int) -> list[Utterance]:
    """At least `size` utterances of `SPEECH[speech]`, with the features of the module `family`, made by `workers`
    processes."""
    count = math.ceil(size / SHARDS)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(make_shard, family, speech, shard, count, seed) for shard in range(SHARDS)]
        return [utterance for job in jobs for utterance in job.result()]


def make_shard(family: str, speech: str, shard: int, count: int, seed: int) -> list[Utterance]:
    """`count` training utterances with their features, all from (seed, shard)."""
    torch.set_num_threads(1)
    module = import_module(family)
    processor = module.build_processor()
    rng = np.random.default_rng([seed, shard])
    shares = np.array([share for share, _ in SPEECH[speech]])
    utterances: list[Utterance] = []
    for i in range(count):
        corpus = "digits" if rng.random() < DIGITS_SHARE else "commands"
        condition = SPEECH[speech][rng.choice(len(shares), p=shares / shares.sum())][1]
        example = make_example(corpus, f"pretrain-{speech}", condition, shard * 100_000 + i, seed)
        assert example.clip is not None
        waveform = example.clip.load(SYNTHESIS_RATE)
        seconds = len(waveform) / SYNTHESIS_RATE
        utterances.append(Utterance(module.features(processor, waveform), example.text, seconds))
    return utterances


def batches(pool: Sequence[Utterance], steps: int, seed: int, short_first: bool = False) -> Iterator[list[Utterance]]:
    """`steps` batches of similar length: shuffled, sorted within buckets, shuffled again."""
    rng = np.random.default_rng([seed, 1])
    seconds = np.array([utterance.seconds for utterance in pool])
    by_length = np.argsort(seconds)
    made = 0
    while made < steps:
        share = min(1.0, SHORT_SHARE + (1 - SHORT_SHARE) * made / (SHORT_STEPS * steps)) if short_first else 1.0
        if share < 1:
            order = rng.permutation(by_length[: int(share * len(pool))])[: BUCKET * BATCH]
        else:
            order = rng.permutation(len(pool))
        for start in range(0, len(order) - BUCKET * BATCH + 1, BUCKET * BATCH):
            bucket = sorted(order[start : start + BUCKET * BATCH], key=lambda i: seconds[i])
            groups = [bucket[i : i + BATCH] for i in range(0, len(bucket), BATCH)]
            for j in rng.permutation(len(groups)):
                if made == steps:
                    return
                made += 1
                yield [pool[i] for i in groups[j]]
