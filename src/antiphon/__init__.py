"""Antiphon: post-train speech and audio-language models from what they themselves say.

The names below are the Python API; each is imported when it is first used, so that `import antiphon` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from antiphon.api.datasets import MultimodalDataset, open_dataset
    from antiphon.api.deploy import DeploymentConfig, ModelDeployment
    from antiphon.api.evaluate import EvalConfig, EvalResult
    from antiphon.api.launch import LaunchedRun
    from antiphon.api.rows import AudioEvalRowResult, EvalRowResult
    from antiphon.api.sweep import SweepResult, TrainingGroup
    from antiphon.api.train import Recipe, TrainConfig, list_checkpoints

__version__ = "0.1.0"
__all__ = [
    "AudioEvalRowResult",
    "DeploymentConfig",
    "EvalConfig",
    "EvalResult",
    "EvalRowResult",
    "LaunchedRun",
    "ModelDeployment",
    "MultimodalDataset",
    "Recipe",
    "SweepResult",
    "TrainConfig",
    "TrainingGroup",
    "list_checkpoints",
    "open_dataset",
]
_MODULES = {
    "datasets": ["MultimodalDataset", "open_dataset"],
    "deploy": ["DeploymentConfig", "ModelDeployment"],
    "evaluate": ["EvalConfig", "EvalResult"],
    "launch": ["LaunchedRun"],
    "rows": ["AudioEvalRowResult", "EvalRowResult"],
    "sweep": ["SweepResult", "TrainingGroup"],
    "train": ["Recipe", "TrainConfig", "list_checkpoints"],
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"antiphon.api.{module}"), name)
    raise AttributeError(f"module 'antiphon' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
