"""Runs that train adapters or a part of the model: what they save, load, resume and export."""

import json
import shutil
from pathlib import Path

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file

from antiphon.config import load_config
from antiphon.data.corpora.sets import builtin_set
from antiphon.errors import ConfigError, ModelError, RunError
from antiphon.models.audio_lm import AudioPrefixLM
from antiphon.models.internals import has_adapter
from antiphon.models.load import load_policy
from antiphon.models.policy import Policy
from antiphon.models.submodules import parts
from antiphon.run.resume import resumed_config
from antiphon.run.train import train
from antiphon.runs import RunFolder
from antiphon.tasks import asr

CPU = torch.device("cpu")
QUICK = ("eval.before=false", "eval.after=false", "gate.enabled=false", "train.steps=4", "rollout.prompts_per_step=2")
ADAPTED = (*QUICK, "lora={rank: 4}", "optimizer.lr=1e-2", "algorithm.beta=0.1")


def load(spec: object) -> AudioPrefixLM:
    policy = load_policy(str(spec), CPU, torch.float32)
    assert isinstance(policy, AudioPrefixLM)
    return policy


@torch.no_grad()
def scores(policy: Policy) -> torch.Tensor:
    """Log-probabilities of fixed answers to fixed clips, some about -30: `assert_close` bounds their relative rounding
    too, 1.3e-6 in float32."""
    examples = builtin_set("digits-clean")[:2]
    prompts = [
        asr.task.prompt(example, example.clip.load(policy.rate), policy.rate) for example in examples if example.clip
    ]
    tokens = torch.arange(20, 40).view(4, 5)
    return policy.logprobs(policy.encode(prompts), tokens, torch.ones(4, 5), 1.0)


def step(run: RunFolder, number: int) -> Path:
    return run.checkpoints.at(number).path


def resume(run: RunFolder, spec: str, *overrides: str) -> RunFolder:
    return train(resumed_config(spec, {"output": str(run.path.parent)}, overrides), resume=spec).run


@pytest.fixture(scope="module")
def adapted(recipe, tmp_path_factory) -> RunFolder:
    output = f"output={tmp_path_factory.mktemp('lora')}/runs"
    return train(load_config(None, [*recipe, *ADAPTED, output, "name=adapted"])).run


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory) -> RunFolder:
    output = f"output={tmp_path_factory.mktemp('lora')}/runs"
    return train(load_config(None, [*recipe, *ADAPTED, output, "name=whole", "lora.save=merged"])).run


def test_a_checkpoint_is_the_adapter_and_the_optimizer_knows_nothing_else(adapted):
    checkpoint = step(adapted, 4)
    assert not (checkpoint / "model.safetensors").exists()
    assert all("lora_" in name for name in load_file(checkpoint / "adapter_model.safetensors"))
    assert all("lora_" in name for name in load_file(checkpoint / "optimizer.safetensors"))
    assert (scores(load(checkpoint)) - scores(load("builtin:student"))).abs().max() > 0.01, "it has learned"


def test_the_reference_is_the_model_without_its_adapters(adapted):
    divergences = [row["kl_reference"] for row in adapted.metrics()]
    assert divergences[0] == 0
    assert divergences[-1] > 0


def test_transformers_and_peft_load_the_adapter_to_the_same_numbers(adapted):
    checkpoint, ours = step(adapted, 4), load(step(adapted, 4))
    architecture = transformers.Qwen3ASRForConditionalGeneration
    theirs = architecture.from_pretrained(checkpoint, dtype=torch.float32)
    base = architecture.from_pretrained(load("builtin:student").model.name_or_path, dtype=torch.float32)
    wrapped = peft.PeftModel.from_pretrained(base, checkpoint).base_model.model
    for model in (theirs, wrapped):
        assert torch.equal(scores(AudioPrefixLM(model, ours.processor)), scores(ours))


@pytest.mark.parametrize("form", ["adapted", "whole"])
def test_resuming_repeats_what_followed_bit_for_bit(form, request, tmp_path):
    original = request.getfixturevalue(form)
    run = RunFolder(Path(shutil.copytree(original.path, tmp_path / "runs" / original.id)))
    shutil.rmtree(step(run, 4))
    resume(run, f"{run.id}@2")
    files = sorted(path.relative_to(step(run, 4)) for path in step(run, 4).rglob("*") if path.is_file())
    assert files == sorted(
        path.relative_to(step(original, 4)) for path in step(original, 4).rglob("*") if path.is_file()
    )
    for file in files:
        assert (step(run, 4) / file).read_bytes() == (step(original, 4) / file).read_bytes(), file
    assert (run.path / "metrics.jsonl").read_bytes() == (original.path / "metrics.jsonl").read_bytes()


def test_a_resumed_adapter_of_another_rank_is_refused(adapted, tmp_path):
    run = RunFolder(Path(shutil.copytree(adapted.path, tmp_path / "runs" / adapted.id)))
    with pytest.raises(RunError, match="step-000004 cannot be resumed from: the adapter's tensors are of other layers"):
        resume(run, run.id, "lora.rank=2", "train.steps=5")


def test_a_merged_checkpoint_is_the_same_model_without_adapters(adapted, whole):
    assert (adapted.path / "metrics.jsonl").read_bytes() == (whole.path / "metrics.jsonl").read_bytes()
    merged = load(step(whole, 4))
    assert not has_adapter(merged.model)
    torch.testing.assert_close(scores(merged), scores(load(step(adapted, 4))))


def test_a_further_run_merges_the_adapter_that_it_starts_from(adapted, small):
    start = f"model={step(adapted, 4)}"
    further = train(small(*QUICK, start, "train.steps=1", "optimizer.lr=1e-12")).run
    torch.testing.assert_close(scores(load(step(further, 1))), scores(load(step(adapted, 4))))
    with pytest.raises(
        ConfigError, match=r"is an adapter itself.*set lora\.save=merged, or train from the whole model"
    ):
        train(small(*QUICK, start, "lora={}"))


def test_an_adapter_whose_model_is_gone_is_said(adapted, tmp_path):
    folder = Path(shutil.copytree(step(adapted, 4), tmp_path / "adapter"))
    settings = folder / "adapter_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "base_model_name_or_path": "/gone/model"}))
    with pytest.raises(
        ModelError, match=r"an adapter for the model '/gone/model', which does not exist; restore it, or"
    ):
        load(folder)


def test_export_writes_a_plain_model_or_the_adapter(adapted, cli, tmp_path):
    ours = scores(load(step(adapted, 4)))
    place = ("--runs", adapted.path.parent)
    payload = cli("export", f"{adapted.id}@4", tmp_path / "new" / "plain", *place, "--json").json
    assert (payload["form"], payload["dtype"]) == ("whole", "float32")
    assert payload["bytes"] == sum(file.stat().st_size for file in (tmp_path / "new" / "plain").iterdir())
    assert not list(tmp_path.rglob("adapter*"))
    torch.testing.assert_close(scores(load(tmp_path / "new" / "plain")), ours)
    payload = cli("export", adapted.id, tmp_path / "small", *place, "--adapter-only", "--json").json
    assert payload["form"] == "adapter"
    assert torch.equal(scores(load(tmp_path / "small")), ours)
    assert (
        cli("export", adapted.id, tmp_path / "half", *place, "--dtype", "bfloat16", "--json").json["dtype"]
        == "bfloat16"
    )
    assert {tensor.dtype for tensor in load_file(tmp_path / "half" / "model.safetensors").values()} == {torch.bfloat16}


def test_export_takes_the_adapter_out_of_a_merged_checkpoint(whole, cli, tmp_path):
    cli("export", f"{whole.id}@4", tmp_path / "adapter", "--runs", whole.path.parent, "--adapter-only", "--json")
    torch.testing.assert_close(scores(load(tmp_path / "adapter")), scores(load(step(whole, 4))))


def test_export_overwrites_nothing_and_leaves_nothing_behind(cli, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    refused = cli("export", "builtin:student", tmp_path / "full")
    assert refused.status == 2
    assert f"{tmp_path}/full exists already and is not overwritten; give the name of a new folder" in refused.err
    refused = cli("export", "builtin:student", tmp_path / "none", "--adapter-only")
    assert refused.status == 2
    assert "model 'builtin:student' has no adapter; leave --adapter-only out" in refused.err
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_a_frozen_encoder_stays_as_it_was_and_has_no_optimizer_state(small):
    run = train(small(*QUICK, "train.steps=1", "freeze=audio_encoder", "optimizer.lr=1e-2")).run
    before, after = (load(spec).model for spec in ("builtin:student", step(run, 1)))
    (encoder,) = parts(before)["audio_encoder"]
    same = {name: torch.equal(p, after.get_parameter(name)) for name, p in before.named_parameters()}
    assert all(same[name] == name.startswith(encoder) for name in same)
    assert not any(encoder in name for name in load_file(step(run, 1) / "optimizer.safetensors"))
