"""The server's metrics, read back as Prometheus reads them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from antiphon.serve.metrics import BOUNDS, Metrics

ODD = 'a "model"\\of\nours'


def read(text: str) -> tuple[dict[str, str], dict[tuple[str, frozenset], float]]:
    """The type of each family, and the value of each sample by its name and labels."""
    families = list(text_string_to_metric_families(text))
    samples = {(s.name, frozenset(s.labels.items())): s.value for one in families for s in one.samples}
    return {one.name: one.type for one in families}, samples


def engine(**state: Any) -> Any:
    return SimpleNamespace(**{"steps": 0, "waiting": 0, "running": 0, "trouble": None, **state})


def test_what_was_counted_is_read_back():
    metrics = Metrics({"/v1/models"})
    for path, status, seconds in (("/v1/models", 200, 0.2), ("/v1/models", 200, 7.0), ("/.env", 404, 0.0)):
        metrics.count(path, status, seconds)
    metrics.audio_seconds.inc(1.5)
    metrics.completion_tokens.inc(12)
    kinds, samples = read(metrics.text({ODD: engine(steps=3, waiting=2, running=1), "b": engine(trouble="gone")}))
    assert kinds == {
        "antiphon_requests": "counter",
        "antiphon_request_seconds": "histogram",
        "antiphon_audio_seconds": "counter",
        "antiphon_completion_tokens": "counter",
        "antiphon_engine_steps": "counter",
        "antiphon_engine_waiting": "gauge",
        "antiphon_engine_running": "gauge",
        "antiphon_engine_up": "gauge",
    }

    def value(name: str, **labels: str) -> float:
        return samples[f"antiphon_{name}", frozenset(labels.items())]

    assert value("requests_total", path="/v1/models", status="200") == 2
    assert value("requests_total", path="other", status="404") == 1
    within = [value("request_seconds_bucket", le=str(float(bound))) for bound in BOUNDS]
    assert within == [sum(seconds <= bound for seconds in (0.2, 7.0)) for bound in BOUNDS]
    assert value("request_seconds_bucket", le="+Inf") == value("request_seconds_count") == 2
    assert value("request_seconds_sum") == 7.2
    assert (value("audio_seconds_total"), value("completion_tokens_total")) == (1.5, 12)
    states = [value(f"engine_{name}", model=ODD) for name in ("steps_total", "waiting", "running", "up")]
    assert states == [3, 2, 1, 1]
    assert value("engine_up", model="b") == 0
    assert metrics.mean_seconds == 3.6


def test_servers_in_one_process_count_apart():
    one, other = Metrics(set()), Metrics(set())
    one.count("/", 200, 1.0)
    assert "antiphon_requests_total{" not in other.text({})
    assert one.mean_seconds == 0, "what is asked of no known path is no measure"
