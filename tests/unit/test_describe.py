"""What the page of the API says of a request is what its description says."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import FastAPI, Form, UploadFile
from pydantic import BaseModel, Field

from antiphon.serve.describe import operations

app = FastAPI()


class Part(BaseModel):
    text: str


class Wish(BaseModel):
    parts: str | list[Part]
    heat: float | None = Field(default=None, description="How hot.")


@app.get("/state")
def state(which: int = 3) -> None:
    """How it is."""


@app.post("/wish")
def wish(wanted: Wish) -> None: ...


@app.post("/send")
def send(file: UploadFile, form: Annotated[Literal["a", "b"], Form()] = "a") -> None: ...


def test_each_operation_is_told_with_its_fields():
    wished, sent, stated = operations(app.openapi(), "http://127.0.0.1:8025")
    assert [(one.method, one.path) for one in (wished, sent, stated)] == [
        ("POST", "/wish"),
        ("POST", "/send"),
        ("GET", "/state"),
    ]
    assert (wished.form, sent.form, stated.form) == ("application/json", "multipart/form-data", "")
    assert stated.about == "How it is."
    fields = [(one.name, one.kind, one.required, one.default, one.about) for one in wished.fields]
    assert fields == [
        ("parts", "string or list of Part", True, None, ""),
        ("heat", "number", False, None, "How hot."),
    ]
    assert [(one.name, one.kind, one.required, one.default) for one in sent.fields] == [
        ("file", "file", True, None),
        ("form", "a | b", False, "a"),
    ]
    assert [(one.name, one.default) for one in stated.fields] == [("which", 3)]
