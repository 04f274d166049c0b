"""Validates settings against a pydantic model; every error says what is wrong and the nearest valid name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from antiphon.errors import ConfigError, did_you_mean

Path = tuple[str | int, ...]
Name = Annotated[str, Field(min_length=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]


def listed(value: Any) -> Any:
    """Wrap a single value in a list; None becomes an empty one."""
    return [] if value is None else [value] if isinstance(value, str) else value


class Settings(BaseModel):
    """Base of every settings model: rejects unknown keys, type coercion, NaN and infinity."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, validate_default=True)


SettingsT = TypeVar("SettingsT", bound=BaseModel)


def validate_settings(
    model_cls: type[SettingsT],
    data: Mapping[str, Any],
    where: str | Callable[[Path], str],
    prefix: str = "",
) -> SettingsT:
    """Validate `data` as a `model_cls`.

    `where` is the origin of the settings in messages ("recipe.yaml"), or a function that returns it for a key's path.
    `prefix` is their parent key ("algorithm"), so that messages name a key as a user writes it.

    Raises `ConfigError` with a line per problem: the key, where it came from, what is wrong, and for an unknown
    key the nearest valid one.
    """
    try:
        return model_cls.model_validate(dict(data))
    except ValidationError as error:
        find = where if callable(where) else lambda _: where
        lines = [_message(problem, model_cls, find, prefix) for problem in error.errors(include_url=False)]
        raise ConfigError("\n".join(lines)) from None


def plain(value: Any, key: str) -> Any:
    """Convert the `value` of `key` to what YAML can hold: paths to text, tuples to lists, mappings to dicts.

    Raises `ConfigError` for a type that a recipe cannot hold.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)  # Drops a subclass, such as an enumeration.
    if isinstance(value, int | float):
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {name: plain(below, f"{key}.{name}") for name, below in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one, f"{key}[{place}]") for place, one in enumerate(value)]
    raise ConfigError(f"the setting {key!r} is of type {type(value).__name__}, which a recipe cannot hold")


def dotted(path: Path) -> str:
    """The key as a user writes it: `("data", "eval", 0)` becomes `data.eval[0]`."""
    key = ""
    for part in path:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else part
    return key


def _message(problem: ErrorDetails, model_cls: type[BaseModel], find: Callable[[Path], str], prefix: str) -> str:
    path: Path = tuple(problem["loc"])
    origin = f" in {find(path)}" if find(path) else ""
    if problem["type"] == "extra_forbidden":
        return f"unknown key {_dotted_key(prefix, path)!r}{origin}; {_suggest(path, model_cls, prefix)}"
    if problem["type"] == "missing" and isinstance(path[-1], int):
        return f"{_dotted_key(prefix, path[:-1])!r}{origin} has too few values; give value number {path[-1] + 1}"
    if problem["type"] == "missing":
        return f"key {_dotted_key(prefix, path)!r} is missing{origin}; add it"
    wrong = _reason(problem)
    key = _dotted_key(prefix, path)
    return f"{key!r}{origin} {wrong}" if key else wrong


def _dotted_key(prefix: str, path: Path) -> str:
    return dotted(((prefix,) if prefix else ()) + path)


def _suggest(path: Path, model_cls: type[BaseModel], prefix: str) -> str:
    """Suggest the nearest sibling key, else a similar key elsewhere, else list all siblings."""
    wanted = str(path[-1])
    keys = list(_keys(model_cls))
    neighbors = [key for key in keys if key[:-1] == path[:-1]]
    elsewhere = [key for key in keys if key[:-1] != path[:-1]]
    for candidates, cutoff in ((neighbors, 0.6), (elsewhere, 0.8)):
        names = {str(key[-1]): key for key in reversed(candidates)}
        hint = did_you_mean(wanted, names, "", cutoff, lambda one: repr(_dotted_key(prefix, names[one])))  # noqa: B023
        if hint:
            return hint
    return "valid keys here: " + ", ".join(str(key[-1]) for key in neighbors)


def _keys(model_cls: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in model_cls.model_fields.items():
        yield (*above, name)
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _keys(kind, (*above, name))


_EXPECTED = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be text (quote it if YAML reads it as something else)",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping of names to values",
    "model_type": "must be a mapping of settings",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "string_too_short": "must not be empty",
}


def _reason(problem: ErrorDetails) -> str:
    context = {name: _number(value) for name, value in problem.get("ctx", {}).items()}
    if problem["type"] == "value_error":
        return str(context["error"])
    expected = _EXPECTED.get(problem["type"])
    wrong = expected.format(**context) if expected else problem["msg"][0].lower() + problem["msg"][1:]
    return f"{wrong}, got {_shown(problem['input'])}"


def _number(value: Any) -> Any:
    return f"{value:g}" if isinstance(value, float) else value


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
