"""The TensorFlow messages this package reads, as classes of a private descriptor pool.

The sources are our own .proto files in `protos/`, compiled to `descriptors.binpb` beside this module.
A private pool and a package name of our own keep them apart from TensorFlow's messages:
either package can be imported first, in one process.

`parse("BundleEntryProto", data)` gives a message; protobuf is imported at the first call.
"""

from __future__ import annotations

import functools
import pkgutil
from typing import Any

from .errors import CorruptionError

PACKAGE = "tfckpt"


@functools.cache
def message_class(name: str) -> Any:
    """The class of a message; nested ones with a dot: `AttrValue.ListValue`."""
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{PACKAGE}.{name}"))


def parse(name: str, data: bytes | memoryview) -> Any:
    """A message from its bytes; `CorruptionError` if they are none."""
    from google.protobuf.message import DecodeError

    try:
        return message_class(name).FromString(bytes(data))
    except DecodeError as error:
        raise CorruptionError(f"{len(data)} bytes do not parse as {name}: {error}") from error


def parse_text(name: str, text: str) -> Any:
    """A message from protobuf's text format; `CorruptionError` with line and column if it does not parse.

    Of a singular field that is given twice the last one counts, as in TensorFlow.
    """
    from google.protobuf import text_format

    try:
        return text_format.Merge(text, message_class(name)(), descriptor_pool=_pool())
    except (text_format.ParseError, ValueError, Warning) as error:
        # Releases before 5 let a bad escape through as UnicodeDecodeError, later ones warn; callers may raise that.
        raise CorruptionError(f"does not parse as {name}: {error}") from error


def format_text(message: Any) -> str:
    """A message in protobuf's text format, one field a line, characters beyond ASCII as they are."""
    from google.protobuf import text_format

    return text_format.MessageToString(message, as_utf8=True, descriptor_pool=_pool())


@functools.cache
def _pool() -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool

    data = pkgutil.get_data(__package__, "descriptors.binpb")
    assert data is not None, "descriptors.binpb is part of the package"
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
        pool.Add(file)
    return pool
