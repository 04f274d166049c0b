"""A user's function by `file.py:function` or `package.module:function`."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from antiphon.errors import ConfigError, did_you_mean


def import_function(spec: str, what: str = "reward") -> Callable[..., Any]:
    """The function that `spec` names; messages call it a `what`. A file is run as a module, anew when it has changed;
    it can import files beside it.

    Raises `ConfigError` when the file or module cannot be found or run, or has no such function.
    """
    place, _, name = spec.rpartition(":")
    called = f"the {what} {spec!r}"
    if not place or not name:
        raise ConfigError(f"{called} names no function; write file.py:function or module:function")
    module = _run_file(Path(place), called) if place.endswith(".py") else _import_module(place, called)
    function = getattr(module, name, None)
    if function is None:
        raise ConfigError(f"{called}: {place} has no {name!r}; {_suggestion(module, name)}")
    if not callable(function):
        raise ConfigError(f"{called} is of type {type(function).__name__}, not callable; name a function")
    return function


def name_of(function: Callable[..., Any]) -> str:
    """What a function given as an object is called: `package.module:function`, or `file.py:function` of a script."""
    name = getattr(function, "__qualname__", type(function).__qualname__)
    script = getattr(sys.modules["__main__"], "__file__", None) if function.__module__ == "__main__" else None
    return f"{script or function.__module__}:{name}"


def _run_file(path: Path, called: str) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"{called}: there is no file {path} (looked for {path.absolute()}); correct the path")
    path = path.resolve()
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{called}: {path} cannot be read: {error.strerror}; correct it") from error
    name = f"antiphon_reward_{path.stem}_{hashlib.sha256(bytes(path) + source).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    sys.modules[name] = module = ModuleType(name)
    module.__file__ = str(path)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        exec(compile(source, str(path), "exec"), vars(module))
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(f"{called}: {path} cannot be run: {describe(error)}; correct it") from error
    return module


def _import_module(place: str, called: str) -> ModuleType:
    try:
        return importlib.import_module(place)
    except Exception as error:
        raise ConfigError(
            f"{called}: the module {place!r} cannot be imported: {describe(error)}; "
            "install it, or name its file: path/to/file.py:function"
        ) from error


def _suggestion(module: ModuleType, name: str) -> str:
    functions = [key for key, value in vars(module).items() if inspect.isfunction(value)]
    there = f"it has: {', '.join(functions)}" if functions else "it has no functions; write one"
    return did_you_mean(name, functions, there)


def describe(error: BaseException) -> str:
    """One line: the kind of error, what it says, and the last line of others' code that it passed through."""
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    own = Path(__file__).parents[1]
    frames = [one for one in traceback.extract_tb(error.__traceback__) if own not in Path(one.filename).parents]
    if isinstance(error, SyntaxError) or not frames:
        return said
    return f"{said} [{Path(frames[-1].filename).name}, line {frames[-1].lineno}]"
