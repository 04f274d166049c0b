"""The documents say what the code does: every key with its default, every command, every link."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from antiphon.algorithms.policy_gradient import PolicyGradientSettings
from antiphon.cli.main import app
from antiphon.config import Config, augment, yaml
from antiphon.config.augment import Augment
from antiphon.config.data import Labels
from antiphon.config.teacher import TeacherConfig
from antiphon.config.training import Lora
from antiphon.data.corpora.sets import CONDITIONS, CORPORA
from antiphon.rewards import exact, format, hallucination, keywords, language, omni, wer
from antiphon.train.objectives import ALGORITHM

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def rows(document: str, heading: str | None = None) -> dict[str, list[str]]:
    """The cells of every table row that begins with `code`, by that code, the first of several; with `heading`, of that
    section alone."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    if heading is not None:
        _, found, text = text.partition(f"\n{heading}\n")
        assert found, f"docs/{document} has no heading {heading!r}"
        text = text.partition("\n#")[0]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    coded = [row for row in cells if row[0].strip("| ").startswith("`")]
    return {row[0].strip("|` "): row[1:] for row in reversed(coded)}


def keys(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, object]]:
    """Every dotted key of a settings model, with its default as YAML writes it: null where it is required."""
    for name, field in model.model_fields.items():
        below = field.annotation
        if isinstance(below, type) and issubclass(below, BaseModel):
            yield from keys(below, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", None if field.is_required() else field.default


REWARDS = [exact, format, hallucination, keywords, language, omni, wer]
EFFECTS = {
    "speed": augment.Speed,
    "reverb": augment.Reverb,
    "noise": augment.Noise,
    "codec": augment.Codec,
    "telephone": augment.Telephone,
    "gain": augment.Gain,
    "time_mask": augment.TimeMask,
    "frequency_mask": augment.FrequencyMask,
}
MODELS = [
    (Config, "", None),
    (Labels, "labels.", None),
    (Lora, "lora.", None),
    (Augment, "data.augment.", None),
    *((effect, f"data.augment.{name}.", None) for name, effect in EFFECTS.items()),
    (TeacherConfig, "teacher.", None),
    *((module.Settings, "reward.", f"### {module.__name__.rpartition('.')[2]}") for module in REWARDS),
]


@pytest.mark.parametrize(("model", "prefix", "heading"), MODELS)
def test_every_recipe_key_is_described_with_its_default(model, prefix, heading):
    described = rows("recipes.md", heading)
    for key, default in keys(model, prefix):
        assert key in described, f"docs/recipes.md has no row for `{key}`"
        stated = yaml.parse(described[key][0].strip("`"), f"the default of {key}")
        assert stated == (list(default) if isinstance(default, tuple) else default), key


def test_no_row_describes_a_key_that_is_gone():
    known = [key for model, prefix, _ in MODELS for key, _ in keys(model, prefix)]
    sections = (
        "data.",
        "labels.",
        "lora.",
        "rollout.",
        "optimizer.",
        "train.",
        "eval.",
        "gate.",
        "guard.",
        "reward.",
        "reward_limits.",
        "teacher.",
    )
    described = [key for key in rows("recipes.md") if key.startswith(sections)]
    assert described
    assert set(described) <= set(known)
    for model, prefix, heading in MODELS:
        if heading is not None:
            assert set(rows("recipes.md", heading)) == {key for key, _ in keys(model, prefix)}, heading


@pytest.mark.parametrize("name", ALGORITHM.names())
def test_every_option_of_an_algorithm_is_described_with_its_default(name):
    """On the algorithm's own page, or in the section on what policy gradients share."""
    settings = ALGORITHM.load(name).Settings
    shared = rows("algorithms/index.md", "## Policy gradient") if issubclass(settings, PolicyGradientSettings) else {}
    own = rows(f"algorithms/{name}.md", "## Settings")
    options = {key: default for key, default in keys(settings, "algorithm.") if key != "algorithm.name"}
    assert set(options) == set(shared | own), name
    for key, default in options.items():
        stated = yaml.parse((shared | own)[key][0].strip("`"), f"the default of {key}")
        assert stated == default, key


def test_every_built_in_set_is_described_with_its_size():
    described = rows("data.md")
    for name, condition in CONDITIONS.items():
        assert described[name][0] == str(condition.size)
    assert all(corpus in described for corpus in CORPORA)
    assert f"{len(CORPORA['commands'].vocabulary())} words" in described["commands"][0]


def test_the_readme_lists_every_command():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `antiphon (\w+)`", readme, flags=re.MULTILINE))
    names = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    assert listed == names


@pytest.mark.parametrize("name", ALGORITHM.names())
def test_an_algorithms_page_says_what_it_reached_and_the_comparison_has_its_row(name):
    page = (ROOT / "docs" / "algorithms" / f"{name}.md").read_text(encoding="utf-8")
    _, found, measured = page.partition("\n## Measured\n")
    assert found, name
    assert "../algorithms-benchmark.md" in measured
    assert name in rows("algorithms-benchmark.md")


def test_every_paper_that_the_sources_name_is_in_the_index():
    page = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    named = set(re.findall(r"\b[12]\d(?:0[1-9]|1[0-2])\.\d{4,5}\b", sources))
    assert len(named) > 15
    assert named <= set(re.findall(r"\d{4}\.\d{4,5}", page))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, heading = target.partition("#")
        place = (document.parent / path) if path else document
        assert place.exists(), f"{document.name} links to {target}"
        if heading:
            assert heading in anchors(place), f"{document.name} links to {target}"


def anchors(document: Path) -> set[str]:
    """The fragments of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
