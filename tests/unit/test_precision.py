"""The types of computation: which a command takes, and which a run takes."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from antiphon.config import load_config
from antiphon.distributed.device import resolve_dtype
from antiphon.errors import ConfigError
from antiphon.types import DType


@pytest.mark.parametrize("name", get_args(DType))
def test_every_type_resolves(name):
    dtype = resolve_dtype(name, torch.device("cpu"))
    assert dtype == torch.float32 if name == "auto" else str(dtype) == f"torch.{name}"


def test_no_run_trains_in_float16_and_a_teacher_may_compute_in_it():
    with pytest.raises(ConfigError, match=r"'dtype' in .*float16.* round small gradients to 0.*train in bfloat16"):
        load_config(overrides=["dtype=float16"])
    config = load_config(overrides=["algorithm=opd", "teacher={model: builtin:teacher, dtype: float16}"])
    assert config.teacher[0].dtype == "float16"
