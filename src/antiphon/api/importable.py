"""Checks whether another process can import a reward by name."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from antiphon.errors import ConfigError

_REMEDY = "put it into a file and name it, reward='my_rewards.py:function', or use train(), which needs no name"


def require_importable(reward: Any) -> None:
    """Raises `ConfigError` if `reward`, in any form of a recipe, has a function that cannot be imported by name."""
    for function in _functions(reward):
        if obstacle := _obstacle(function):
            name = getattr(function, "__qualname__", type(function).__name__)
            raise ConfigError(f"launch() cannot give the reward {name!r} to another process: {obstacle}; {_REMEDY}")


def _functions(reward: Any) -> Iterator[Callable[..., Any]]:
    if isinstance(reward, Mapping):
        yield from _functions(reward.get("name"))
    elif isinstance(reward, Sequence) and not isinstance(reward, str):
        for one in reward:
            yield from _functions(one)
    elif callable(reward):
        yield reward


def _obstacle(function: Callable[..., Any]) -> str | None:
    if not inspect.isfunction(function):
        return f"it is an object of type {type(function).__name__}, not a function of a module"
    name, module = function.__qualname__, sys.modules.get(function.__module__)
    if "<lambda>" in name:
        return "it is a lambda"
    if "<locals>" in name:
        return "it is defined inside another function"
    if getattr(module, name, None) is not function:
        return f"{function.__module__} no longer has this {name!r}"
    if function.__module__ != "__main__":
        return None
    script = getattr(module, "__file__", None)
    if script is None:
        return "it is defined in a notebook or an interactive session, not in a file"
    if not _guards_its_work(Path(script)):
        return (
            f'importing it would run the whole of {script} again, as that has no if __name__ == "__main__": '
            "around its main part"
        )
    return None


def _guards_its_work(script: Path) -> bool:
    tests = [ast.unparse(one.test) for one in ast.parse(script.read_bytes()).body if isinstance(one, ast.If)]
    return any(test in ("__name__ == '__main__'", "'__main__' == __name__") for test in tests)
