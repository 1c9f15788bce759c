"""Descriptions of files that are not checkpoints, with advice on what to do."""

from __future__ import annotations

from .._typing import ByteSource
from ..coding.crc32c import crc32c, mask
from ..sstable.format import is_table

UNKNOWN = "a file of unknown type"
TEXT = "a text file"
HDF5 = "an HDF5 file, as Keras writes .h5 and .weights.h5"

#: What a download that went wrong leaves under the right name.
_WRONG_DOWNLOADS = (
    (b"\x1f\x8b", "gzip data; decompress it first"),
    (b"version https://git-lfs", "a Git LFS pointer; download the file itself with: git lfs pull"),
    (b"<!DOCTYPE", "an HTML page; the download probably failed"),
    (b"<html", "an HTML page; the download probably failed"),
    (b"<?xml", "an XML document; the download probably failed"),
)
_MAGICS = (
    *_WRONG_DOWNLOADS,
    (b"GGUF", "a GGUF model"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"\x93NUMPY", "a NumPy .npy array"),
)


def describe_file(source: ByteSource, path: str = "") -> str:
    """Return a short description of a file, from its first bytes, or from its name if these are not enough."""
    if source.size == 0:
        return "an empty file"
    if is_table(source):
        return "a table file of a TensorFlow checkpoint"
    head = bytes(source.read(0, min(source.size, 512)))
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return HDF5
    if head.startswith(b"PK\x03\x04"):
        if path.endswith(".keras"):
            return "a Keras model (.keras, a zip archive with the weights as HDF5)"
        return "a zip archive (.keras, .npz, PyTorch .pth or other files)"
    for magic, words in _MAGICS:
        if head.startswith(magic):
            return words
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model"
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < source.size:
        return "a safetensors file"
    if len(head) >= 12 and int.from_bytes(head[8:12], "little") == mask(crc32c(head[:8])):
        return "a TFRecord file (a data set, or events for TensorBoard)"
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return _describe_by_name(path)
        text = head[: error.start].decode("utf-8")
    return TEXT if all(c.isprintable() or c in "\r\n\t" for c in text) else _describe_by_name(path)


def describe_wrong_download(source: ByteSource) -> str:
    """Return what a file is that is smaller than it should be, or nothing if its first bytes do not show it."""
    head = bytes(source.read(0, min(source.size, 512)))
    return next((words for magic, words in _WRONG_DOWNLOADS if head.startswith(magic)), "")


def _describe_by_name(path: str) -> str:
    if path.endswith(".pb"):
        return "probably a graph (.pb), whose values are constants if it is frozen; tf2torch inspect and export take it"
    return UNKNOWN
