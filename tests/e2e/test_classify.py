"""A classifier from file to figures: measured, taught by the exact expected reward, and refused a beam."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from conftest import write_rows
from tiny_classifier import LABELS, wav2vec2_group

from antiphon.config import load_config
from antiphon.errors import ConfigError
from antiphon.models.classifier import Classifier
from antiphon.run.train import train


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


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """A folder with a classifier that knows nothing yet, and low, middle and high tones called no, yes and up."""
    folder = tmp_path_factory.mktemp("tones")
    torch.manual_seed(0)
    Classifier(*wav2vec2_group()).save(folder / "model")
    rows = []
    for number, (label, hertz) in enumerate([("no", 200), ("yes", 900), ("up", 3000)] * 4):
        wave = torch.sin(torch.arange(8000) * (2 * torch.pi * hertz / 16000)) + 0.05 * torch.randn(8000)
        soundfile.write(folder / f"{number}.wav", 0.3 * wave.numpy(), 16000)
        rows.append({"audio": f"{number}.wav", "text": label})
    write_rows(folder / "rows.jsonl", rows)
    return folder


def listing(tones, output, *overrides: str):
    """A recipe that learns from every label of each clip."""
    rows = tones / "rows.jsonl"
    return load_config(
        overrides=[
            f"model={tones / 'model'}",
            "task=classify",
            "algorithm={name: mwer, hypotheses: all}",
            "reward=exact",
            f"data={{train: {rows}, eval: {rows}}}",
            "rollout.prompts_per_step=6",
            "optimizer.lr=5e-3",
            f"output={output}",
            "device=cpu",
            "threads=1",
            *overrides,
        ]
    )


def test_the_expected_reward_over_all_labels_teaches_a_classifier(tones, tmp_path):
    result = train(listing(tones, tmp_path, "train.steps=30"))
    (before,), (after,) = result.before.values(), result.after.values()
    assert after["accuracy"] >= before["accuracy"] + 0.3
    answers = pq.read_table(result.run.path / "rollouts" / "step-000001.parquet")["text"].to_pylist()
    assert answers == 6 * LABELS


def test_a_group_that_is_not_every_label_is_refused(tones, tmp_path):
    with pytest.raises(ConfigError, match=r"'rollout\.group_size' is 4, but the model has 7 labels; leave it out"):
        train(listing(tones, tmp_path, "rollout.group_size=4"))
