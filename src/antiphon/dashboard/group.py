"""Groups of a step as HTML: a list with their rewards as dots, and one group in detail."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from html import escape
from urllib.parse import quote

import numpy as np

from antiphon.dashboard import tokens
from antiphon.dashboard.frame import run_url
from antiphon.dashboard.pages.clips import rollout_answer, rollout_clip
from antiphon.dashboard.read.rollouts import GroupOfStep, Sample, StepOfRun
from antiphon.evaluate.page import word_diff
from antiphon.text.normalize import normalizer

WIDTH, HEIGHT = 150, 18
"""Size of the dot plot, in pixels."""


def listed(step: StepOfRun, groups: Sequence[int], chosen: int, links: Sequence[str]) -> str:
    """The table of `groups`, with `links` to each."""
    rewarded = step.rewards[~np.isnan(step.rewards)]
    low, high = (float(rewarded.min()), float(rewarded.max())) if len(rewarded) else (0.0, 0.0)
    scale = f"<span>{figure(low)}</span><span>{figure(high)}</span>" if len(rewarded) else ""
    head = (
        f'<div class="group head"><span>Reference</span><span class="scale" title="Rewards">{scale}</span>'
        '<span>Mean</span><span title="Standard deviation">Std</span></div>'
    )
    rows = [_line(step, one, one == chosen, link, low, high) for one, link in zip(groups, links, strict=True)]
    return head + "".join(rows)


def _line(step: StepOfRun, group: int, chosen: bool, link: str, low: float, high: float) -> str:
    words = step.reference[group] or step.prompt[group] or step.example_id[group]
    marks = [f"{step.truncated[group]} truncated"] if step.truncated[group] else []
    marks += [f"{step.failed[group]} without reward"] if step.failed[group] else []
    flags = "".join(f'<em class="badge warn">{mark}</em>' for mark in marks)
    said = "best {}, mean {}, worst {}".format(*(figure(one[group]) for one in (step.best, step.mean, step.worst)))
    return (
        f'<a class="group{" chosen" if chosen else ""}" data-group="{group}" href="{escape(link)}">'
        f'<span class="words" title="{escape(step.example_id[group])}">{escape(words)}{flags}</span>'
        f'<span title="{said}">{_dots(step.rewards_of(group), low, high)}</span>'
        f"<span>{figure(step.mean[group])}</span><span>{figure(step.std[group])}</span></a>"
    )


def _dots(rewards: np.ndarray, low: float, high: float) -> str:
    """A dot for each distinct reward, more opaque the more frequent it is."""
    span = high - low or 1.0
    room = WIDTH - 10
    there = rewards[~np.isnan(rewards)]
    places = Counter(round(5 + room * ((one - low) / span if high > low else 0.5)) for one in there.tolist())
    dots = "".join(
        f'<circle cx="{place}" cy="{HEIGHT / 2}" r="4" fill-opacity="{0.25 + 0.75 * count / len(there):.2f}"/>'
        for place, count in sorted(places.items())
    )
    line = f'<path d="M5 {HEIGHT / 2}H{WIDTH - 5}"/>'
    return f'<svg class="dots" width="{WIDTH}" height="{HEIGHT}" aria-hidden="true">{line}{dots}</svg>'


def heading(run: str, step: int, group: GroupOfStep) -> str:
    """The example: clip, reference, prompt and columns."""
    about = [f"{key}: {value}" for key, value in group.columns.items() if value is not None]
    told = "".join(f'<span class="badge">{escape(one[:80])}</span>' for one in [group.example_id, *about])
    player = rollout_clip(run, step, group.row) if group.audio else ""
    prompt = f'<p class="prompt"><b>Prompt</b>{escape(group.prompt)}</p>' if group.prompt else ""
    nothing = "no speech" if group.audio else "no reference"
    reference = escape(group.reference) or f'<span class="quiet">{nothing}</span>'
    return (
        f'<div class="example"><div class="row">{told}</div>{player}{prompt}<p class="reference">{reference}</p></div>'
    )


def legend(group: GroupOfStep, color: str) -> str:
    return tokens.legend(color, tokens.reach(group.samples))


def samples(run: str, step: int, group: GroupOfStep, color: str) -> str:
    """All completions, best first and those without a reward last; identical ones are merged."""
    largest = tokens.reach(group.samples)
    rewarded = any(one.reward is not None for one in group.samples)
    log = f"{run_url(run, 'logs')}?q={quote(repr(group.example_id))}" if rewarded else ""
    alike: dict[tuple, list[Sample]] = {}
    for one in sorted(group.samples, key=lambda one: (one.reward is None, -(one.reward or 0.0), one.index)):
        sound = one.index if one.frames else one.answer_audio
        alike.setdefault((one.text, sound, *one.tokens, one.reward, one.truncated, *one.advantages), []).append(one)
    players = {
        one.index: rollout_answer(run, step, group.row + place)
        for place, one in enumerate(group.samples)
        if one.answer_audio
    }
    return "".join(
        _samples(several, group.reference, log, color, largest, players.get(several[0].index, ""))
        for several in alike.values()
    )


def _samples(several: Sequence[Sample], reference: str, log: str, color: str, largest: float, player: str) -> str:
    """One entry for identical completions; `player` plays an audio answer."""
    one = several[0]
    clean = normalizer(None)
    if player or one.frames:
        diff = player or '<span class="quiet">(audio, of which no copy was kept)</span>'
    else:
        diff = word_diff(clean(reference), clean(one.text)) if reference else escape(one.text)
        diff = diff or '<span class="quiet">(empty)</span>'
    strip = tokens.strip(one, color, largest) if one.tokens else ""
    return (
        f'<article class="sample"><div class="earned">{_earned(one, log)}</div>'
        f'<div class="said"><p class="diff" title="{escape(one.text)}">{diff}</p>{strip}'
        f'<p class="quiet number">{" · ".join(_about(several))}</p></div></article>'
    )


def _earned(one: Sample, log: str) -> str:
    """The reward and its parts; if it failed, a link to the `log`. Empty without rewards."""
    if one.reward is None:
        return f'<a class="badge bad" href="{escape(log)}">reward failed</a>' if log else ""
    parts = "".join(f"<span>{escape(name)}</span><span>{figure(value)}</span>" for name, value in one.parts.items())
    return f"<b>{figure(one.reward)}</b><div class='parts'>{parts}</div>"


def _about(several: Sequence[Sample]) -> list[str]:
    one = several[0]
    numbers = ", ".join(str(same.index) for same in several)
    weighed = f"advantage {tokens.signed(one.advantages[0])}" if one.advantages else ""
    if tokens.by_token([one]):
        low, high = (tokens.signed(value) for value in (min(one.advantages), max(one.advantages)))
        weighed = f"advantage {low} to {high} by token"
    length = f"{one.token_count} token{'' if one.token_count == 1 else 's'}" if one.token_count else ""
    cut = '<span class="badge warn">truncated</span>' if one.truncated else ""
    name = f"sample {numbers}" if len(several) == 1 else f"<b>{len(several)} identical</b>: samples {numbers}"
    return [part for part in (name, weighed, length, cut) if part]


def figure(value: float | None) -> str:
    """Format with three digits; a dash for None and NaN."""
    return "–" if value is None or math.isnan(value) else f"{round(value, 3) + 0.0:.3f}".replace("-", "−")
