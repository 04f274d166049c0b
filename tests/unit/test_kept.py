"""Transcripts kept while an evaluation runs."""

import pytest
import torch

from antiphon.errors import RunError
from antiphon.evaluate.kept import KeptTranscripts, clip_names, weights_digest
from antiphon.evaluate.recognize import Portion, Transcript
from antiphon.types import Example, Text

SETUP = {"weights": "abc", "beam": None}


def asked(*ids: str, prompt: str = "what?") -> list[Example]:
    return [Example(id, "text", None, "", columns={"prompt": prompt}) for id in ids]


def heard(*ids: str, spent: float = 1.0) -> Portion:
    return Portion(list(ids), [Transcript(Text(f"said {id}"), 2.0, "stop", None) for id in ids], spent)


def test_what_was_kept_is_there_again(tmp_path):
    kept = KeptTranscripts(tmp_path / "new" / "dev.jsonl", SETUP)
    kept.add(heard("a", "b"), clip_names(asked("a", "b")), batch_size=4)
    again = KeptTranscripts(tmp_path / "new" / "dev.jsonl", SETUP)
    found = again.of(asked("a", "b", "c"))
    assert found == {id: Transcript(Text(f"said {id}"), 2.0, "stop", None) for id in ("a", "b")}
    assert again.of(asked("b")) == {"b": found["b"]}


def test_an_id_that_names_another_clip_is_recognized_again(tmp_path):
    kept = KeptTranscripts(tmp_path / "dev.jsonl", SETUP)
    kept.add(heard("a"), clip_names(asked("a")), batch_size=4)
    assert kept.of(asked("a", prompt="who?")) == {}


def test_a_line_torn_by_a_kill_is_as_if_never_written(tmp_path):
    path = tmp_path / "dev.jsonl"
    KeptTranscripts(path, SETUP).add(heard("a"), clip_names(asked("a")), batch_size=4)
    with path.open("a") as file:
        file.write('{"batch_size": 4, "rows": [{"id": "b", "te')
    kept = KeptTranscripts(path, SETUP)
    assert set(kept.of(asked("a", "b"))) == {"a"}
    kept.add(heard("b"), clip_names(asked("b")), batch_size=4)
    assert set(KeptTranscripts(path, SETUP).of(asked("a", "b"))) == {"a", "b"}


def test_transcripts_of_another_model_are_not_mixed_in(tmp_path):
    path = tmp_path / "dev.jsonl"
    KeptTranscripts(path, SETUP)
    with pytest.raises(RunError, match=r"made with beam None \(now 8\); name another --output, or remove the file"):
        KeptTranscripts(path, {**SETUP, "beam": 8})


def test_speed_is_that_of_the_batch_size_asked_for(tmp_path):
    kept = KeptTranscripts(tmp_path / "dev.jsonl", SETUP)
    kept.add(heard("a", "b", spent=0.5), clip_names(asked("a", "b")), batch_size=2)
    kept.add(heard("c", spent=4.0), clip_names(asked("c")), batch_size=1)
    assert (kept.speed(2), kept.speed(1), kept.speed(64)) == (8.0, 0.5, None)


def test_the_digest_tells_weights_apart_and_nothing_else():
    torch.manual_seed(0)
    one, other = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    assert weights_digest(one) != weights_digest(other)
    other.load_state_dict(one.state_dict())
    assert weights_digest(one) == weights_digest(other)
    assert weights_digest(one) != weights_digest(torch.nn.Sequential(one))
