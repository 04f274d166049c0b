"""A classifier from file to figures: `antiphon eval --task classify`, and a beam where there is none."""

from __future__ import annotations

import pytest
import soundfile
import torch
from conftest import write_rows
from tiny_classifier import LABELS, wav2vec2_group

from antiphon.models.classifier import Classifier


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A folder with a classifier that takes every clip for "down", and rows of which two thirds are."""
    folder = tmp_path_factory.mktemp("classifier")
    model, extractor = wav2vec2_group()
    torch.nn.init.zeros_(model.classifier.weight)
    with torch.no_grad():
        model.classifier.bias.copy_(torch.nn.functional.one_hot(torch.tensor(LABELS.index("down")), len(LABELS)))
    Classifier(model, extractor).save(folder / "model")
    labels, rows = ["down", "down", "yes"] * 2, []
    for number, label in enumerate(labels):
        soundfile.write(folder / f"{number}.wav", 0.1 * torch.randn(8000).numpy(), 16000)
        rows.append({"audio": f"{number}.wav", "text": label})
    write_rows(folder / "rows.jsonl", rows)
    return folder


def test_eval_reports_accuracy_f1_and_confusions_and_no_wer(cli, classifier):
    arguments = ("eval", classifier / "model", "--data", classifier / "rows.jsonl", "--task", "classify")
    (figures,) = cli(*arguments, "--json").json.values()
    assert figures["accuracy"] == pytest.approx(4 / 6)
    assert figures["ci"][0] <= figures["accuracy"] <= figures["ci"][1]
    assert figures["macro_f1"] == pytest.approx((2 * 4 / (4 + 6) + 0) / 2)
    assert figures["confusion"] == {"down": {"down": 4}, "yes": {"down": 2}}
    assert "wer" not in figures
    shown = cli(*arguments).out
    for words in ("accuracy [95%]", "macro F1", "66.7%", "yes taken for down: 2"):
        assert words in shown
    assert "WER" not in shown


def test_a_beam_is_refused_where_there_is_nothing_to_search(cli, classifier):
    failed = cli("eval", classifier / "model", "--data", classifier / "rows.jsonl", "--task", "classify", "--beam", 4)
    assert failed.status == 2
    assert "beam search is for CTC models, and Wav2Vec2ForSequenceClassification is none" in failed.err
