"""Server metrics in Prometheus' text format."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from antiphon.serve.worker import Worker
from antiphon.types import Seconds

BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Upper bounds of the histogram's buckets, in seconds."""

disable_created_metrics()  # Otherwise each series gets a second one with its creation time.


class Metrics:
    """Counters of one server, not shared by other servers in the process."""

    def __init__(self, paths: set[str]) -> None:
        """`paths` are counted separately, all others together."""
        self.paths = paths
        self._registry = CollectorRegistry()
        own = {"namespace": "antiphon", "registry": self._registry}
        self.requests = Counter("requests", "Requests answered.", ("path", "status"), **own)
        self.seconds = Histogram(
            "request_seconds", "Time from a request's head to the end of its answer.", buckets=BOUNDS, **own
        )
        self.audio_seconds = Counter("audio_seconds", "Audio received.", **own)
        self.completion_tokens = Counter("completion_tokens", "Tokens of answers.", **own)
        self._last: deque[Seconds] = deque(maxlen=32)

    @property
    def mean_seconds(self) -> Seconds:
        """Mean duration of the last requests."""
        return sum(self._last) / max(len(self._last), 1)

    def count(self, path: str, status: int, seconds: Seconds) -> None:
        path = path if path in self.paths else "other"
        self.requests.labels(path, status).inc()
        if status == 200 and path != "other":
            self._last.append(seconds)
            self.seconds.observe(seconds)

    def text(self, workers: Mapping[str, Worker]) -> str:
        """All metrics, with the state of the workers by model name."""
        return (generate_latest(self._registry) + generate_latest(_WorkerStates(workers))).decode()


class _WorkerStates(Collector):
    """Collects the workers' metrics on demand."""

    def __init__(self, workers: Mapping[str, Worker]) -> None:
        self._workers = workers

    def collect(self) -> Iterator[Metric]:
        steps = CounterMetricFamily("antiphon_engine_steps", "Decoding steps.", labels=["model"])
        waiting = GaugeMetricFamily("antiphon_engine_waiting", "Waiting jobs.", labels=["model"])
        running = GaugeMetricFamily("antiphon_engine_running", "Answers being generated.", labels=["model"])
        up = GaugeMetricFamily("antiphon_engine_up", "1 while the worker is well.", labels=["model"])
        for model, worker in self._workers.items():
            steps.add_metric([model], worker.steps)
            waiting.add_metric([model], worker.waiting)
            running.add_metric([model], worker.running)
            up.add_metric([model], worker.trouble is None)
        yield from (steps, waiting, running, up)
