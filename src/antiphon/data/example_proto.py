"""TensorFlow's message `tf.train.Example`, built from its field numbers, without TensorFlow.

Source: tensorflow/core/example/example.proto and feature.proto.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from antiphon.errors import MissingExtraError

Feature = Sequence[bytes] | Sequence[float] | Sequence[int]
_KINDS = {"bytes": ("BytesList", 12), "float": ("FloatList", 2), "int64": ("Int64List", 3)}
"""The lists that a feature may hold: message and type of value, by protobuf's number."""


def parse(record: bytes) -> dict[str, Feature]:
    """The features of a serialized example, by name. Raises `ValueError` if it is none."""
    from google.protobuf.message import DecodeError

    message = _example()()
    try:
        message.ParseFromString(record)
    except DecodeError as error:
        raise ValueError(str(error)) from error
    found: dict[str, Feature] = {}
    for name, feature in message.features.feature.items():
        kind = feature.WhichOneof("kind")
        found[name] = list(getattr(feature, kind).value) if kind else []
    return found


def serialize(features: Mapping[str, Feature]) -> bytes:
    """Features as a serialized example, the same bytes for the same features."""
    message = _example()()
    for name, values in features.items():
        feature = message.features.feature[name]
        first = next(iter(values), b"")
        kind = "bytes" if isinstance(first, bytes) else "int64" if isinstance(first, int) else "float"
        getattr(feature, f"{kind}_list").value.extend(values)
    return message.SerializeToString(deterministic=True)


@cache
def _example() -> Any:
    """The message class `tensorflow.Example`, in a pool of its own."""
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError as error:
        raise MissingExtraError("reading tf.Example", "protobuf", "arrayrecord") from error
    file = descriptor_pb2.FileDescriptorProto(name="antiphon/example.proto", package="tensorflow", syntax="proto3")
    for name, type in _KINDS.values():
        value = file.message_type.add(name=name).field.add(name="value", number=1, type=type, label=3)
        if type != 12:
            value.options.packed = True
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (kind, (name, _)) in enumerate(_KINDS.items(), start=1):
        feature.field.add(
            name=f"{kind}_list", number=number, type=11, label=1, type_name=f".tensorflow.{name}", oneof_index=0
        )
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=9, label=1)
    entry.field.add(name="value", number=2, type=11, label=1, type_name=".tensorflow.Feature")
    features.field.add(name="feature", number=1, type=11, label=3, type_name=".tensorflow.Features.FeatureEntry")
    example = file.message_type.add(name="Example")
    example.field.add(name="features", number=1, type=11, label=1, type_name=".tensorflow.Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))
