"""WebDataset shards: of each example a recording, its text and a JSON object."""

from __future__ import annotations

from collections.abc import Iterable

from antiphon.data.export import Out, clip_of, encoded, fields
from antiphon.errors import MissingExtraError
from antiphon.runs.atomic import finite
from antiphon.types import Example

_SHARD_BYTES = 1e9
_SHARD_SAMPLES = 10_000


def write(examples: Iterable[Example], out: Out) -> str:
    """Write `NAME-000000.tar` and so on, of at most 10,000 samples or 1 GB. Raises `MissingExtraError`."""
    try:
        from webdataset.writer import ShardWriter
    except ImportError as error:
        raise MissingExtraError("writing WebDataset shards", "webdataset", "webdataset") from error
    pattern = f"{out.folder}/{out.name}-%06d.tar".replace("%06d", "\0").replace("%", "%%").replace("\0", "%06d")
    with ShardWriter(pattern, maxcount=_SHARD_SAMPLES, maxsize=_SHARD_BYTES, verbose=0, mtime=0.0) as writer:
        for example in examples:
            content, ending = encoded(clip_of(example))
            rest = finite({name: value for name, value in fields(example).items() if name != "text"})
            writer.write(
                {
                    "__key__": out.safe(example.id, dots=False),
                    ending.lstrip("."): content,
                    "txt": example.text,
                    "json": rest,
                }
            )
    return f"{out.name}-*.tar" if out.parts else "."
