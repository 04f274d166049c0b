"""A completion token by token, colored by advantage or probability."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from html import escape

from antiphon.dashboard.read.rollouts import Sample

LEVELS = 4
"""Shades per color."""
MOST = 1200
"""Maximum tokens shown; the rest is counted."""
_SURE = (0.9, 0.5, 0.2, 0.05)
"""Probability thresholds; a token is darker below each."""
_MARKER = re.compile(r"\s*<[^<>\s]+>\s*")


def by_token(samples: Iterable[Sample]) -> bool:
    """Whether advantages differ by token in any completion."""
    return any(len(one.advantages) == len(one.tokens) and _varies(one.advantages) for one in samples)


def reach(samples: Iterable[Sample]) -> float:
    """The largest absolute advantage, shown in the strongest color."""
    return max((abs(value) for one in samples for value in one.advantages if math.isfinite(value)), default=0.0)


def strip(sample: Sample, color: str, largest: float) -> str:
    """The tokens as HTML; `color` is "advantage", scaled by `largest`, or "probability"."""
    shown = []
    for place, text in enumerate(sample.tokens[:MOST]):
        advantage = sample.advantages[place] if len(sample.advantages) == len(sample.tokens) else None
        logprob = sample.logprobs[place] if len(sample.logprobs) == len(sample.tokens) else None
        shade = _by_advantage(advantage, largest) if color == "advantage" else _by_probability(logprob)
        marker = " marker" if _MARKER.fullmatch(text) else ""
        said = [f"advantage {signed(advantage)}"] if advantage is not None else []
        said += [f"probability {math.exp(logprob):.3f}"] if logprob is not None else []
        shown.append(f'<i class="{shade}{marker}" title="{" · ".join(said)}">{_visible(text)}</i>')
    left = len(sample.tokens) - MOST
    more = f' <span class="quiet">and {left} more tokens</span>' if left > 0 else ""
    return f'<div class="tokens">{"".join(shown)}{more}</div>'


def legend(color: str, largest: float) -> str:
    """The color legend of `strip`, as HTML."""
    if color == "probability":
        names = ["likely", "", "", "", "unlikely"]
        cells = "".join(f'<i class="u{level}">{name or "&ensp;"}</i>' for level, name in enumerate(names))
        return f'<span class="shades tokens">{cells}</span>'
    shades = [f"m{level}" for level in range(LEVELS, 0, -1)] + ["z"] + [f"p{level}" for level in range(1, LEVELS + 1)]
    names = [f"−{largest:.2g}", *[""] * (2 * LEVELS - 1), f"+{largest:.2g}"]
    cells = "".join(f'<i class="{shade}">{name or "&ensp;"}</i>' for shade, name in zip(shades, names, strict=True))
    return f'<span class="shades tokens">{cells}</span>'


def signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _varies(values: list[float]) -> bool:
    return bool(values) and max(values) - min(values) > 1e-6


def _by_advantage(value: float | None, largest: float) -> str:
    if value is None or not math.isfinite(value) or not largest:
        return "z"
    level = math.ceil(LEVELS * abs(value) / largest - 0.25)
    return "z" if level <= 0 else f"{'p' if value > 0 else 'm'}{min(level, LEVELS)}"


def _by_probability(logprob: float | None) -> str:
    return "u0" if logprob is None else f"u{sum(math.exp(logprob) < bound for bound in _SURE)}"


def _visible(text: str) -> str:
    """Make invisible tokens visible, as each takes a place."""
    return escape(text).replace("\n", "↵\n") or "&#8203;"
