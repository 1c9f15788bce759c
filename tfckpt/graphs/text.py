"""Graphs in protobuf's text form: `graph.pbtxt`, `saved_model.pbtxt`.

TensorFlow's enumerations are numbers in our messages, so their names are replaced first; fields that we do not read
are skipped. A file of this form does not say which message it contains; its first field does.
"""

from __future__ import annotations

import re
from typing import Any

from .. import protos
from .._typing import ByteSource
from ..errors import CorruptionError, error_context
from ..limits import DEFAULT_LIMITS, Limits, check_limit
from ..tensors.dtypes import data_type_named

#: The endings of files in text form.
TEXT_ENDINGS = (".pbtxt", ".prototxt")
#: A string, which is kept, a comment, which is dropped, or the name of a data type or a version.
_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|#[^\n]*|\bDT_\w+|\bversion:\s*(?:LEGACY|V1|V2)\b')
_VERSIONS = {"LEGACY": 0, "V1": 1, "V2": 2}
_REFERENCE = "_REF"
#: Numbers of reference types are this much higher.
_REFERENCES_FROM = 100
_FIRST_FIELD = re.compile(r"(?:\s|#[^\n]*(?:\n|\Z))*(\w+)")
#: The message that a first field belongs to.
_MESSAGES = {
    **dict.fromkeys(("node", "library", "versions", "version"), "GraphDef"),
    **dict.fromkeys(("meta_info_def", "graph_def", "saver_def", "collection_def", "signature_def"), "MetaGraphDef"),
    **dict.fromkeys(("saved_model_schema_version", "meta_graphs"), "SavedModel"),
}


def parse_text_graph(kind: str, text: str) -> Any:
    """Parse a message in text form; unknown fields are skipped. Raises `CorruptionError` if the text is not valid."""

    def replace(match: re.Match[str]) -> str:
        token = match[0]
        if token.startswith("DT_"):
            return str(data_type_number(token))
        if token.startswith("version:"):
            return f"version: {_VERSIONS[token.rpartition(':')[2].strip()]}"
        return " " if token.startswith("#") else token

    return protos.parse_text(kind, _TOKEN.sub(replace, text), allow_unknown_fields=True)


def data_type_number(name: str) -> int:
    """Return the number of a data type by the name of TensorFlow's enumeration, such as `DT_FLOAT` or `DT_FLOAT_REF`.

    Raises `CorruptionError` if there is no such type.
    """
    if name == "DT_INVALID":
        return 0
    try:
        number = data_type_named(name.removesuffix(_REFERENCE)).number
    except ValueError as error:
        raise CorruptionError(str(error)) from None
    return number + _REFERENCES_FROM if name.endswith(_REFERENCE) else number


def read_text_message(source: ByteSource, kind: str | None, limits: Limits = DEFAULT_LIMITS) -> tuple[str, Any]:
    """Read a file in text form, and return the name of its message and the message.

    If `kind` is None, the first field decides. Raises `CorruptionError` if the file is not such a message.
    """
    check_limit(limits, "max_graph_bytes", source.size, "graph file is too large", path=source.name)
    with error_context(path=source.name):
        try:
            text = bytes(source.read(0, source.size)).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise CorruptionError(f"not a text file: invalid UTF-8 at byte {error.start}") from None
        if kind is None:
            first = _FIRST_FIELD.match(text)
            kind = _MESSAGES.get(first[1]) if first is not None else None
            if kind is None:
                raise CorruptionError("not a graph in text form: it starts with none of the fields of one")
        return kind, parse_text_graph(kind, text)
