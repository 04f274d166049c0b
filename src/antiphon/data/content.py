"""Tells the form of a file from its first bytes."""

from __future__ import annotations

import csv
import json
import re

from antiphon.data.fields import fields_of
from antiphon.data.files import head
from antiphon.errors import DataError

FORMS = {
    "arrayrecord": "an ArrayRecord file",
    "csv": "a table with a header line",
    "json": "one JSON document",
    "jsonl": "JSON lines",
    "kaldi": "a list of Kaldi's form, a name and a path in each line",
    "parquet": "a Parquet file",
    "webdataset": "a tar archive",
}
"""What readers read, by the reader's name."""
_OTHER: tuple[tuple[bytes, str, str], ...] = (
    (rb"RIFF|RF64|fLaC|OggS|ID3|\xff[\xe2-\xfd]|FORM|\.snd|\x1aE\xdf\xa3|....ftyp", "a recording", "name a list of it"),
    (rb"PK\x03\x04", "a zip archive", "unpack it"),
    (rb"ARROW1", "an Arrow file", "name its folder: hf:FOLDER"),
    (rb"SQLite format 3", "a SQLite database", "export its table as CSV"),
    (rb"version https://git-lfs", "a pointer of Git LFS", "fetch the file itself: git lfs pull"),
    (rb"(?i)\s*<(!doctype|html|\?xml)", "a web page or XML", "download the file itself, or convert it"),
)
"""First bytes of what no reader reads, what it is, and what to do."""
_BINARY = ("arrayrecord", "parquet", "webdataset")
"""Forms that are no text."""
DELIMITERS = "\t,;|"
_ROLE = re.compile(r'"(role|from)"\s*:')
_SCP = re.compile(r"\S+\s+(.*\||\S*/\S.*|\S+\.(wav|flac|mp3|ogg|opus|m4a|sph|ark)(:\d+)?)\s*")


def form_of(spec: str) -> str | None:
    """The reader of a file by its content, where that leaves no doubt; None of a folder and what cannot be read."""
    first = head(spec)
    if first[257:262] == b"ustar":
        return "webdataset"
    if first.startswith(b"PAR1"):
        return "parquet"
    if not first or b"\0" in first:
        return None
    text = first.decode("utf-8-sig", errors="replace").lstrip()
    if text.startswith(("[", "{")):
        return _json_form(text)
    lines = text.splitlines()[:3]
    if lines and "audio" in fields_of(cells(lines[0], delimiter_of(lines[0])), {}):
        return "csv"
    return "kaldi" if lines and all(map(_SCP.fullmatch, lines)) else None


def require(spec: str, form: str) -> None:
    """Raise `DataError` if a file is plainly of another form than `form`; the message names it and the remedy."""
    found = form_of(spec)
    if found is not None and found != form:
        raise DataError(f"{spec}: holds {FORMS[found]}, not {FORMS[form]}; read it with --format {found}")
    first = head(spec)
    for magic, what, remedy in _OTHER:
        if re.match(magic, first, re.DOTALL):
            raise DataError(f"{spec}: is {what}, not {FORMS[form]}; {remedy}")
    if form in _BINARY:
        return
    if b"\0" in first[:1024] and not first.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{spec}: is a binary file, not {FORMS[form]}; name the file that lists the recordings")


def delimiter_of(line: str) -> str:
    """What separates the cells of a header line."""
    return max(DELIMITERS, key=line.count)


def cells(line: str, delimiter: str) -> list[str]:
    """The cells of a header line, without the blanks around them."""
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]


def _json_form(text: str) -> str | None:
    """`json` for an array of objects, and for an object over several lines or that holds rows and is none."""
    if text.startswith("["):
        return "json" if re.match(r"\[\s*[{\]]", text) else None
    line, _, rest = text.partition("\n")
    line = line.rstrip()
    if line.endswith("[") or (line.endswith(("{", ",")) and rest.lstrip().startswith(('"', "}"))):
        return "json"
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return "json" if re.match(r'\{\s*"[^"]+"\s*:\s*\[\s*\{', line) and not _ROLE.search(line[:4096]) else "jsonl"
    lists = [one for one in row.values() if isinstance(one, list) and one and isinstance(one[0], dict)]
    if len(lists) != 1 or {"role", "from"} & lists[0][0].keys():
        return "jsonl"
    is_row = len(row) > 1 and ("audio" in fields_of(row, {}) or "audio" not in fields_of(lists[0][0], {}))
    return "jsonl" if is_row else "json"
