"""From what the user typed to the checkpoint it means, or to a sentence that says what stands there instead."""

from __future__ import annotations

import dataclasses

from ._typing import ByteSource
from .bundle import naming
from .checkpoint_state import STATE_NAME, read_state
from .errors import CheckpointError, CheckpointNotFoundError, CorruptionError, UnsupportedFeatureError, close_names
from .limits import DEFAULT_LIMITS, Limits
from .sstable.format import is_table
from .storage.base import Storage

_SAVED_MODEL_PREFIX = ("variables", "variables")


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """A checkpoint: its prefix in the storage, and what a person should know about how it was found."""

    prefix: str
    notes: tuple[str, ...] = ()


def find(storage: Storage, path: str, limits: Limits = DEFAULT_LIMITS) -> Found:
    """The checkpoint that a prefix, a member file, a state file or a folder means."""
    if storage.is_file(naming.index_name(path)):
        return Found(path)
    if storage.is_folder(path):
        return _find_in_folder(storage, path, limits)
    if storage.is_file(path):
        return _find_from_file(storage, path, limits)
    raise _nothing_at(storage, path)


def _find_from_file(storage: Storage, path: str, limits: Limits) -> Found:
    prefix = naming.prefix_of_member(path)
    if prefix is not None and storage.is_file(naming.index_name(prefix)):
        return Found(prefix)
    source = storage.open(path)
    folder, name = storage.split(path)
    if name == STATE_NAME and not is_table(source):
        return _follow_state(storage, folder, limits)
    if is_table(source):
        raise UnsupportedFeatureError("this is a V1 checkpoint (one table file), which is not read yet", path=path)
    if prefix is not None and name.startswith(storage.split(prefix)[1] + ".data-"):
        raise CheckpointNotFoundError(
            f"this is a data shard, and its index file {storage.split(naming.index_name(prefix))[1]} is not beside it; "
            "without the index nobody knows what the bytes mean",
            path=path,
        )
    if prefix is not None and name.endswith(naming.META_SUFFIX):
        raise CheckpointNotFoundError(
            f"this is a graph without its checkpoint: {storage.split(naming.index_name(prefix))[1]} is not beside it",
            path=path,
        )
    raise CheckpointNotFoundError(f"not a TensorFlow checkpoint: this is {what_is(source)}", path=path)


def explain_index(storage: Storage, prefix: str, error: CorruptionError) -> CheckpointError:
    """For an index file that cannot be opened: what it is instead of one, or the error itself if it is a table."""
    source = storage.open(naming.index_name(prefix))
    if is_table(source):
        return error
    content = what_is(source)
    if content == _UNKNOWN:
        return CorruptionError(
            f"not an index file: {source.size} bytes that do not end in the magic number of a table; "
            "it may have been cut short or changed on the way here: fetch it again",
            path=source.name,
        )
    return CheckpointNotFoundError(f"not an index file: this is {content}", path=source.name)


def _find_in_folder(storage: Storage, folder: str, limits: Limits) -> Found:
    if storage.is_file(storage.join(folder, STATE_NAME)):
        return _follow_state(storage, folder, limits)
    names = storage.list(folder)
    prefixes = [name.removesuffix(naming.INDEX_SUFFIX) for name in names if name.endswith(naming.INDEX_SUFFIX)]
    if len(prefixes) == 1:
        return Found(storage.join(folder, prefixes[0]))
    if prefixes:
        raise CheckpointNotFoundError(
            f"the folder has {len(prefixes)} checkpoints and no state file that says which is the latest; "
            f"name one of: {_some(storage.join(folder, prefix) for prefix in prefixes)}",
            path=folder,
        )
    inside = storage.join(folder, *_SAVED_MODEL_PREFIX)
    if storage.is_file(naming.index_name(inside)):
        return Found(inside)
    there = f"it holds {_some(names)}" if names else "it is empty"
    raise CheckpointNotFoundError(
        f"no checkpoint in this folder: no *.index file and no state file; {there}", path=folder
    )


def _follow_state(storage: Storage, folder: str, limits: Limits) -> Found:
    state = read_state(storage, folder, limits)
    path = storage.join(folder, STATE_NAME)
    if state is None or not state.model_checkpoint_path:
        raise CheckpointNotFoundError("the state file names no checkpoint", path=path)
    named = storage.join(folder, state.model_checkpoint_path)
    if storage.is_file(naming.index_name(named)):
        return Found(named)
    beside = storage.join(folder, storage.split(state.model_checkpoint_path)[1])
    if storage.is_file(naming.index_name(beside)):
        return Found(beside, (f"the state file names {named}, which is not there; read {beside} beside it instead",))
    raise CheckpointNotFoundError(
        f"the state file names {state.model_checkpoint_path}, and there is no {naming.index_name(named)}",
        path=path,
    )


def _nothing_at(storage: Storage, path: str) -> CheckpointNotFoundError:
    folder, name = storage.split(path)
    names = storage.list(folder)
    shards = [other for other in names if naming.prefix_of_member(other) == name]
    if shards:
        return CheckpointNotFoundError(
            f"the index file {name}{naming.INDEX_SUFFIX} is missing; there is only {_some(shards)}", path=path
        )
    if folder and not storage.is_folder(folder):
        return CheckpointNotFoundError(f"no such checkpoint: there is no folder {folder}", path=path)
    known = sorted({naming.prefix_of_member(other) or other for other in names})
    close = close_names(name, known)
    hint = f"; close names there: {_some(close)}" if close else ""
    return CheckpointNotFoundError(f"no such checkpoint, file or folder{hint}", path=path)


_UNKNOWN = "of no kind known here"
_HEADS = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras .h5 weights); open it with h5py"),
    (b"PK\x03\x04", "a zip archive (.keras, .npz, PyTorch .pth or an archive of other files)"),
    (b"\x1f\x8b", "gzip data; unpack it first"),
    (b"version https://git-lfs", "a Git LFS pointer and not the file itself; fetch it with: git lfs pull"),
    (b"GGUF", "a GGUF model"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"\x93NUMPY", "a NumPy .npy array"),
    (b"<!DOCTYPE", "an HTML page, probably a download that failed"),
    (b"<html", "an HTML page, probably a download that failed"),
    (b"<?xml", "an XML document, probably a download that failed"),
)


def what_is(source: ByteSource) -> str:
    """A few words for a person on what a file seems to be, from its first bytes."""
    if source.size == 0:
        return "an empty file"
    if is_table(source):
        return "a table file of a TensorFlow checkpoint"
    head = bytes(source.read(0, min(source.size, 512)))
    for magic, words in _HEADS:
        if head.startswith(magic):
            return words
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < source.size:
        return "a safetensors file"
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return _UNKNOWN
        text = head[: error.start].decode("utf-8")
    return "a text file" if all(c.isprintable() or c in "\r\n\t" for c in text) else _UNKNOWN


def _some(names: object, *, most: int = 8) -> str:
    """At most some of the names, with the number of the others."""
    listed = [str(name) for name in names]  # type: ignore[attr-defined]  # any iterable of texts
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
