"""The English rules of the Open ASR Leaderboard: Whisper's, with its additions of 2026.

https://github.com/huggingface/open_asr_leaderboard, whose scorer removes more fillers, reads times of day, leaves "oh"
a word outside numbers, spells names and compounds in one way, writes letters one by one together, and counts words that
are joined or parted as right (kaldialign's `merge_compounds`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

from antiphon.errors import DataError
from antiphon.text import compounds, whisper_rules
from antiphon.text.english import CORRECTED

VERSION = 1
_OH = "\ue000"
"""An "oh" that is no zero, while numbers are read."""
_FIGURES = re.compile(r"[0-9]+(\.[0-9]+)?")
_CLOCK = r"o\s*['’]?\s*clock"
_NUMERIC_TIME = re.compile(r"(?<![\w:./])([01]?[0-9]|2[0-3]):([0-5][0-9])(?![\w:]|\.[0-9])")
_SHORT_WORDS = {"a", "i"}


class OpenAsr:
    def __init__(self) -> None:
        code = whisper_rules.english_code()
        facts = json.loads((files("antiphon.text") / "open_asr.json").read_bytes())
        self._fillers = re.compile(rf"\b({'|'.join(facts['fillers'].split())})\b")
        self._contractions = [_contraction(one, facts["contracted"]) for one in whisper_rules.contractions().items()]
        joined = [(way, word) for word, ways in facts["joined"].items() for way in ways.split(", ")]
        self._joined = [(re.compile(rf"\b{way.replace(' ', chr(92) + 's+')}\b"), word) for way, word in joined]
        self._joined += [(re.compile(pattern), "oh") for pattern in (r"\bo+h+\b", r"\booo+\b")]
        turned = {american for american in CORRECTED.values() if american in whisper_rules.spellings()}
        self._spellings = {word: to for word, to in whisper_rules.spellings().items() if word not in turned}
        self._spellings |= CORRECTED | {"ok": "okay", "kay": "okay", "etcetera": "etc", "mm": "hmm"}
        self._names = {way: name for name, ways in facts["names"].items() for way in ways.split()}
        self._numbers, self._bare = _numbers(code), code.remove_symbols_and_diacritics
        self._relative, self._on_the_hour = _times(self._numbers)

    def __call__(self, text: str) -> str:
        try:
            return self._clean(text)
        except (AssertionError, ValueError) as error:
            raise DataError(f"the leaderboard's normalizer cannot read the text {text[:60]!r}; use another") from error

    def fitted(self, reference: str, hypothesis: str) -> str:
        """The cleaned hypothesis, its words joined and parted as in the reference where only that differs."""
        return " ".join(compounds.as_in(self(reference).split(), self(hypothesis).split()))

    def _clean(self, text: str) -> str:
        text = re.sub(r"\(([^)]+?)\)", "", re.sub(r"[<\[][^>\]]*[>\]]", "", text.lower()))
        text = self._times(re.sub(r"\s+'", "'", self._fillers.sub("", text)))
        for pattern, full in self._contractions:
            text = pattern.sub(full, text)
        text = re.sub(r"\.(?![0-9])", " ", re.sub(r"(\d),(\d)", r"\1\2", text))
        text = self._bare(text, keep=".%$¢€£")
        for pattern, word in self._joined:
            text = pattern.sub(word, text)
        words = [self._spellings.get(word, word) for word in self._numbers(text).split()]
        words = [self._names.get(word, word) for name in words for word in name.split()]
        text = re.sub(r"[.$¢€£](?![0-9])", " ", " ".join(_acronyms(words)))
        return " ".join(re.sub(r"(?<![0-9])%", " ", text).split())

    def _times(self, text: str) -> str:
        """ "half past three" as 3:30, "ten o'clock" as 10."""
        text = self._relative.sub(self._past_or_to, text)
        text = self._on_the_hour.sub(self._oclock, text)
        return _NUMERIC_TIME.sub(lambda at: str(int(at[1])) + (f":{at[2]}" if int(at[2]) else ""), text)

    def _past_or_to(self, found: re.Match[str]) -> str:
        amount, hour = found["amount"], self._number(found["hour"])
        quarter = 15 if amount.endswith("quarter") else None
        minute = 30 if amount == "half" else quarter or self._number(re.sub(r"\s+minutes?$", "", amount))
        if not (0 <= hour <= 23 and 0 <= minute < 60):
            return found[0]
        if found["relation"] in ("to", "before") and minute:
            hour = (hour - 2) % 12 + 1 if 1 <= hour <= 12 else (hour - 1) % 24
            minute = 60 - minute
        return f"{hour}:{minute:02d}"

    def _oclock(self, found: re.Match[str]) -> str:
        hour = self._number(found["hour"])
        return f"{hour}:00" if 0 <= hour <= 23 else found[0]

    def _number(self, words: str) -> int:
        value = self._numbers(words.replace("-", " ")).strip()
        return 1 if value == "one" else int(value)


def _contraction(rule: tuple[str, str], words: str) -> tuple[re.Pattern[str], str]:
    """Whisper's rule, but for 's, which is "is" after these words alone."""
    if rule[0] == r"'s\b":
        return re.compile(rf"\b({'|'.join(words.split())})'s\b"), r"\1 is"
    return re.compile(rule[0]), rule[1]


def _times(numbers: Any) -> tuple[re.Pattern[str], re.Pattern[str]]:
    digits = "|".join(word for word, value in numbers.ones.items() if value < 10)
    tens = rf"(?:twenty|thirty|forty|fifty)(?:[\s-]+(?:{digits}))?"
    number = rf"(?:[0-9]{{1,2}}|{tens}|{'|'.join(numbers.ones)}|zero)"
    amount = rf"(?P<amount>half|(?:a\s+)?quarter|{number}\s+minutes?)"
    hour = rf"(?P<hour>{number})"
    relative = rf"(?<![\w.:]){amount}\s+(?P<relation>past|after|to|before)\s+{hour}(?:\s+{_CLOCK})?\b"
    return re.compile(relative), re.compile(rf"(?<![\w.:]){hour}\s+{_CLOCK}\b")


def _numbers(code: Any) -> Any:
    class Numbers(code.EnglishNumberNormalizer):
        """Whisper's, for which every "oh" is a zero; here one is that continues to the right of a number, or begins one
        of three."""

        def process_words(self, words: Sequence[str]) -> Iterator[str]:
            for word in super().process_words(list(self._apart(words))):
                yield word.replace(_OH, "oh")

        def _apart(self, words: Sequence[str]) -> list[str]:
            kept: list[str] = []
            pending = skipped = False
            for place, word in enumerate(words):
                following = [*words[place + 1 : place + 3], "", ""]
                if skipped:
                    skipped, pending = False, True
                elif word in ("double", "triple") and (following[0] in self.ones or following[0] in self.zeros):
                    skipped = True
                elif word == "oh":
                    pending = self._digit(following[0]) and (pending or self._digit(following[1]))
                    if not pending:
                        _drop_before(kept, self)
                        word = kept.pop() + _OH if kept and kept[-1] in ("-", "+") else _OH
                else:
                    pending = self._leaves_pending(kept, word, following[0], pending)
                kept.append(word)
            return kept

        def _digit(self, word: str) -> bool:
            return word.isdecimal() or word in self.zeros or word in self.ones or word in self.tens

        def _leaves_pending(self, kept: Sequence[str], word: str, following: str, pending: bool) -> bool:
            """Whether a number is still open after a word."""
            if _FIGURES.fullmatch(word.lstrip("-+$¢€£")) or word in self.multipliers or self._digit(word):
                return True
            if word == "point":
                return following in self.decimals or bool(_FIGURES.fullmatch(following)) or pending
            return word == "and" and pending and bool(kept) and kept[-1] in self.multipliers and following in self.words

    return Numbers()


def _drop_before(kept: list[str], numbers: Any) -> None:
    """What Whisper's rules make of the word before an "oh", which they take for a number."""
    if kept and kept[-1] in numbers.preceding_prefixers:
        kept[-1] = numbers.preceding_prefixers[kept[-1]]
    elif len(kept) > 1 and kept[-1] == "and" and kept[-2] in numbers.multipliers:
        kept.pop()
    elif kept and kept[-1] == "point":
        kept[-1] = "."


def _acronyms(words: Sequence[str]) -> Iterator[str]:
    """Letters and digits that stand alone, together: "b b c" as "bbc"; with "a" or "i" among them, three or more."""
    run: list[str] = []
    for word in [*words, ""]:
        if len(word) == 1 and word.isalnum():
            run.append(word)
            continue
        together = len(run) >= (3 if _SHORT_WORDS & set(run) else 2)
        yield from ["".join(run)] if together else run
        run = []
        if word:
            yield word
