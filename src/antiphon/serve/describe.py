"""Converts an OpenAPI description to rows for a readable page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Field:
    """A field of a request."""

    name: str
    kind: str
    required: bool
    default: Any
    about: str


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    about: str
    form: str
    """Media type of the body; "" without one."""
    fields: list[Field]
    example: str
    """A command line."""


def operations(schema: Mapping[str, Any], base: str) -> list[Operation]:
    """The paths and fields in `schema`, an OpenAPI 3.1 description; paths with a body first.

    URLs of examples begin with `base`, that of the server.
    """
    found = [
        _operation(schema, method, path, what, base)
        for path, methods in schema["paths"].items()
        for method, what in methods.items()
    ]
    return sorted(found, key=lambda one: one.method != "POST")


def _operation(schema: Mapping[str, Any], method: str, path: str, what: Mapping[str, Any], base: str) -> Operation:
    fields = [
        _field(schema, one["name"], one["schema"], one.get("required", False)) for one in what.get("parameters", [])
    ]
    content = what.get("requestBody", {}).get("content", {})
    form = next(iter(content), "")
    if form:
        model = _resolved(schema, content[form]["schema"])
        required = model.get("required", [])
        fields += [_field(schema, name, one, name in required) for name, one in model["properties"].items()]
    example = what.get("x-example", "curl {url}").replace("{url}", base + path.partition("/{")[0])
    return Operation(method.upper(), path, what.get("description", ""), form, fields, example)


def _field(schema: Mapping[str, Any], name: str, one: Mapping[str, Any], required: bool) -> Field:
    kind = " or ".join(dict.fromkeys(_kinds(schema, one)))
    return Field(name, kind, required, one.get("default"), one.get("description", ""))


def _kinds(schema: Mapping[str, Any], one: Mapping[str, Any]) -> Iterator[str]:
    """The possible types of a value, except null."""
    if "$ref" in one:
        yield one["$ref"].rpartition("/")[2]
    elif "enum" in one:
        yield " | ".join(map(str, one["enum"]))
    elif "anyOf" in one:
        for choice in one["anyOf"]:
            yield from _kinds(schema, choice)
    elif one.get("type") == "array":
        yield f"list of {' or '.join(_kinds(schema, one.get('items', {})))}"
    elif one.get("contentMediaType") or one.get("format") == "binary":
        yield "file"
    elif one.get("type") != "null":
        yield one.get("type", "any")


def _resolved(schema: Mapping[str, Any], one: Mapping[str, Any]) -> Mapping[str, Any]:
    """Resolve a reference to the components."""
    if "$ref" not in one:
        return one
    return schema["components"]["schemas"][one["$ref"].rpartition("/")[2]]
