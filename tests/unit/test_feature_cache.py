"""Features are kept by content, within a budget of bytes, and while the weights that made them stand."""

import pytest
import torch

from antiphon.models.feature_cache import FeatureCache

KILOBYTE = torch.zeros(256)


class Encoder:
    """Counts how often it is asked."""

    def __init__(self):
        self.weight, self.heard = torch.ones(2), []

    def hear(self, cache: FeatureCache, name: float, **others: torch.Tensor) -> torch.Tensor:
        def compute():
            self.heard.append(name)
            return (KILOBYTE + name,)

        return cache.get({"input_features": torch.full((3,), name), **others}, compute)[0]


@pytest.fixture
def encoder():
    return Encoder()


def test_the_same_input_is_heard_once_and_another_by_itself(encoder):
    cache = FeatureCache(1 << 20, [encoder.weight])
    assert encoder.hear(cache, 1.0).equal(encoder.hear(cache, 1.0))
    encoder.hear(cache, 1.0, mask=torch.ones(3))
    encoder.hear(cache, 1.0, mask=torch.ones(3, dtype=torch.long))
    encoder.hear(cache, 1.0, mask=torch.ones(1, 3))
    assert encoder.heard == [1.0] * 4


def test_the_least_recently_used_make_room(encoder):
    cache = FeatureCache(2048, [encoder.weight])
    for name in (1.0, 2.0, 1.0, 3.0):
        encoder.hear(cache, name)
    assert encoder.heard == [1.0, 2.0, 3.0]
    encoder.hear(cache, 1.0)
    assert encoder.heard == [1.0, 2.0, 3.0]
    encoder.hear(cache, 2.0)
    assert encoder.heard == [1.0, 2.0, 3.0, 2.0]


def test_what_is_larger_than_the_budget_is_not_kept(encoder):
    cache = FeatureCache(1000, [encoder.weight])
    encoder.hear(cache, 1.0)
    encoder.hear(cache, 1.0)
    assert encoder.heard == [1.0, 1.0]


def test_new_weights_make_new_features(encoder):
    cache = FeatureCache(1 << 20, [encoder.weight])
    encoder.hear(cache, 1.0)
    encoder.weight.mul_(2)
    encoder.hear(cache, 1.0)
    encoder.weight.data = torch.ones(2)
    encoder.hear(cache, 1.0)
    assert encoder.heard == [1.0] * 3


def test_features_carry_no_graph(encoder):
    encoder.weight.requires_grad_(True)
    cache = FeatureCache(1 << 20, [encoder.weight])
    features = cache.get({"input_features": KILOBYTE}, lambda: (encoder.weight * 2,))
    assert not features[0].requires_grad
