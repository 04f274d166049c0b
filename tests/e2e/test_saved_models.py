"""What we save is a model of transformers', for which antiphon need not be there."""

import json
import subprocess
import sys

import torch

from antiphon.models import shared_cache
from antiphon.models.load import load_policy


def test_saved_checkpoints_load_without_antiphon(tmp_path):
    models = {
        name: load_policy(f"builtin:{name}", torch.device("cpu"), torch.float32) for name in ("student", "whisper")
    }
    for name, policy in models.items():
        assert policy.model.config.get_text_config()._attn_implementation == shared_cache.NAME
        policy.save(tmp_path / name)
        assert "antiphon_" not in "".join(path.read_text() for path in (tmp_path / name).glob("*config.json"))
    code = (
        "import sys, json, transformers as t\n"
        f"for folder in {[str(tmp_path / name) for name in models]}:\n"
        "    config = t.AutoConfig.from_pretrained(folder)\n"
        "    model = getattr(t, config.architectures[0]).from_pretrained(folder)\n"
        "    print(json.dumps([type(model).__name__, model.config.get_text_config()._attn_implementation]))\n"
        "assert not any(name.startswith('antiphon') for name in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = [json.loads(line) for line in done.stdout.splitlines()]
    assert loaded == [[type(policy.model).__name__, "sdpa"] for policy in models.values()]
