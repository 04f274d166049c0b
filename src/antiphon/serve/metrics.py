"""What the server has done, in Prometheus' text format (version 0.0.4)."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping

from antiphon.serve.engine import Engine
from antiphon.types import Seconds

BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Upper ends of the histogram's buckets, in seconds."""


class Metrics:
    """Counters, kept by the event loop."""

    def __init__(self, paths: set[str]) -> None:
        """`paths` are told apart; all others are counted as one."""
        self.paths = paths
        self.requests: Counter[tuple[str, int]] = Counter()
        self.audio_seconds = 0.0
        self.completion_tokens = 0
        self._within: Counter[float] = Counter()
        self._sum, self._count = 0.0, 0
        self._last: deque[Seconds] = deque(maxlen=32)

    @property
    def mean_seconds(self) -> Seconds:
        """That the last answered requests took."""
        return sum(self._last) / max(len(self._last), 1)

    def count(self, path: str, status: int, seconds: Seconds) -> None:
        path = path if path in self.paths else "other"
        self.requests[path, status] += 1
        if status != 200 or path == "other":
            return
        self._last.append(seconds)
        self._sum, self._count = self._sum + seconds, self._count + 1
        self._within.update(bound for bound in BOUNDS if seconds <= bound)

    def text(self, engines: Mapping[str, Engine]) -> str:
        """All of it, and the state of the models' engines."""
        lines = [
            *_head("requests_total", "counter", "Requests answered."),
            *(f'antiphon_requests_total{{path="{p}",status="{s}"}} {n}' for (p, s), n in sorted(self.requests.items())),
            *_head("request_seconds", "histogram", "Time from a request's head to the end of its answer."),
            *(f'antiphon_request_seconds_bucket{{le="{bound:g}"}} {self._within[bound]}' for bound in BOUNDS),
            f'antiphon_request_seconds_bucket{{le="+Inf"}} {self._count}',
            f"antiphon_request_seconds_sum {self._sum:.6f}",
            f"antiphon_request_seconds_count {self._count}",
        ]
        totals = [
            ("audio_seconds_total", "Audio received.", f"{self.audio_seconds:.3f}"),
            ("completion_tokens_total", "Tokens of answers.", self.completion_tokens),
        ]
        for name, what, value in totals:
            lines += [*_head(name, "counter", what), f"antiphon_{name} {value}"]
        states = [
            ("engine_steps_total", "counter", "Decoding steps.", lambda engine: engine.steps),
            ("engine_waiting", "gauge", "Jobs that have not begun.", lambda engine: engine.waiting),
            ("engine_running", "gauge", "Answers in the making.", lambda engine: engine.running),
            ("engine_up", "gauge", "1 while the engine is well.", lambda engine: int(engine.trouble is None)),
        ]
        for name, kind, what, value in states:
            lines += _head(name, kind, what)
            lines += [f"antiphon_{name}{{model={_quoted(model)}}} {value(one)}" for model, one in engines.items()]
        return "\n".join(lines) + "\n"


def _head(name: str, kind: str, what: str) -> list[str]:
    return [f"# HELP antiphon_{name} {what}", f"# TYPE antiphon_{name} {kind}"]


def _quoted(label: str) -> str:
    """A label's value as the format wants it."""
    for character, written in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n")):
        label = label.replace(character, written)
    return f'"{label}"'
