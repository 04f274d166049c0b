"""Which examples of a set a model cannot take (`antiphon.models.fit`).

Of a set that is indexed, the rows that surely fit are found by their columns, and only the others are made and looked
at one by one. A row surely fits if its request is the recipe's, and the model takes the shortest and the longest clip
of about its length and language; and, where its text is to be the answer, if that takes no more than is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import repeat
from typing import Literal

import numpy as np
import pyarrow as pa

from antiphon.data.arrow import pc
from antiphon.data.indexed import Indexed, select
from antiphon.data.rows import BadRow, describe_bad
from antiphon.data.scans import OnProgress
from antiphon.errors import AntiphonError, AudioError, ConfigError, DataError
from antiphon.models.ctc import CTC
from antiphon.models.fit import Fit, seconds_of
from antiphon.models.limits import frames_needed
from antiphon.tasks.load import built_in_tasks
from antiphon.types import Example, LongAudio, Prompt

_TEXTS = 4096
"""Texts that are tokenized together."""


def faults(
    fit: Fit, examples: Iterable[Example], seconds: pa.ChunkedArray | None = None
) -> Iterator[tuple[Example, str | None, bool]]:
    """Each example with why the model cannot take it, or None, and whether that is because its clip is too long.

    `seconds` has the lengths of clips that are known.
    """
    known = repeat(None) if seconds is None else (one for chunk in seconds.chunks for one in chunk.to_pylist())
    for example, measured in zip(examples, known, strict=False):
        try:
            length = seconds_of(example) if measured is None else measured
            yield example, fit(example, length), fit.too_long(length)
        except AudioError as error:
            yield example, str(error), False


def fitting(
    fit: Fit,
    examples: Sequence[Example],
    source: str,
    on_bad_audio: Literal["error", "skip"] = "error",
    long_audio: LongAudio = "error",
    on_progress: OnProgress | None = None,
    seconds: pa.ChunkedArray | None = None,
) -> tuple[Sequence[Example], list[BadRow]]:
    """The examples that the model can take, and the rows that it cannot. `seconds` has their clips' known lengths.

    With `long_audio` "skip", clips that are too long are left out whatever `on_bad_audio` says. Raises `DataError`,
    listing the first bad rows of `source`, if there are any others and `on_bad_audio` is "error", or if no example is
    left; `ConfigError` for a `max_new_tokens` that no prompt has room for.
    """
    bad: list[BadRow] = []
    errors: list[BadRow] = []
    rest = np.flatnonzero(~surely_fit(fit, examples, seconds))
    others = examples if len(rest) == len(examples) else select(examples, rest)
    known = None if seconds is None else seconds.take(pa.array(rest))
    told = on_progress or (lambda done, total: None)
    for done, (example, fault, too_long) in enumerate(faults(fit, others, known)):
        if fault is not None:
            bad.append(BadRow(example.line, example.id, _explained(fault, too_long, long_audio), int(rest[done])))
            if on_bad_audio == "error" and not (too_long and long_audio == "skip"):
                errors.append(bad[-1])
        told(len(examples) - len(rest) + done + 1, len(examples))
    if not len(rest):
        told(len(examples), len(examples))
    if not bad:
        return examples, bad
    if fit.new_tokens and 0 < fit.most_room < fit.new_tokens:
        raise ConfigError(
            f"max_new_tokens is {fit.new_tokens}, but this model has {fit.limits.positions} positions for a prompt and "
            f"its answer, and the shortest prompt of {source} leaves {fit.most_room}; set max_new_tokens to at most "
            f"{fit.most_room}, or leave it out"
        )
    if errors or len(bad) == len(examples):
        remedy = (
            "Correct or remove them, or leave them out with data.on_bad_audio: skip"
            if errors
            else "No example is left; correct the data, or take another model"
        )
        raise DataError(f"{describe_bad(errors or bad, source, len(examples), what='fit the model')}\n{remedy}")
    return select(examples, np.delete(np.arange(len(examples)), [row.number for row in bad])), bad


def _explained(fault: str, too_long: bool, long_audio: LongAudio) -> str:
    """`fault` with the setting that decides what becomes of it."""
    if too_long and long_audio == "split":
        return f"{fault} (data.long_audio=split is for evaluation: to split a text with its clip takes an alignment)"
    return f"{fault} (data.long_audio)" if too_long else fault


def surely_fit(fit: Fit, examples: Sequence[Example], seconds: pa.ChunkedArray | None) -> np.ndarray:
    """Which examples the model can take, as far as their columns say it [N, bool]; `seconds` has the clips' lengths."""
    sure, task = np.zeros(len(examples), bool), fit.prompt.task
    if not isinstance(examples, Indexed) or seconds is None:
        return sure
    if task not in built_in_tasks() or "audio" not in task.fields:
        return sure
    plain, samples = _plain(fit, examples, seconds)
    languages = examples.table["language"].combine_chunks().dictionary_encode().indices.fill_null(-1).to_numpy()
    octaves = np.frexp(samples)[1]
    order = np.lexsort((samples, octaves, languages))
    order = order[plain[order]]
    ends = np.flatnonzero(np.diff(languages[order]) | np.diff(octaves[order])) + 1
    for group in np.split(order, ends):
        sure[group] = _group_fits(fit, examples, group, samples) if len(group) else False
    return sure


def _plain(fit: Fit, examples: Indexed, seconds: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """The rows with a request like all others and a clip that the model hears, and the clips' samples."""
    lengths = seconds.to_numpy().astype(float)
    clips = examples.table["clip"]
    plain = ~examples.table["asks"].to_numpy() & ~np.asarray(pc.fill_null(pc.equal(clips, ""), True))
    plain &= np.isfinite(lengths)
    if fit.piece is not None:
        lengths = np.minimum(lengths, fit.piece)
    samples = np.maximum(np.rint(np.where(plain, lengths, 0) * fit.policy.rate).astype(np.int64), 1)
    most = fit.limits.most_samples
    return plain & (samples >= fit.limits.least_samples) & (most is None or samples <= most), samples


def _group_fits(fit: Fit, examples: Indexed, group: np.ndarray, samples: np.ndarray) -> np.ndarray | bool:
    """Which rows of `group` surely fit: places of clips in one language, in order of their length, at most double."""
    for place in group[[0, -1]].tolist():
        try:
            prompt, fault = fit.asked(examples[place], int(samples[place]) / fit.policy.rate)
        except AntiphonError:
            return False
        if fault is not None:
            return False
    return _texts_fit(fit, examples.select(group), prompt, samples[group]) if fit.with_reference else True


def _texts_fit(fit: Fit, examples: Indexed, prompt: Prompt, samples: np.ndarray) -> np.ndarray:
    """Which texts surely fit after `prompt`, whose clip is the longest, as labels of a clip of `samples`."""
    policy, positions = fit.policy, fit.limits.positions
    coded = examples.table["text"].combine_chunks().dictionary_encode()
    texts, language = coded.dictionary.to_pylist(), examples.table["language"][0].as_py()
    silent, size = replace(prompt, waveform=None), frames_needed if isinstance(policy, CTC) else len
    needed = np.array(
        [
            np.inf if ids is None else size(ids)
            for start in range(0, len(texts), _TEXTS)
            for ids in policy.targets(silent, texts[start : start + _TEXTS], language)
        ]
    )[coded.indices.to_numpy()]
    if isinstance(policy, CTC):
        step = 1 << np.maximum(np.frexp(samples)[1] - 4, 0)
        shorter, which = np.unique(samples // step * step, return_inverse=True)
        return needed <= np.array([fit.frames_of(policy, prompt, one) for one in shorter.tolist()])[which]
    return needed <= (np.finfo(float).max if positions is None else positions - fit.taken_at_most(prompt))
