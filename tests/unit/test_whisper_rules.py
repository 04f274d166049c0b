"""Whisper's text rules against OpenAI's own code: as it stands where openai-whisper is installed, else by the digests
of what it made of the same sentences."""

import hashlib
import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest
from english_sentences import sentences

from antiphon.text.english import CORRECTED
from antiphon.text.normalize import normalizer
from antiphon.text.whisper_rules import spellings

DIGESTS = Path(__file__).with_name("openai_whisper_digests.json")
"""Of each portion of sentences as openai-whisper 20250625 normalizes it; `python tests/unit/test_whisper_rules.py`
writes it."""
PORTION = 20


def openai_rules():
    """openai-whisper's normalizers, without the rest of it, which needs more than text does."""
    found = importlib.util.find_spec("whisper")
    if found is None or found.origin is None:
        pytest.skip("openai-whisper is not installed (pip install --no-deps openai-whisper)")
    folder = Path(found.origin).parent / "normalizers"
    spec = importlib.util.spec_from_file_location("openai_normalizers", folder / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["openai_normalizers"] = module
    spec.loader.exec_module(module)
    return module


def digests(clean) -> list[str]:
    cleaned = [clean(text).strip() for text in sentences()]
    return [
        hashlib.sha256("\n".join(cleaned[start : start + PORTION]).encode()).hexdigest()[:12]
        for start in range(0, len(cleaned), PORTION)
    ]


def test_whispers_rules_make_of_three_thousand_sentences_what_openais_made_of_them() -> None:
    assert digests(normalizer("en", "whisper")) == json.loads(DIGESTS.read_text())


def test_openais_code_makes_the_same_of_them() -> None:
    theirs, ours = openai_rules().EnglishTextNormalizer(), normalizer("en", "whisper")
    texts = sentences(5000, seed=1)
    assert [ours(text) for text in texts] == [theirs(text).strip() for text in texts]


def test_default_makes_the_same_of_contractions_titles_and_spellings() -> None:
    """It leaves out Whisper's numbers and deletions, and mends its table."""
    clean, whisper = normalizer("en"), normalizer("en", "whisper")
    odd = re.compile(rf"\b({'|'.join([*CORRECTED, *CORRECTED.values(), 'mhm', 'mmm', 'clock'])})\b")
    texts = [one for one in sentences(3000, seed=2, numbers=False) if not odd.search(one)]
    assert [clean(text) for text in texts] == [whisper(text) for text in texts]
    assert len(texts) > 2500


@pytest.mark.parametrize("said", ["the cause of the fire", "kinda sorta", "dunno", "cos of it"])
def test_nothing_is_replaced_that_openai_does_not_replace(said: str) -> None:
    assert normalizer("en")(said) == said
    assert normalizer("en", "whisper")(said) == said


def test_the_table_of_spellings_is_whole() -> None:
    assert len(spellings()) == 1739
    assert spellings()["colour"] == "color"


if __name__ == "__main__":
    DIGESTS.write_text(json.dumps(digests(openai_rules().EnglishTextNormalizer()), indent=0) + "\n")
