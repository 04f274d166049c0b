"""Which script a language is written in, by its code or English name, and which scripts a text is in."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache

_TABLE = """
LATIN: af/afr/afrikaans ast/ast/asturian az/aze/azerbaijani br/bre/breton bs/bos/bosnian ca/cat/catalan ceb/ceb/cebuano
LATIN: cs/ces/czech cy/cym/welsh da/dan/danish de/deu/german en/eng/english eo/epo/esperanto es/spa/spanish
LATIN: et/est/estonian eu/eus/basque fi/fin/finnish fil/fil/filipino fo/fao/faroese fr/fra/french ga/gle/irish
LATIN: gl/glg/galician haw/haw/hawaiian hr/hrv/croatian ht/hat/haitian hu/hun/hungarian ia/ina/interlingua
LATIN: id/ind/indonesian ig/ibo/igbo is/isl/icelandic it/ita/italian jv/jav/javanese kea/kea/kabuverdianu la/lat/latin
LATIN: lb/ltz/luxembourgish lg/lug/ganda ln/lin/lingala lt/lit/lithuanian luo/luo/luo lv/lav/latvian
LATIN: mg/mlg/malagasy mi/mri/maori ms/msa/malay mt/mlt/maltese nb/nob/bokmal nl/nld/dutch nn/nno/nynorsk
LATIN: no/nor/norwegian ny/nya/nyanja oc/oci/occitan om/orm/oromo pl/pol/polish pt/por/portuguese
LATIN: ro/ron/romanian rw/kin/kinyarwanda sk/slk/slovak sl/slv/slovenian sn/sna/shona so/som/somali sq/sqi/albanian
LATIN: su/sun/sundanese sv/swe/swedish sw/swa/swahili tk/tuk/turkmen tl/tgl/tagalog tr/tur/turkish uz/uzb/uzbek
LATIN: vi/vie/vietnamese wo/wol/wolof xh/xho/xhosa yo/yor/yoruba zu/zul/zulu
CYRILLIC: ba/bak/bashkir be/bel/belarusian bg/bul/bulgarian kk/kaz/kazakh ky/kir/kyrgyz mk/mkd/macedonian
CYRILLIC: mn/mon/mongolian ru/rus/russian tg/tgk/tajik tt/tat/tatar uk/ukr/ukrainian
CYRILLIC+LATIN: sr/srp/serbian
ARABIC: ar/ara/arabic ckb/ckb/sorani fa/fas/persian ps/pus/pashto sd/snd/sindhi ug/uig/uyghur ur/urd/urdu
ARABIC+LATIN: ha/hau/hausa
HEBREW: he/heb/hebrew yi/yid/yiddish
GREEK: el/ell/greek
ARMENIAN: hy/hye/armenian
GEORGIAN: ka/kat/georgian
DEVANAGARI: hi/hin/hindi mr/mar/marathi ne/nep/nepali sa/san/sanskrit
BENGALI: as/asm/assamese bn/ben/bengali
GURMUKHI+ARABIC: pa/pan/punjabi
GUJARATI: gu/guj/gujarati
ORIYA: or/ori/odia
TAMIL: ta/tam/tamil
TELUGU: te/tel/telugu
KANNADA: kn/kan/kannada
MALAYALAM: ml/mal/malayalam
SINHALA: si/sin/sinhala
THAI: th/tha/thai
LAO: lo/lao/lao
TIBETAN: bo/bod/tibetan
MYANMAR: my/mya/burmese
KHMER: km/khm/khmer
ETHIOPIC: am/amh/amharic ti/tir/tigrinya
CJK: zh/zho/chinese cmn/cmn/mandarin yue/yue/cantonese
CJK+HIRAGANA+KATAKANA+KATAKANA-HIRAGANA: ja/jpn/japanese
HANGUL+CJK: ko/kor/korean
"""
"""Languages by the first words of their letters' Unicode names: two-letter code, ISO 639-3, English name."""


def _known() -> tuple[dict[str, str], dict[str, frozenset[str]]]:
    codes: dict[str, str] = {}
    scripts: dict[str, frozenset[str]] = {}
    for line in _TABLE.strip().splitlines():
        written, _, languages = line.partition(": ")
        for names in languages.split():
            code = names.partition("/")[0]
            codes |= dict.fromkeys(names.split("/"), code)
            scripts[code] = frozenset(written.split("+"))
    return codes, scripts


_CODES, _SCRIPTS = _known()


def language_code(language: str) -> str:
    """The code of a language, without its region: "en" for "en-GB", "eng" and "English"; unknown ones in lower case."""
    base = re.split(r"[-_ (]", language.strip().casefold())[0]
    return _CODES.get(base, base)


@lru_cache(maxsize=4096)
def scripts_of(language: str) -> frozenset[str] | None:
    """The scripts of a language, by the first word of their letters' Unicode names; None if it is not known.

    A script in the language's own tag counts: "uz-Cyrl" and "sr-Latn" are not checked.
    """
    if re.search(r"[-_][A-Za-z]{4}([-_]|$)", language):
        return None
    return _SCRIPTS.get(language_code(language))


def script(text: str) -> str | None:
    """The script that most letters of a text are in; None without letters."""
    counts = Counter(_script(letter) for letter in text if letter.isalpha())
    return max(counts, key=lambda name: counts[name]) if counts else None


@lru_cache(maxsize=1 << 14)
def _script(letter: str) -> str:
    name = unicodedata.name(letter, "").split(" ")
    return name[1] if name[0] == "FULLWIDTH" and len(name) > 1 else name[0]
