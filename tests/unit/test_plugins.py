"""Parts by `NAME`, `package.module:name` and `file.py:name`: one way for every kind, and errors that help."""

from pathlib import Path
from types import ModuleType

import pytest

from antiphon.config.plugins import Kind
from antiphon.errors import ConfigError
from antiphon.evaluate.normalizers import load_normalizer
from antiphon.rewards import Sample, load_reward, score_all
from antiphon.train.objectives import ALGORITHM, load_objectives

SAMPLE = Sample(id="a", prompt="", response="one two", label="one two")

TASK = Kind("task", "antiphon.tasks", offers=("prompt",), attribute="task")
ENGINE = Kind("engine", attribute="ENGINE", offers=("sync",))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a file and a package that hold one of each."""
    monkeypatch.chdir(tmp_path)
    package = tmp_path / f"parts_{tmp_path.name.replace('-', '_')}"
    package.mkdir()
    (package / "mine.py").write_text(PARTS)
    (package / "algorithm.py").write_text("from antiphon.algorithms.rloo import *")
    (tmp_path / "mine.py").write_text(PARTS)
    return package


PARTS = """
from antiphon.algorithms import rloo as variant
from antiphon.rewards import wer as heavy

class ENGINE:
    sync = None

def length(sample):
    return len(sample.response)

def shout(text):
    return text.upper()
"""


def forms(folder: Path) -> list[str]:
    return ["mine.py", f"{folder.name}.mine"]


def test_a_reward_in_each_form(folder: Path):
    for place in forms(folder):
        assert score_all(load_reward(f"{place}:length"), [SAMPLE])[0].value == 7
        assert score_all(load_reward({"name": f"{place}:heavy", "cap": 2.0}), [SAMPLE])[0].value == 0
    assert score_all(load_reward("wer"), [SAMPLE])[0].value == 0


def test_an_algorithm_in_each_form(folder: Path):
    for spec in ("rloo", *(f"{place}:variant" for place in forms(folder)), f"{folder.name}.algorithm"):
        (objective,) = load_objectives({"name": spec, "beta": 0.5})
        assert objective.settings.beta == 0.5
        assert objective.needs.rewards


def test_a_normalizer_in_each_form(folder: Path):
    for place in forms(folder):
        assert load_normalizer(f"{place}:shout").clean(None)("one") == "ONE"
    assert load_normalizer("none").clean(None)("one") == "one"


def test_a_part_under_its_attribute(folder: Path):
    for spec in ("mine.py", "mine.py:ENGINE", f"{folder.name}.mine"):
        assert ENGINE.load(spec).__name__ == "ENGINE"


def test_built_in_parts_are_the_modules_that_offer_what_is_asked():
    assert "classify" in TASK.names()
    assert "policy_gradient" not in ALGORITHM.names()
    assert isinstance(ALGORITHM.load("grpo"), ModuleType)
    assert ENGINE.names() == []


def test_a_file_runs_once_for_each_content(folder: Path):
    first = ENGINE.load("mine.py")
    assert ENGINE.load("mine.py") is first
    Path("mine.py").write_text(f"{PARTS}\nCHANGED = True")
    assert ENGINE.load("mine.py") is not first


REFUSED = {
    "grop": r"^unknown algorithm 'grop' in 'algorithm'; did you mean 'grpo'\? \(your own is written file\.py:name or",
    "mine.py:lenght": r"^the algorithm 'mine\.py:lenght': mine\.py has no 'lenght'; did you mean 'length'\?",
    "mine.py:length": r"^the algorithm 'mine\.py:length' lacks Settings, needs, advantages, loss; define them",
    "mime.py:variant": r"there is no file mime\.py \(looked for .*/mime\.py\); did you mean 'mine\.py'\?$",
    "nowhere.mine": r"the module 'nowhere\.mine' cannot be imported: ModuleNotFoundError: .* install it",
    "mine.py:": r"^the algorithm 'mine\.py:' is incomplete; write file\.py:name or package\.module:name$",
    ":variant": "is incomplete",
}


@pytest.mark.parametrize("spec", REFUSED)
def test_what_cannot_be_found_is_explained(spec: str):
    with pytest.raises(ConfigError, match=REFUSED[spec]):
        ALGORITHM.load(spec, "algorithm")


def test_a_dot_in_place_of_the_colon_is_explained(folder: Path):
    with pytest.raises(ConfigError, match=rf"write {folder.name}\.mine:variant$"):
        ALGORITHM.load(f"{folder.name}.mine.variant")


def test_a_module_in_place_of_a_function_is_explained():
    with pytest.raises(ConfigError, match=r"^the normalizer 'mine\.py' names a module; name a function of it"):
        load_normalizer("mine.py")
