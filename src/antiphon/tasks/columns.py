"""How tables, reports and pages show the figures of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A figure of a summary."""

    key: str
    """Its key in the summary."""
    title: str
    short: str = ""
    """Title for narrow tables; default: `title`."""
    form: str = "{:.1%}"
    """Format of a value, as for `str.format`."""
    lower_is_better: bool = True
    optional: bool = False
    """Omitted from narrow tables if it is zero or missing in all sets."""

    @property
    def head(self) -> str:
        return self.short or self.title

    @property
    def label(self) -> str:
        """The title, capitalized."""
        return self.title[:1].upper() + self.title[1:]

    @property
    def is_percent(self) -> bool:
        return self.form.endswith("%}")

    @property
    def scale(self) -> float:
        """Factor for values in plots."""
        return 100.0 if self.is_percent else 1.0

    @property
    def axis(self) -> str:
        """Axis label in plots."""
        return f"{self.title} (%)" if self.is_percent else self.title

    def show(self, value: float | None) -> str:
        """Format a value; None is a dash."""
        if value is None:
            return "–"
        try:
            return self.form.format(value)
        except (ValueError, KeyError, IndexError, AttributeError):
            return f"{value:.4g}"

    def show_interval(self, ends: Sequence[float] | None) -> str:
        """`10.1 to 14.6%`; None is a dash."""
        return f"{self.show(ends[0])} to {self.show(ends[1])}" if ends else "–"

    def show_with_interval(self, value: float | None, ends: Sequence[float] | None) -> str:
        """`12.3% [10.1, 14.6]`."""
        if not ends:
            return self.show(value)
        unit = "%" if self.is_percent else self.form.rpartition("}")[2]
        low, high = (self.show(end).removesuffix(unit) for end in ends)
        return f"{self.show(value)} [{low}, {high}]"


REWARD = Column("reward", "reward", form="{:.3f}", lower_is_better=False)
REWARDED = (
    REWARD,
    Column("reward_best", "best reward of n", "best of n", form="{:.3f}", lower_is_better=False),
)
"""Columns of every evaluation with rewards."""
SHARES = (
    Column("empty_share", "empty", optional=True),
    Column("truncated_share", "cut off", "cut", optional=True),
)
"""Columns that any evaluation may have."""
