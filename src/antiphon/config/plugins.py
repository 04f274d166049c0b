"""Finds plugins by `NAME`, `package.module:name` or `file.py:name`, the same way for every kind."""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from antiphon.errors import ConfigError, describe, did_you_mean


@dataclass(frozen=True)
class Kind:
    """A kind of plugin: task, reader, engine, tracker, algorithm, reward, normalizer or eval function."""

    name: str
    """Its name in messages, such as "reward"."""
    package: str | None = None
    """The package that holds the built-in plugins, one module each; None if there are no built-in ones."""
    offers: tuple[str, ...] = ()
    """Names that a plugin must define. Modules of `package` without them are not plugins."""
    attribute: str | None = None
    """The name of the plugin within its module; None if the module itself is the plugin."""
    function: bool = False
    """Whether a plain function is accepted too, whatever `offers` requires."""

    def names(self) -> list[str]:
        """The names of the built-in plugins."""
        return [name for name in self._modules() if self._is_part(self._builtin(name))]

    def load(self, spec: str, key: str = "") -> Any:
        """Load a plugin: a built-in one by its `NAME`, or the user's, looked up from the working folder.

        The user's is `package.module:name` or `file.py:name`; without `:name` it is the module, or the module's
        `attribute`. A file is run as a module, again only if its content changes, and can import files next to it.
        `key` is the recipe key that holds `spec`, for messages.

        Raises `ConfigError` with the spec, the cause, the remedy and the nearest valid name.
        """
        if not is_path(spec):
            part = self._builtin(spec) if spec in self._modules() else None
            if not self._is_part(part):
                where = f" in {key!r}" if key else ""
                hint = did_you_mean(spec, self.names())
                raise ConfigError(f"unknown {self.name} {spec!r}{where}; {hint} (your own is written {self._form()})")
            return part
        called = f"the {self.name} {spec!r}"
        place, _, name = spec.rpartition(":") if ":" in spec else (spec, "", self.attribute or "")
        if not place or (":" in spec and not name):
            raise ConfigError(f"{called} is incomplete; write {self._form()}")
        module = _run_file(Path(place), called) if place.endswith(".py") else _import_module(place, called)
        if name and not hasattr(module, name):
            raise ConfigError(f"{called}: {place} has no {name!r}; {self._suggestion(module, name)}")
        part = getattr(module, name) if name else module
        self._require(part, called)
        return part

    def _modules(self) -> list[str]:
        if self.package is None:
            return []
        return sorted(one.name for one in pkgutil.iter_modules(importlib.import_module(self.package).__path__))

    def _builtin(self, name: str) -> Any:
        module = importlib.import_module(f"{self.package}.{name}")
        return getattr(module, self.attribute, None) if self.attribute else module

    def _is_part(self, part: Any) -> bool:
        return part is not None and all(hasattr(part, name) for name in self.offers)

    def _require(self, part: Any, called: str) -> None:
        if self.function and not isinstance(part, ModuleType):
            if not callable(part):
                raise ConfigError(f"{called} is of type {type(part).__name__}, not callable; name a function")
        elif self.function and not self.offers:
            raise ConfigError(f"{called} names a module; name a function of it: {self._form()}")
        elif missing := [name for name in self.offers if not hasattr(part, name)]:
            remedy = f"or name a function of it: {self._form()}" if self.function else "see docs/extend/"
            raise ConfigError(f"{called} lacks {', '.join(missing)}; define them, {remedy}")

    def _suggestion(self, module: ModuleType, name: str) -> str:
        own = [key for key, value in _defined(module).items() if callable(value) or not self.function]
        what = "functions" if self.function else "names"
        return did_you_mean(name, own, f"it has: {', '.join(own)}" if own else f"it has no {what}; write one")

    def _form(self) -> str:
        return f"file.py:{'function' if self.function else 'name'} or package.module:name"


def is_path(spec: str) -> bool:
    """Whether `spec` is a file or module path of the user's rather than a built-in name."""
    return "." in spec or ":" in spec


def name_of(part: Callable[..., Any]) -> str:
    """The spec of a function object: `package.module:name`, or `file.py:name` if a script defines it."""
    name = getattr(part, "__qualname__", type(part).__qualname__)
    script = getattr(sys.modules["__main__"], "__file__", None) if part.__module__ == "__main__" else None
    return f"{script or part.__module__}:{name}"


def _run_file(path: Path, called: str) -> ModuleType:
    if not path.is_file():
        beside = [one.name for one in path.parent.glob("*.py")] if path.parent.is_dir() else []
        hint = did_you_mean(path.name, beside, "correct the path")
        raise ConfigError(f"{called}: there is no file {path} (looked for {path.absolute()}); {hint}")
    path = path.resolve()
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{called}: {path} cannot be read: {error.strerror}; correct it") from error
    name = f"antiphon_file_{path.stem}_{hashlib.sha256(bytes(path) + source).hexdigest()[:8]}"
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
    if "" not in sys.path:
        sys.path.insert(0, "")
    importlib.invalidate_caches()
    try:
        return importlib.import_module(place)
    except Exception as error:
        above, _, last = place.rpartition(".")
        held = isinstance(error, ModuleNotFoundError) and hasattr(sys.modules.get(above), last)
        remedy = f"write {above}:{last}" if held else "install it, or name its file: path/to/file.py:name"
        raise ConfigError(
            f"{called}: the module {place!r} cannot be imported: {describe(error)}; it was looked for in {Path.cwd()} "
            f"and among the installed packages: {remedy}"
        ) from error


def _defined(module: ModuleType) -> dict[str, Any]:
    """The names that the module itself defines, without its imports."""
    return {
        name: value
        for name, value in vars(module).items()
        if not (name.startswith("_") or isinstance(value, ModuleType))
        and getattr(value, "__module__", module.__name__) == module.__name__
    }
