"""Transcripts that are there already: JSONL, Kaldi's text, sclite's trn, and data sets."""

import json

import pytest

from antiphon.errors import DataError
from antiphon.evaluate.normalizers import load_normalizer
from antiphon.evaluate.results import read_evaluation
from antiphon.evaluate.scoring import score_files
from antiphon.evaluate.transcript_files import read_transcripts

SAID = {"jo-1": "One two three.", "ann-2": "Four 5", "ann-3": ""}
HEARD = {"jo-1": "one too three", "ann-2": "four five", "ann-3": ""}


class Notes:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def phase(self, title, total=None): ...
    def advance(self, done): ...
    def noted(self, message):
        self.notes.append(message)


def write(path, form, texts, key="text"):
    rows = {
        "jsonl": (json.dumps({"id": id, key: text, "language": "en"}) for id, text in texts.items()),
        "kaldi": (f"{id} {text}".strip() for id, text in texts.items()),
        "trn": (f"{text} ({id})" for id, text in texts.items()),
    }
    path.write_text("\n".join(rows[form]) + "\n")
    return str(path)


@pytest.mark.parametrize("form", ["jsonl", "kaldi", "trn"])
def test_each_form_is_read_by_its_first_line(tmp_path, form):
    found = read_transcripts(write(tmp_path / "any.name", form, SAID))
    assert {id: line.text for id, line in found.items()} == SAID


@pytest.mark.parametrize("said", ["jsonl", "kaldi", "trn"])
@pytest.mark.parametrize(("heard", "key"), [("jsonl", "pred_text"), ("jsonl", "text"), ("kaldi", ""), ("trn", "")])
def test_any_two_forms_give_the_same_figures(tmp_path, said, heard, key):
    references, hypotheses = write(tmp_path / "ref", said, SAID), write(tmp_path / "hyp", heard, HEARD, key)
    found = score_files(hypotheses, references, load_normalizer(), Notes(), "en", output=tmp_path / "out")
    figures = found.sets["ref"]
    assert (figures["edits"], figures["ref_words"], figures["sub"], figures["non_speech"]) == (1, 5, 0.2, 1)
    assert figures["rules"] == {"English": 3}
    saved = read_evaluation(tmp_path / "out")
    assert saved.sets == found.sets
    assert [row["id"] for row in saved.rows["ref"]] == ["jo-1", "ann-2", "ann-3"]


def test_rows_without_ids_go_by_their_recording(tmp_path):
    rows = [{"audio_filepath": f"{name}.wav", "text": text} for name, text in SAID.items()]
    (tmp_path / "ref.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    heard = [row | {"pred_text": HEARD[name]} for row, name in zip(reversed(rows), reversed(SAID), strict=True)]
    (tmp_path / "hyp.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in heard))
    places = (str(tmp_path / "hyp.jsonl"), str(tmp_path / "ref.jsonl"))
    assert score_files(*places, load_normalizer(), Notes(), "en").sets["ref"]["edits"] == 1


def test_hypotheses_that_are_missing_are_an_error_and_further_ones_are_told(tmp_path):
    few = write(tmp_path / "few", "trn", {"jo-1": "one"})
    all_of_them = write(tmp_path / "all", "kaldi", SAID)
    with pytest.raises(DataError, match=r"few has no line for 2 of the 3 utterances of .*all, such as 'ann-2'; add"):
        score_files(few, all_of_them, load_normalizer(), Notes())
    notes = Notes()
    score_files(all_of_them, few, load_normalizer(), notes)
    assert "2 utterance(s)" in notes.notes[0]
    assert "they do not count" in notes.notes[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}\n', "'a' is there twice"),
        ('{"id": "a", "text": "x"}\nnonsense\n', "line 2: not valid JSON"),
        ('{"id": "a", "text": 3}\n', 'line 1: "text" is no text'),
        ("{ one / two } three (a)\n", "a has alternatives in braces"),
        ('{"id": "a", "text": "hello <|endoftext|>"}\n', "control token"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path, content, message):
    path = tmp_path / "file"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_transcripts(str(path))
