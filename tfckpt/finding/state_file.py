"""The `checkpoint` state file: the latest checkpoint of a folder (TensorFlow `checkpoint_management.py`).

A CheckpointState message in protobuf's text format, as training jobs write it::

    model_checkpoint_path: "model.ckpt-322"
    all_model_checkpoint_paths: "model.ckpt-300"
    all_model_checkpoint_paths: "model.ckpt-322"

A relative path is relative to the folder of the state file.

On Windows, TensorFlow writes `"C:\\\\train\\\\model.ckpt-322"`, and people who edit the file there also write
`"C:\\train\\model.ckpt-322"`, where the format would read `\\t` as a tab, and add a byte-order mark.
"""

from __future__ import annotations

import codecs
import contextlib
import dataclasses
import ntpath
import os
import re
import time
from typing import Any

from .. import protos
from .._typing import PathLike
from ..errors import CorruptionError, error_context
from ..files.atomic import atomic_file
from ..limits import DEFAULT_LIMITS, Limits, check_limit
from ..sinks.opening import is_address
from ..storage.base import Storage
from ..storage.local import LocalStorage

STATE_NAME = "checkpoint"
#: A path that begins with a drive, or a server, and backslashes that are not escaped.
_RAW_DRIVE = re.compile(r"""["'](?:[A-Za-z]:\\(?!\\)|\\\\(?!\\))""")

#: Escapes that TensorFlow writes: a backslash, and the bytes of characters that are not ASCII.
_ESCAPED = re.compile(r"\\(?:\\|[0-7]{3})")


@dataclasses.dataclass(frozen=True, slots=True)
class CheckpointState:
    """The contents of a state file; paths as written there, timestamps in seconds since 1970."""

    model_checkpoint_path: str
    all_model_checkpoint_paths: tuple[str, ...]
    all_model_checkpoint_timestamps: tuple[float, ...]
    last_preserved_timestamp: float


def read_state(
    storage: Storage,
    folder: str,
    limits: Limits = DEFAULT_LIMITS,
    *,
    name: str = STATE_NAME,
    is_strict: bool = False,
) -> CheckpointState | None:
    """Read the state file of a folder; return None if it does not exist.

    A byte-order mark and backslashes that are not escaped are accepted, unless `is_strict`, as TensorFlow is.
    Raises `CorruptionError` if it does not parse, where TensorFlow warns and goes on without it.
    """
    path = storage.join(folder, name)
    if not storage.is_file(path):
        return None
    source = storage.open(path)
    with error_context(path=path):
        check_limit(limits, "max_state_bytes", source.size, "state file is too large")
        data = bytes(source.read(0, source.size))
        source.close()
        message = protos.parse_text("CheckpointState", _decode(data, "utf-8")) if is_strict else _parse(_decode(data))
    return CheckpointState(
        message.model_checkpoint_path,
        tuple(message.all_model_checkpoint_paths),
        tuple(message.all_model_checkpoint_timestamps),
        message.last_preserved_timestamp,
    )


def windows_name(path: str) -> str | None:
    """Return the last name of a path with backslashes, read as a path of Windows; None for other paths."""
    return ntpath.basename(path) if "\\" in path else None


def windows_relative(path: str) -> str | None:
    """Return a relative path with backslashes as one with slashes; None for other paths."""
    return path.replace("\\", "/") if "\\" in path and path[0] not in "/\\" and not ntpath.splitdrive(path)[0] else None


def _decode(data: bytes, encoding: str = "utf-8-sig") -> str:
    if encoding == "utf-8-sig" and data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise CorruptionError("the state file is not UTF-8 text", offset=error.start) from error


def _parse(text: str) -> Any:
    """Parse a state file whose backslashes are escaped, or not."""
    if _RAW_DRIVE.search(text):
        return protos.parse_text("CheckpointState", text.replace("\\", "\\\\"))
    try:
        return protos.parse_text("CheckpointState", text)
    except CorruptionError:
        if "\\" not in text or _ESCAPED.search(text):
            raise
        with contextlib.suppress(CorruptionError):
            return protos.parse_text("CheckpointState", text.replace("\\", "\\\\"))
        raise


def encode_state(state: CheckpointState) -> bytes:
    """Encode a state file as text, one field per line, as TensorFlow does."""
    message = protos.message_class("CheckpointState")(
        model_checkpoint_path=state.model_checkpoint_path,
        all_model_checkpoint_paths=state.all_model_checkpoint_paths,
        all_model_checkpoint_timestamps=state.all_model_checkpoint_timestamps,
        last_preserved_timestamp=state.last_preserved_timestamp,
    )
    return protos.format_text(message).encode("utf-8")


def check_is_local(prefix: PathLike) -> None:
    """Raise `ValueError` if the state file for a new checkpoint would be at an address."""
    if is_address(prefix):
        raise ValueError("a state file in object storage cannot be updated")


def update_state(prefix: str, *, keep_older: bool = False) -> None:
    """Name a local checkpoint as the latest in the state file of its folder, with a relative path.

    With `keep_older` the checkpoints already in the file stay before it, with their timestamps; otherwise it
    becomes the only one.
    """
    folder, name = os.path.split(prefix)
    older = read_state(LocalStorage(), folder) if keep_older else None
    paths: list[str] = [name]
    times: list[float] = []
    preserved = 0.0
    if older is not None:
        own = os.path.abspath(prefix)
        others = [
            number
            for number, path in enumerate(older.all_model_checkpoint_paths)
            if os.path.abspath(os.path.join(folder, path)) != own
        ]
        has_times = len(older.all_model_checkpoint_timestamps) == len(older.all_model_checkpoint_paths)
        paths = [*(older.all_model_checkpoint_paths[number] for number in others), name]
        if has_times and older.all_model_checkpoint_timestamps:
            times = [*(older.all_model_checkpoint_timestamps[number] for number in others), time.time()]
        preserved = older.last_preserved_timestamp
    text = encode_state(CheckpointState(name, tuple(paths), tuple(times), preserved))
    with atomic_file(os.path.join(folder, STATE_NAME), overwrite=True) as file:
        file.write(text)
