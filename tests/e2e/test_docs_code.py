"""The documents' code: commands and recipes are valid, and what the tutorials tell to run does run."""

from __future__ import annotations

import ast
import importlib
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from doc_blocks import DOCUMENTS, ROOT, Block, blocks

from antiphon.cli.main import app, main
from antiphon.client.port import free_port
from antiphon.config import Config, load_config, yaml
from antiphon.config.plugins import is_path
from antiphon.rewards.load import load_reward
from antiphon.run import calibration
from antiphon.run import train as training
from antiphon.train.objectives import load_objectives

BLOCKS = [block for document in DOCUMENTS for block in blocks(document)]
COMMANDS = [(block, words) for block in BLOCKS for words in block.commands]
TUTORIALS = [ROOT / "docs" / "quickstart.md", *sorted((ROOT / "docs" / "extend").glob("*.md"))]
"""Pages whose Python and consoles are run, from top to bottom; titled Python is also that file."""
SHORT = ["train.steps=2", "rollout.prompts_per_step=4", "rollout.group_size=4", "eval.limit=8", "device=cpu"]
"""What shortens every training run of a tutorial."""
FEWER = {"320)": "24)", "100)": "16)", "[:48]": "[:24]"}
"""Clips that the pages write."""
PORT = "8025"


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def require_settings(config: Config) -> None:
    """Raises `ConfigError` where a built-in algorithm or reward of a recipe has no such setting."""
    load_objectives([one for one in listed(config.algorithm) if not is_path(one["name"])])
    rewards = listed(config.reward or [])
    built_in = [one for one in rewards if not is_path(one if isinstance(one, str) else one["name"])]
    if built_in:
        load_reward(built_in)


def require_parameters(words: list[str]) -> None:
    """Raises click's own error where there is no such command, option or value."""
    command: Any = typer.main.get_command(app)
    arguments = words[1:]
    while hasattr(command, "resolve_command") and arguments:
        context = command.make_context(words[0], arguments)
        _, command, arguments = command.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context(words[0], arguments)


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> Iterator[Path]:
    """A working folder whose modules can be imported, and are forgotten afterward."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    yield tmp_path
    own = {path.stem for path in tmp_path.iterdir()}
    for name in [name for name in sys.modules if name.partition(".")[0] in own]:
        del sys.modules[name]


@pytest.mark.parametrize(("block", "words"), COMMANDS, ids=[f"{b.place} {' '.join(w[1:4])}" for b, w in COMMANDS])
def test_a_command_in_the_documents_is_valid(block, words, workplace, monkeypatch):
    require_parameters(words)
    if words[1] != "train" or "--resume" in words:
        return
    configs: list[Config] = []
    monkeypatch.setattr(training, "train", lambda config, *_: configs.append(config) or sys.exit())
    monkeypatch.setattr(calibration, "calibrate", lambda config, *_: configs.append(config) or sys.exit())
    (workplace / "recipes").symlink_to(ROOT / "recipes")
    (workplace / "recipe.yaml").touch()
    for one in (one for one in blocks(block.document) if one.title):
        write(one, workplace)
    with pytest.raises(SystemExit):
        main(words[1:])
    (config,) = configs
    require_settings(config)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_a_command_in_a_sentence_has_the_options_it_is_said_to_have(document):
    sentences = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for span in re.findall(r"`antiphon ([a-z][^`]*)`", sentences):
        command: Any = typer.main.get_command(app)
        for word in span.split():
            commands = getattr(command, "commands", {})
            if word.startswith("--"):
                known = {option for parameter in command.params for option in parameter.opts}
                assert word.partition("=")[0] in known | {"--help"}, span
            elif commands:
                assert word in commands, span
                command = commands[word]


def recipes(block: Block) -> list[str]:
    """The recipes in a block of YAML, or in an indented one whose lines are keys, each with a value of its own."""
    if block.language == "yaml":
        return [block.text]
    keys = {line.partition(":")[0] for line in block.text.splitlines()}
    return block.text.splitlines() if block.language == "" and keys <= set(Config.model_fields) else []


RECIPES = [(block, recipe) for block in BLOCKS for recipe in recipes(block)]


@pytest.mark.parametrize(("block", "recipe"), RECIPES, ids=[f"{b.place} {r.splitlines()[0]}" for b, r in RECIPES])
def test_a_recipe_in_the_documents_is_valid(block, recipe, tmp_path):
    if isinstance(yaml.parse(recipe, block.place), list):
        return
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe)
    require_settings(load_config(path))


PYTHON = [block for block in BLOCKS if block.language in ("python", "py")]


@pytest.mark.parametrize("block", PYTHON, ids=[block.place for block in PYTHON])
def test_what_python_in_the_documents_imports_exists(block):
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "antiphon":
            module = importlib.import_module(str(node.module))
            missing = [one.name for one in node.names if not hasattr(module, one.name)]
            assert not missing, f"{node.module} has no {', '.join(missing)}"


@pytest.mark.tutorial
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_runs_from_top_to_bottom(page, workplace, cli):
    port = str(free_port())
    try:
        for block in blocks(page):
            if block.language == "python":
                run_python(block, workplace)
            elif block.language == "console":
                run_console(block, cli, port)
    finally:
        if f"--port {PORT}" in page.read_text():
            cli("serve", "stop", "--port", port)


def run_python(block: Block, folder: Path) -> None:
    runpy.run_path(str(write(block, folder)), run_name="__main__")


def write(block: Block, folder: Path) -> Path:
    path = folder / (block.title or f"line_{block.line}.py")
    path.parent.mkdir(exist_ok=True)
    path.write_text(re.sub("|".join(map(re.escape, FEWER)), lambda found: FEWER[found[0]], block.text))
    return path


def run_console(block: Block, cli: Any, port: str) -> None:
    """Each line behind a `$`, and what the page says it prints: the first word of every line, unless it has figures."""
    for exchange in ("\n" + block.unfolded).split("\n$ ")[1:]:
        line, _, shown = exchange.replace(PORT, port).partition("\n")
        words = shlex.split(line)
        if words[0] == "antiphon":
            outcome = cli(*words[1:], *(SHORT if words[1] == "train" else []))
            status, printed = outcome.status, outcome.out + outcome.err
        else:
            done = subprocess.run(words, capture_output=True, text=True, timeout=60)
            status, printed = done.returncode, done.stdout + done.stderr
        assert status == 0, f"{block.place}: {line}\n{printed}"
        starts = {(text.split() or [""])[0] for text in printed.splitlines()}
        for first in (text.split()[0] for text in shown.splitlines() if text.strip()):
            assert first in starts or any(map(str.isdigit, first)), (
                f"{block.place}: {line} prints no {first!r}\n{printed}"
            )
