"""ArrayRecord files of tf.Example messages, with samples as floats: `audio`, `audio_len`, `sample_rate` and `text`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from antiphon.audio.decode import FileClip, probe
from antiphon.data import example_proto
from antiphon.data.export import RATE, Out, clip_of, fields
from antiphon.errors import MissingExtraError
from antiphon.types import Example


def write(examples: Iterable[Example], out: Out) -> str:
    """Write `NAME.arrayrecord`, whose records are read one by one. Audio is mono, at the recording's own rate.

    Raises `MissingExtraError` without `array_record`.
    """
    try:
        from array_record.python.array_record_module import ArrayRecordWriter
    except ImportError as error:
        raise MissingExtraError("writing ArrayRecord files", "array_record", "arrayrecord") from error
    name = f"{out.name}.arrayrecord"
    writer = ArrayRecordWriter(str(out.folder / name), "group_size:1")
    try:
        for example in examples:
            writer.write(example_proto.serialize(_features(example)))
    finally:
        writer.close()
    return name


def _features(example: Example) -> dict[str, example_proto.Feature]:
    clip = clip_of(example)
    rate = probe(clip.path).rate if isinstance(clip, FileClip) else RATE
    samples = clip.load(rate)
    features = {name: _feature(value) for name, value in fields(example).items()}
    return features | {"audio": samples.tolist(), "audio_len": [len(samples)], "sample_rate": [rate]}


def _feature(value: Any) -> example_proto.Feature:
    if isinstance(value, bool):
        return [int(value)]
    if isinstance(value, int | float):
        return [value]  # pyright: ignore[reportReturnType]
    return [(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).encode()]
