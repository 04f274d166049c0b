"""A checkpoint must bring all that its model needs, or be refused by name."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from antiphon.errors import ModelError
from antiphon.models.complete import require_weights
from antiphon.models.load import load_policy, locate

CPU = torch.device("cpu")


@pytest.fixture
def student(tmp_path) -> Path:
    """A copy of the student, to damage."""
    return Path(shutil.copytree(locate("builtin:student"), tmp_path / "student"))


def refused(folder: Path) -> str:
    with pytest.raises(ModelError) as error:
        load_policy(str(folder), CPU, torch.float32)
    return str(error.value)


def rewrite(folder: Path, change) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def test_missing_weights_are_named(student):
    rewrite(student, lambda tensors: [tensors.pop(name) for name in list(tensors) if "multi_modal_projector" in name])
    message = refused(student)
    assert message.startswith(f"the checkpoint of model '{student}' does not match its configuration: ")
    assert "model.multi_modal_projector.linear_1.bias, model.multi_modal_projector.linear_1.weight" in message
    assert message.endswith("would be random; use a checkpoint of the whole model, with the head of its task")


def test_weights_of_another_shape_are_named(student):
    rewrite(student, lambda tensors: tensors.update({"model.language_model.norm.weight": torch.ones(7)}))
    assert "model.language_model.norm.weight ([7], not [" in refused(student)


def test_weights_of_pre_training_alone_may_be_missing():
    require_weights({"missing_keys": {"wav2vec2.masked_spec_embed"}, "mismatched_keys": set()}, "m")
    with pytest.raises(ModelError, match=r": a, b, c, d, e and 2 more would be random"):
        require_weights({"missing_keys": set("abcdefg"), "mismatched_keys": set()}, "m")


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(student):
    path = student / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    last = max(token["id"] for token in tokenizer["added_tokens"])
    last = max(last, *tokenizer["model"]["vocab"].values())
    tokenizer["added_tokens"].append({**tokenizer["added_tokens"][-1], "id": last + 1, "content": "<extra>"})
    path.write_text(json.dumps(tokenizer))
    rows = last + 1
    assert f"token '<extra>' has the id {rows}, but the model has only {rows} ids, from 0" in refused(student)
