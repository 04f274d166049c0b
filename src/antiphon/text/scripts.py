"""Arabic, Persian and Hebrew: vowel marks are optional there, and keyboards write one letter in several ways.

Arabic follows the Open Universal Arabic ASR Leaderboard (arXiv 2412.13788), which removes vowel marks, hamzas and
maddas and writes digits as 0 to 9; here tatweel goes too, and letters of Persian keyboards are the Arabic ones. Hebrew
follows ivrit.ai's leaderboard: no vowel points, and quotation marks within a word do not part it. Persian does the same
to its own letters, and keeps آ, which is one of them.
"""

from __future__ import annotations

import re
import unicodedata

from antiphon.text.plain import plain

_ARABIC_MARKS = re.compile(
    "[\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed]"
)
"""Vowel marks, those of the Koran, and tatweel."""
_ARABIC = str.maketrans(
    {"آ": "ا", "أ": "ا", "إ": "ا", "ٱ": "ا", "ؤ": "و", "ئ": "ي", "ء": "", "پ": "ب", "ڤ": "ف", "ک": "ك", "ی": "ي"}
)
_PERSIAN = str.maketrans(
    {"أ": "ا", "إ": "ا", "ٱ": "ا", "ؤ": "و", "ئ": "ی", "ء": "", "ك": "ک", "ي": "ی", "ى": "ی", "ة": "ه", "ۀ": "ه"}
)
_HEBREW_MARKS = re.compile("[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7]")
_HEBREW_QUOTES = re.compile("(?<=[\u05d0-\u05ea])[\"'\u2018\u2019\u201c\u201d\u05f3\u05f4](?=[\u05d0-\u05ea])")
"""Gershayim of abbreviations and the geresh of borrowed sounds, as they are typed."""
_GERESH = re.compile("(?<=[\u05d0-\u05ea])['\u2019\u05f3]")


def arabic(text: str) -> str:
    return plain(_arabic_letters(text, _ARABIC))


def persian(text: str) -> str:
    return plain(_arabic_letters(text, _PERSIAN))


def hebrew(text: str) -> str:
    text = _HEBREW_MARKS.sub("", unicodedata.normalize("NFKC", text))
    return plain(_GERESH.sub("", _HEBREW_QUOTES.sub("", text)))


def _arabic_letters(text: str, letters: dict[int, str]) -> str:
    """Composed and in one form, so that a hamza is part of its letter and no mark is left over."""
    text = _ARABIC_MARKS.sub("", unicodedata.normalize("NFKC", text).translate(letters))
    return "".join(str(unicodedata.decimal(one)) if one.isdecimal() else one for one in text)
