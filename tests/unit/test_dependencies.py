"""What the package imports is declared, in the extra of those who import it; what is declared is imported."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import antiphon

PACKAGE = Path(antiphon.__file__).parent
TEXT = (Path(__file__).parents[2] / "pyproject.toml").read_text()
PROJECT = tomllib.loads(TEXT)["project"]
EXTRAS = {
    "audio/synth.py": ("synth",),
    "dashboard": ("dashboard",),
    "data/example_proto.py": ("arrayrecord",),
    "data/readers/arrayrecord.py": ("arrayrecord",),
    "data/files.py": ("hub",),
    "data/hubset.py": ("hub",),
    "data/readers/hub.py": ("hub",),
    "data/readers/lhotse.py": ("lhotse",),
    "data/readers/webdataset.py": ("webdataset",),
    "data/writers/arrayrecord.py": ("arrayrecord",),
    "data/writers/lhotse.py": ("lhotse",),
    "data/writers/webdataset.py": ("webdataset",),
    "models/internals.py": ("lora",),
    "models/lora.py": ("lora",),
    "run/trackers": ("tensorboard", "wandb", "trackio", "mlflow"),
    "serve": ("serve",),
}
"""The extras that a file, or all of a folder, may import besides the dependencies of everybody."""
TOOLS = ("docs", "bench", "dev")


def name_of(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match
    return normal(match[0])


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(*extras: str) -> set[str]:
    optional = PROJECT["optional-dependencies"]
    lists = [PROJECT["dependencies"], *(optional.get(one, []) for one in extras)]
    return {name_of(one) for requirements in lists for one in requirements} - {"antiphon"}


@cache
def distributions() -> dict[str, list[str]]:
    return {module: [normal(one) for one in found] for module, found in packages_distributions().items()}


def imported(path: Path) -> Iterator[str]:
    """The top-level modules of others that a file imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module]
        tops = {name.partition(".")[0] for name in names}
        yield from (one for one in tops if one not in sys.stdlib_module_names and one != "antiphon")


FILES = {str(path.relative_to(PACKAGE)): set(imported(path)) for path in sorted(PACKAGE.rglob("*.py"))}


def test_what_is_imported_is_declared():
    missing = []
    for file, modules in FILES.items():
        extras = [
            one for place, found in EXTRAS.items() if file == place or file.startswith(f"{place}/") for one in found
        ]
        known = declared(*extras)
        missing += [f"{file}: {one}" for one in modules if not known & set(distributions().get(one, [normal(one)]))]
    assert missing == []


def test_what_is_declared_is_imported_or_has_its_reason_beside_it():
    used = {one for modules in FILES.values() for module in modules for one in distributions().get(module, [])}
    extras = [name for name in PROJECT["optional-dependencies"] if name not in TOOLS]
    idle = declared(*extras) - used
    reasons = {name_of(one) for one in re.findall(r'"([^"]+)",?[^"\n]*  # \w', TEXT)}
    assert idle - reasons == set()
