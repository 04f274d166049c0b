"""Only one module reaches into transformers, peft and torch, and what it sets up concerns our own models alone."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import torch
from transformers import AttentionInterface, AutoModelForCausalLM, Qwen3Config

import antiphon
from antiphon.models import internals, shared_cache
from antiphon.models.load import load_policy

SOURCE = Path(antiphon.__file__).parent
DOOR = "models/internals.py"
OTHER_LIBRARIES = {"audio/synth.py": {"_handle"}, "api/prepare.py": {"_fingerprint"}}
"""Private names of ctypes and datasets, which have one use each."""
DOCUMENTED = {"transformers.audio_utils", "transformers.utils"}
"""Modules whose names transformers documents."""
OWN_TABLES = {
    "builtin/architecture.py": {"transformers.models.qwen2.tokenization_qwen2"},
    "cli/models.py": {"transformers.models.auto"},
    "text/whisper_rules.py": {"transformers.models.whisper"},
}
"""What is made of a table or a rule of transformers', and below or above the door's layer."""
GUARDED = ("transformers", "peft", "torch", "safetensors", "tokenizers")


@cache
def modules() -> dict[str, ast.Module]:
    return {str(path.relative_to(SOURCE)): ast.parse(path.read_text()) for path in SOURCE.rglob("*.py")}


def own_names(trees: dict[str, ast.Module]) -> set[str]:
    """Private names that code of ours defines: functions, classes, variables, and attributes that are assigned to."""
    names: set[str] = set()
    for place, tree in trees.items():
        for node in ast.walk(tree) if place != DOOR else ():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and of_self(node):
                names.add(node.attr)
    return names


def of_self(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


def is_private(name: object) -> bool:
    return isinstance(name, str) and re.fullmatch(r"_[a-zA-Z]\w*", name) is not None


def private_uses(tree: ast.Module) -> set[str]:
    """Attributes with a leading underscore, by a dot or by name, other than the object's own."""
    used: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and not of_self(node):
            used.add(node.attr)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) > 1:
            name = node.args[1].value if isinstance(node.args[1], ast.Constant) else None
            if node.func.id in ("getattr", "setattr", "hasattr", "delattr") and is_private(name):
                used.add(str(name))
    return used


def deep_imports(tree: ast.Module) -> set[str]:
    """Modules within the libraries, deeper than what they export at the top, and private names of theirs."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or (node.module or "").split(".")[0] not in GUARDED:
            continue
        assert node.module is not None
        private = [name for name in (*node.module.split("."), *(one.name for one in node.names)) if is_private(name)]
        deep = "." in node.module and node.module.split(".")[0] in ("transformers", "peft")
        if private or (deep and node.module not in DOCUMENTED):
            found.add(node.module)
    return found


def test_no_other_module_uses_a_private_name():
    trees = modules()
    own = own_names(trees)
    strays = {
        place: uses
        for place, tree in trees.items()
        if place != DOOR and (uses := private_uses(tree) - own - OTHER_LIBRARIES.get(place, set()))
    }
    assert not strays, f"private names of a library outside {DOOR}: {strays}"


def test_no_other_module_imports_from_deep_inside():
    strays = {
        place: found
        for place, tree in modules().items()
        if place != DOOR and (found := deep_imports(tree) - OWN_TABLES.get(place, set()))
    }
    assert not strays, f"imports from inside a library outside {DOOR}: {strays}"


def test_the_rule_finds_what_it_is_for():
    tree = ast.parse('model._inner(1)\ngetattr(model, "_loaded", 0)\nself._own\nfrom peft.tuners.lora import LoraLayer')
    assert private_uses(tree) == {"_inner", "_loaded"}
    assert deep_imports(tree) == {"peft.tuners.lora"}


def attention_of(model) -> str:
    return model.config.get_text_config()._attn_implementation


def test_other_models_in_the_process_keep_their_attention():
    functions = AttentionInterface()
    before = functions["sdpa"]
    policy = load_policy("builtin:student", torch.device("cpu"), torch.float32)
    other = AutoModelForCausalLM.from_config(Qwen3Config(hidden_size=16, num_hidden_layers=1, vocab_size=8))
    assert attention_of(policy.model) == shared_cache.NAME
    assert attention_of(other) == "sdpa"
    assert functions["sdpa"] is before is internals.sdpa_attention_forward


@pytest.mark.parametrize("kept", ["eager", "flex_attention"])
def test_a_decoder_with_another_implementation_keeps_it(kept):
    model = AutoModelForCausalLM.from_config(
        Qwen3Config(hidden_size=16, num_hidden_layers=1, vocab_size=8), attn_implementation=kept
    )
    shared_cache.share_prompts(model.get_decoder())
    assert attention_of(model) == kept


def test_a_decoder_that_asks_for_sdpa_by_name_keeps_it():
    from transformers import DeepseekV32Model, FalconModel, Gemma4TextModel, Qwen3Model

    assert all(internals._asks_for_sdpa(kind) for kind in (DeepseekV32Model, FalconModel, Gemma4TextModel))
    assert not internals._asks_for_sdpa(Qwen3Model)
