"""One error hierarchy. Each class also derives from the stdlib type a caller would expect to catch.

Every message names the thing at fault (row, key, file), the cause, and the remedy.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path


class AntiphonError(Exception):
    """Base of every error antiphon raises on purpose; the command line prints it without a traceback."""


class ConfigError(AntiphonError, ValueError):
    """A recipe, an override or a command-line option is wrong."""


class DataError(AntiphonError, ValueError):
    """A row of a dataset is wrong: malformed, unknown task, missing text."""


class AudioError(DataError):
    """A clip cannot be used: missing, unreadable, empty, not finite, out of range."""


class RewardError(AntiphonError, ValueError):
    """A reward failed or returned something that is not a finite number."""


class ModelError(AntiphonError, RuntimeError):
    """A model cannot be loaded or cannot do what is asked of it."""


class RunError(AntiphonError, OSError):
    """A run folder or checkpoint is missing, partial or not writable."""


class RankError(AntiphonError, RuntimeError):
    """Another rank of a data-parallel job failed, and this one ends with it."""


class MissingExtraError(AntiphonError, ImportError):
    """A feature needs an optional dependency; the message says which extra to install."""

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(f"{feature} needs the package {package!r}; install it with: pip install 'antiphon[{extra}]'")


def did_you_mean(
    name: str,
    known: Iterable[str],
    otherwise: str | None = None,
    cutoff: float = 0.6,
    show: Callable[[str], str] = repr,
) -> str:
    """The end of a message about an unknown `name`: the nearest of `known`, or `otherwise` where none is near.

    `otherwise` lists all of `known` by default. `cutoff` is the least likeness, from 0 to 1; `show` writes a name.
    """
    names = list(known)
    if near := difflib.get_close_matches(name, names, n=1, cutoff=cutoff):
        return f"did you mean {show(near[0])}?"
    return f"there are: {', '.join(names) or 'none'}" if otherwise is None else otherwise


def describe(error: BaseException) -> str:
    """One line: the kind of error, what it says, and the last line of the user's or a library's code it came from."""
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    ours = Path(__file__).parent
    frames = [one for one in traceback.extract_tb(error.__traceback__) if ours not in Path(one.filename).parents]
    if isinstance(error, SyntaxError) or not frames:
        return said
    return f"{said} [{Path(frames[-1].filename).name}, line {frames[-1].lineno}]"
