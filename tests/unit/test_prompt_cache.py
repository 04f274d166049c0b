"""What was computed from a prompt is kept while the prompt lives, and while there is room."""

import numpy as np
import torch

from antiphon.models.load import load_policy
from antiphon.models.prompt_cache import PromptCache, share_prepared
from antiphon.types import Prompt


def prompt(name: str) -> Prompt:
    return Prompt(name, np.zeros(4, np.float32), 16000)


def test_a_value_belongs_to_the_prompt_object():
    cache, asked = PromptCache(), prompt("a")
    value = cache.put(asked, {"features": torch.ones(3)})
    assert cache.get(asked) is value
    assert cache.get(prompt("a")) is None


def test_the_oldest_values_make_room_and_the_newest_always_stays():
    kilobyte = torch.zeros(256)
    cache, prompts = PromptCache(budget=2048), [prompt(str(i)) for i in range(4)]
    for one in prompts[:3]:
        cache.put(one, {"features": kilobyte})
    assert [cache.get(one) is not None for one in prompts] == [False, True, True, False]
    cache.put(prompts[3], {"features": torch.zeros(1024)})
    assert [cache.get(one) is not None for one in prompts] == [False, False, False, True]


def test_a_value_goes_with_its_prompt():
    cache, kept = PromptCache(), prompt("kept")
    cache.put(kept, torch.ones(1))
    for i in range(100):  # Ids of prompts that are gone come again.
        passing = prompt(str(i))
        assert cache.get(passing) is None
        cache.put(passing, torch.ones(1))
        del passing
    assert cache.get(kept) is not None
    assert len(cache._values) == 1


def test_policies_share_what_they_prepare_where_their_processors_agree():
    student, teacher, whisper = (
        load_policy(f"builtin:{name}", torch.device("cpu"), torch.float32) for name in ("student", "teacher", "whisper")
    )
    asked = Prompt("a", np.zeros(16000, np.float32), 16000)
    share_prepared(teacher, student)
    share_prepared(whisper, student)
    assert teacher.prepare(asked) is student.prepare(asked)
    assert whisper._prepared.get(asked) is None

    other = load_policy("builtin:student", torch.device("cpu"), torch.float32)
    other.processor.feature_extractor.dither = 0.1
    share_prepared(other, student)
    assert other.prepare(asked) is not student.prepare(asked)
