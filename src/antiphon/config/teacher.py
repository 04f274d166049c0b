"""What a recipe may say of a teacher."""

from __future__ import annotations

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from antiphon.config.settings import Name, Settings
from antiphon.types import DType


class TeacherConfig(Settings):
    """One model that distillation learns from: in this process, or behind an OpenAI-compatible server."""

    model: Name | None = Field(default=None, description="As for `model`; with `url`, the name it is served by.")
    url: Name | None = Field(default=None, description="Of a server that tells prompt_logprobs: http://host:8000/v1.")
    weight: PositiveFloat = Field(default=1.0, description="Its share among several teachers.")
    dtype: DType | None = Field(
        default=None, description="Type of its computation in this process; the student's by default."
    )
    top_k: PositiveInt = Field(default=20, description="Most probable tokens that the server tells at each place.")
    concurrency: PositiveInt = Field(default=16, description="Requests in flight at a time.")
    timeout_s: PositiveFloat = Field(default=60.0, description="Seconds that a request may take.")
    retries: NonNegativeInt = Field(default=2, description="Further tries of a request that fails.")
    api_key_env: Name | None = Field(
        default=None,
        description="Environment variable with the server's key; ANTIPHON_API_KEY by default, where that is set.",
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
