"""Examples of a large set, made when they are asked for: a set of references takes a fraction of the memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any, overload

import numpy as np
import pyarrow as pa

from antiphon.types import Example

Make = Callable[[Mapping[str, Any]], Example]
"""Makes the example of a row of an index."""


class Indexed(Sequence[Example]):
    """A sequence of examples over an Arrow table, with a row for each; `make` makes one of its row."""

    def __init__(self, table: pa.Table, make: Make) -> None:
        self.table = table
        self._make = make

    def __len__(self) -> int:
        return self.table.num_rows

    @overload
    def __getitem__(self, at: int) -> Example: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Example]: ...
    def __getitem__(self, at: int | slice) -> Example | Sequence[Example]:
        if isinstance(at, slice):
            return self.select(np.arange(len(self))[at])
        place = range(len(self))[at]
        return self._make({name: self.table.column(name)[place].as_py() for name in self.table.column_names})

    def __iter__(self) -> Iterator[Example]:
        for batch in self.table.to_batches(max_chunksize=1024):
            yield from map(self._make, batch.to_pylist())

    def select(self, places: np.ndarray) -> Indexed:
        """The examples at `places`, in that order."""
        return Indexed(self.table.take(pa.array(places)), self._make)


class Joined(Sequence[Example]):
    """Several sequences, one after the other."""

    def __init__(self, parts: Sequence[Sequence[Example]]) -> None:
        self.parts = list(parts)
        self._ends = list(accumulate(map(len, parts)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, at: int) -> Example: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Example]: ...
    def __getitem__(self, at: int | slice) -> Example | Sequence[Example]:
        if isinstance(at, slice):
            return select(self, np.arange(len(self))[at])
        place = range(len(self))[at]
        part = bisect_right(self._ends, place)
        return self.parts[part][place - (self._ends[part - 1] if part else 0)]

    def __iter__(self) -> Iterator[Example]:
        for part in self.parts:
            yield from part


class ById(Mapping[str, Example]):
    """Examples by id; of an `Indexed` set, they are made when they are asked for."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self._examples = examples
        """Ids are unique. They are looked through when the first one is asked for."""

    def __getitem__(self, id: str) -> Example:
        return self._examples[self._places[id]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._examples)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {id: place for place, id in enumerate(ids(self._examples).to_pylist())}


def joined(parts: Sequence[Sequence[Example]]) -> Sequence[Example]:
    """All parts as one sequence: a list, unless one of them is indexed."""
    if not any(isinstance(part, Indexed | Joined) for part in parts):
        return [example for part in parts for example in part]
    return parts[0] if len(parts) == 1 else Joined(parts)


def select(examples: Sequence[Example], places: np.ndarray) -> Sequence[Example]:
    """The examples at `places`, which ascend."""
    if isinstance(examples, Indexed):
        return examples.select(places)
    if not isinstance(examples, Joined):
        return [examples[place] for place in places.tolist()]
    chosen, begin = [], 0
    for part in examples.parts:
        inside = places[(begin <= places) & (places < begin + len(part))]
        chosen.append(select(part, inside - begin))
        begin += len(part)
    return joined(chosen)


def strings(examples: Sequence[Example], name: str) -> pa.ChunkedArray:
    """A field of every example, `id`, `text`, `language` or `speaker`, without making the examples."""
    if isinstance(examples, Indexed):
        return examples.table.column(name)
    if isinstance(examples, Joined):
        chunks = [chunk for part in examples.parts for chunk in strings(part, name).chunks]
        return pa.chunked_array(chunks, pa.string())
    return pa.chunked_array([pa.array([getattr(example, name) for example in examples], pa.string())])


def ids(examples: Sequence[Example]) -> pa.ChunkedArray:
    """The id of every example."""
    return strings(examples, "id")


def asking(examples: Sequence[Example]) -> Sequence[Example]:
    """The examples whose rows may ask something of their own, and perhaps others, without making those of an index."""
    if isinstance(examples, Indexed):
        return examples.select(np.flatnonzero(examples.table["asks"].to_numpy()))
    return joined([asking(part) for part in examples.parts]) if isinstance(examples, Joined) else examples


def repeated(values: pa.ChunkedArray) -> np.ndarray:
    """Where an earlier value is the same [N, bool]; null is equal to nothing."""
    codes = values.combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    known = ~np.isnan(codes) if codes.dtype.kind == "f" else np.ones(len(codes), bool)
    again = np.zeros(len(codes), bool)
    places = np.flatnonzero(known)
    again[places] = True
    again[places[np.unique(codes[places], return_index=True)[1]]] = False
    return again


def said(examples: Sequence[Example]) -> Iterator[tuple[str, str, str | None]]:
    """Each text in each language once, with the id of the first example that has it, without making the examples."""
    seen: set[tuple[str, str | None]] = set()
    columns = [strings(examples, name) for name in ("id", "text", "language")]
    for start in range(0, len(examples), 1 << 14):
        part = [column.slice(start, 1 << 14).to_pylist() for column in columns]
        for id, text, language in zip(*part, strict=True):
            if (text, language) not in seen:
                seen.add((text, language))
                yield id, text, language
