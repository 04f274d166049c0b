"""Opens what a set is made of, its own files and its recordings: local or remote, gzipped or not."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO, TextIO
from urllib.parse import unquote, urlsplit

from antiphon.audio.embedded import SCHEME, Embedded, from_uri
from antiphon.errors import AudioError, DataError, MissingExtraError

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
_LISTS = (".jsonl", ".jsonl.gz", ".csv", ".tsv")
_GZIP = b"\x1f\x8b"
HEAD = 1 << 16
"""Bytes that are looked at to find the form of a file."""


def is_remote(name: str) -> bool:
    """Whether `name` is a URL, such as https://host/a.jsonl or s3://bucket/a.jsonl."""
    return _URL.match(name) is not None


def local(name: str) -> str:
    """The path in a `file://` URL or below a home folder `~`; other names are kept. Raises `DataError`."""
    if name[:7].lower() == "file://":
        return unquote(urlsplit(name).path)
    if name.startswith("~") and "/" in name:
        try:
            return str(Path(name).expanduser())
        except RuntimeError as error:
            raise DataError(f"{name}: there is no such home folder; write the path in full") from error
    return name


def folder_of(spec: str) -> Path | str:
    """The folder in which a file is, or its URL."""
    return spec.rpartition("/")[0] if is_remote(spec) else Path(spec).parent


def own_name(spec: str, parents: int = 1) -> str:
    """The name of a set in the ids of its examples: its folder's and its own, wherever they lie: "de/train".

    `parents` says how many folders belong to it. Of a name with a prefix it is all but the folders: "hf:fleurs:de_de".
    """
    prefix, colon, rest = spec.partition(":")
    if colon and not is_remote(spec) and not Path(spec).exists():
        return ":".join([prefix, *("/".join(part.split("/")[-parents:]) for part in rest.split(":"))])
    path = Path(urlsplit(spec).path) if is_remote(spec) else Path(spec).absolute()
    return "/".join([*path.parent.parts[-parents:], stem(path)])


def own_names(specs: Sequence[str]) -> dict[str, str]:
    """Own names of sets by spec, which have as many folders as it takes to tell those sets apart."""
    names, parents = {spec: own_name(local(spec)) for spec in specs}, 1
    while True:
        parents, counts = parents + 1, Counter(names.values())
        alike = [spec for spec, name in names.items() if counts[name] > 1]
        longer = {spec: own_name(local(spec), parents) for spec in alike}
        if all(names[spec] == name for spec, name in longer.items()):
            return names
        names |= longer


def stem(path: Path) -> str:
    """A folder's name, or a file's without its ending, and without ".gz" either."""
    return path.name if path.is_dir() else Path(path.name.removesuffix(".gz")).stem


def recording(name: str, folder: Path | str) -> Path | Embedded:
    """The recording that a row names by a path, URL or data URI. Nothing is opened.

    Raises `DataError` for a Windows path and for an unknown home folder.
    """
    if name.startswith(SCHEME):
        return from_uri(name)
    name = local(name)
    if is_remote(name):
        return Embedded(name, partial(_fetch, name))
    if isinstance(folder, str) and not name.startswith("/"):
        return recording(f"{folder}/{name}", "")
    path = folder / name if isinstance(folder, Path) else Path(name)
    if "\\" in name and not path.exists():
        raise DataError(f"{name} is a Windows path; write it with / and from a folder of this machine")
    return path


def root_of(name: object, *folders: Path | str) -> Path | str:
    """The first of `folders` in which the relative path `name` exists, else the first."""
    if isinstance(name, str) and name and not is_remote(name) and not name.startswith((SCHEME, "/", "~")):
        for folder in folders:
            try:
                if isinstance(folder, Path) and (folder / name).exists():
                    return folder
            except (OSError, ValueError):  # A name that is too long, or holds "\0": reported with its row.
                break
    return folders[0]


@contextmanager
def opened(spec: str) -> Iterator[BinaryIO]:
    """The content of a file of a set, decompressed if it is gzipped. Raises `DataError` if it cannot be read."""
    try:
        with _raw(spec) as file:
            buffered: Any = file if hasattr(file, "peek") else io.BufferedReader(file)  # pyright: ignore
            if buffered.peek(2)[:2] == _GZIP:
                with gzip.open(buffered, "rb") as content:
                    yield content  # pyright: ignore[reportReturnType]
            else:
                yield buffered
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{spec}: the gzip file is cut off or damaged ({error}); copy it again") from error
    except IsADirectoryError as error:
        listing = next((one for one in sorted(Path(spec).iterdir()) if one.name.endswith(_LISTS)), None)
        such = f", such as {listing}" if listing else ""
        raise DataError(
            f"{spec}: is a folder of no form that is known; name a file in it{such}, or its form with --format"
        ) from error
    except OSError as error:
        if "\\" in spec:
            raise DataError(f"{spec}: is a Windows path; write it with / and from a folder of this machine") from error
        cause = error.strerror or str(error)
        raise DataError(f"{spec}: cannot be read ({cause}); correct the path of the dataset") from error


def lines(spec: str) -> Iterator[tuple[int, bytes]]:
    """Yields each non-blank line's number, from 1, and bytes, without a UTF-8 byte order mark.

    Raises `DataError` if the file cannot be read or is UTF-16.
    """
    with opened(spec) as file:
        for number, raw in enumerate(file, start=1):
            if number == 1 and raw.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise DataError(f"{spec}: the file is UTF-16; save it as UTF-8")
            content = (raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw).strip()
            if content:
                yield number, content


@contextmanager
def text_of(spec: str) -> Iterator[TextIO]:
    """A file's text, without a byte order mark; bytes that are not UTF-8 become surrogates. Raises `DataError`."""
    if head(spec).startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{spec}: the file is UTF-16; save it as UTF-8")
    with opened(spec) as file:
        yield io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")


def head(spec: str) -> bytes:
    """The first bytes of a file, decompressed; none of a folder and of what cannot be read."""
    try:
        stat = None if is_remote(spec) else Path(spec).stat()
        return _head(spec, stat and (stat.st_size, stat.st_mtime_ns))
    except (DataError, OSError, ValueError):
        return b""


@lru_cache(maxsize=16)
def _head(spec: str, stamp: object) -> bytes:
    if not is_remote(spec) and not Path(spec).is_file():
        return b""
    with opened(spec) as file:
        return file.read(HEAD)


def _raw(spec: str) -> Any:
    if not is_remote(spec):
        return Path(spec).open("rb")
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtraError(f"reading {spec}", "fsspec", "hub") from error
    try:
        return fsspec.open(spec, "rb").open()  # pyright: ignore[reportAttributeAccessIssue]
    except Exception as error:  # Each file system of fsspec has errors of its own.
        raise DataError(
            f"{spec}: the remote file cannot be read ({_cause(error)}); correct that, or copy it here"
        ) from error


def _fetch(url: str) -> bytes:
    try:
        with _raw(url) as file:
            return file.read()
    except DataError as error:
        raise AudioError(str(error)) from error
    except Exception as error:
        raise AudioError(f"{url}: the remote file cannot be read ({_cause(error)}); copy it here") from error


def _cause(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is none" if error.__cause__ is None else _cause(error.__cause__)
    return str(error).splitlines()[0] if str(error) else type(error).__name__
