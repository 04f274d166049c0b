"""Recipe settings: teachers."""

from __future__ import annotations

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from antiphon.config.settings import Name, Settings
from antiphon.types import DType


class TeacherConfig(Settings):
    """A teacher for distillation: a model in this process, or one behind an OpenAI-compatible server."""

    model: Name | None = Field(
        default=None, description="Written like the recipe's `model`; with `url`, the served model name."
    )
    url: Name | None = Field(
        default=None, description="URL of a server that returns prompt_logprobs: http://host:8000/v1."
    )
    weight: PositiveFloat = Field(default=1.0, description="Relative weight among several teachers.")
    dtype: DType | None = Field(
        default=None, description="Data type of its forward pass in this process; default: the student's."
    )
    top_k: PositiveInt = Field(default=20, description="Most probable tokens to request from the server per position.")
    concurrency: PositiveInt = Field(default=16, description="Maximum concurrent requests.")
    timeout_s: PositiveFloat = Field(default=60.0, description="Timeout of a request, in seconds.")
    retries: NonNegativeInt = Field(default=2, description="Retries of a failed request.")
    api_key_env: Name | None = Field(
        default=None,
        description="Environment variable with the server's API key; default: ANTIPHON_API_KEY, if set.",
    )

    @model_validator(mode="after")
    def _one_place(self) -> TeacherConfig:
        if self.url is None and self.model is None:
            raise ValueError("a teacher needs a 'model', or the 'url' of a server")
        of_other_kind = ("dtype",) if self.url else ("top_k", "concurrency", "timeout_s", "retries", "api_key_env")
        fields = type(self).model_fields
        changed = [name for name in of_other_kind if getattr(self, name) != fields[name].default]
        if changed:
            where = "on a server" if self.url else "in this process"
            raise ValueError(f"a teacher {where} has no {changed[0]!r}; leave it out")
        return self
