"""The TensorFlow messages that this package reads, as classes of a private descriptor pool.

Our own .proto files in `protos/` are compiled to `descriptors.binpb` in this folder.
If they were in protobuf's default pool, or used TensorFlow's package name, TensorFlow could not be imported after
tfckpt, nor tfckpt after TensorFlow.

`parse("BundleEntryProto", data)` returns a message; protobuf is imported on the first call.
"""

from __future__ import annotations

import functools
import pkgutil
import re
from typing import Any

from .errors import CorruptionError, UnsupportedFeatureError

PACKAGE = "tfckpt"
#: Any escape in the text format; only those of characters are changed.
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|.)", re.DOTALL)


@functools.cache
def message_class(name: str) -> Any:
    """Return the class of a message; the name of a nested one contains a dot, as in `AttrValue.ListValue`."""
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{PACKAGE}.{name}"))


def parse(name: str, data: bytes | memoryview) -> Any:
    """Parse a message; `CorruptionError` if the bytes are not valid."""
    from google.protobuf.message import DecodeError

    try:
        return message_class(name).FromString(bytes(data))
    except DecodeError as error:
        raise CorruptionError(f"{len(data)} bytes do not parse as {name}: {error}") from error


def parse_text(name: str, text: str, *, allow_unknown_fields: bool = False) -> Any:
    """Parse a message in protobuf's text format; the `CorruptionError` for invalid text says line and column.

    If a singular field occurs twice, the last one wins, as in TensorFlow.
    """
    from google.protobuf import text_format

    text = _ESCAPE.sub(_escape_bytes, text)
    try:
        return text_format.Merge(
            text, message_class(name)(), allow_unknown_field=allow_unknown_fields, descriptor_pool=_pool()
        )
    except (text_format.ParseError, ValueError, Warning) as error:
        # A bad escape is a UnicodeDecodeError before release 5 and a warning since then, which may be set to raise.
        raise CorruptionError(f"does not parse as {name}: {error}") from error
    except RecursionError:
        raise CorruptionError(f"does not parse as {name}: nested too deeply") from None


def parse_json(name: str, value: Any) -> Any:
    """Return the message of protobuf's JSON form, already read as Python values; unknown fields are skipped.

    Raises `CorruptionError` if a value does not fit its field.
    """
    from google.protobuf import json_format

    try:
        return json_format.ParseDict(value, message_class(name)(), ignore_unknown_fields=True, descriptor_pool=_pool())
    except (json_format.ParseError, TypeError, ValueError, AttributeError) as error:
        raise CorruptionError(f"does not parse as {name}: {error}") from error
    except RecursionError:
        raise CorruptionError(f"does not parse as {name}: nested too deeply") from None


def format_text(message: Any) -> str:
    """Return a message in protobuf's text format, one field per line; non-ASCII characters are not escaped."""
    from google.protobuf import text_format

    return text_format.MessageToString(message, as_utf8=True, descriptor_pool=_pool())


def check_version(version: Any, supported: int, what: str) -> None:
    """Raise `UnsupportedFeatureError` if a VersionDef excludes readers of version `supported`; same as TensorFlow."""
    if version.producer < 0:
        raise UnsupportedFeatureError(f"{what} of version {version.producer}; the oldest version is 0")
    if version.min_consumer > supported:
        raise UnsupportedFeatureError(
            f"{what} needs a reader of version {version.min_consumer} or newer; this one has version {supported}: "
            "try a newer release of tfckpt"
        )
    if supported in version.bad_consumers:
        raise UnsupportedFeatureError(f"{what} must not be read by readers of version {supported}, such as this one")


def _escape_bytes(escape: re.Match[str]) -> str:
    r"""Return an escape of a character, `\u` or `\U`, as escapes of its bytes; releases before 5 know no others."""
    number = int(escape[1] or escape[2] or "0", 16)
    if not (escape[1] or escape[2]) or 0xD800 <= number < 0xE000 or number > 0x10FFFF:
        return escape[0]
    return "".join(f"\\{byte:03o}" for byte in chr(number).encode("utf-8"))


@functools.cache
def _pool() -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool

    data = pkgutil.get_data(__package__, "descriptors.binpb")
    assert data is not None, "descriptors.binpb is part of the package"
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
        pool.Add(file)
    return pool
