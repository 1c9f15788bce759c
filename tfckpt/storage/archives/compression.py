"""Decompression in bounded pieces: gzip, bzip2, xz and raw deflate.

Every piece of output is counted, so a small file that decompresses to a huge one runs into a limit on the way.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any

from ..._typing import ByteSource
from ...errors import CorruptionError, LimitExceededError, TruncatedError
from ...limits import Limits, check_limit

_OUTPUT_BYTES = 1 << 20
#: Bytes read at a time. The input left after a stream is copied, and a stream can be as short as 14 bytes,
#: so that a larger number would cost time in archives of many short streams.
_INPUT_BYTES = 32 << 10
#: Up to this size, any expansion is cheap enough to allow.
_FREE_BYTES = 256 << 20
#: The largest preset of xz (-9) needs 65 MB.
_XZ_MEMORY_BYTES = 128 << 20


class Allowance:
    """The number of bytes that one archive may still decompress to, shared by its members."""

    def __init__(self, packed: int, limits: Limits) -> None:
        """Start with nothing taken, for an archive of `packed` bytes."""
        self._taken = 0
        self._packed = packed
        self._limits = limits

    def take(self, count: int) -> None:
        """Count bytes decompressed, or claimed by a header; raise `LimitExceededError` if there are too many."""
        self._taken += count
        limits = self._limits
        check_limit(limits, "max_unpacked_bytes", self._taken, "archive too large when decompressed")
        if self._taken > max(_FREE_BYTES, limits.max_expansion * self._packed):
            raise LimitExceededError(
                f"archive of {self._packed} bytes decompresses to {self._taken} bytes or more",
                limit="max_expansion",
                maximum=limits.max_expansion,
                claimed=-(-self._taken // max(self._packed, 1)),
            )


class Unpacker:
    """The decompressed bytes of a range of a source, in order."""

    def __init__(self, source: ByteSource, kind: str, allowance: Allowance, *, offset: int = 0, size: int = -1) -> None:
        """Start at `offset` of a source, for `size` bytes, or to its end if `size` is -1.

        `kind` is a format in `kinds.COMPRESSIONS`, or "deflate".
        """
        self._source = source
        self._kind = kind
        self._allowance = allowance
        self._position = offset
        self._end = source.size if size < 0 else offset + size
        self._new_decoder: Callable[[], Any] = _DECODERS[kind]
        self._decoder = self._new_decoder()
        self._pending: bytes | memoryview = b""

    def read_piece(self) -> bytes:
        """Return the next bytes, at most 1 MiB; empty at the end. The format's own checksums are verified on the way.

        Concatenated gzip, bzip2 or xz streams are read as one, as their command-line tools do.
        """
        while True:
            if self._decoder.eof and (self._kind == "deflate" or not self._begin_next_stream()):
                return b""
            needs_input = not self._pending and getattr(self._decoder, "needs_input", True)
            if needs_input:
                self._pending = self._read_input()
            piece = self._decode(self._pending)
            if piece:
                self._allowance.take(len(piece))
                return piece
            if needs_input and not self._pending and self._position >= self._end and not self._decoder.eof:
                raise TruncatedError(
                    f"{self._kind} data ends before its end marker",
                    needed=1,
                    available=0,
                    path=self._source.name,
                    offset=self._position,
                )

    def _decode(self, data: bytes | memoryview) -> bytes:
        decoder = self._decoder
        try:
            piece: bytes = decoder.decompress(data, _OUTPUT_BYTES)
        except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
            raise CorruptionError(
                f"damaged {self._kind} data: {error}", path=self._source.name, offset=self._position
            ) from error
        if decoder.eof:
            self._pending = decoder.unused_data
        else:
            # bz2 and lzma keep unused input; zlib returns it.
            self._pending = getattr(decoder, "unconsumed_tail", b"")
        return piece

    def _begin_next_stream(self) -> bool:
        pending = bytes(self._pending)
        while not pending.strip(b"\0"):  # zero padding after a stream is legal
            data = self._read_input()
            if not data:
                return False
            pending = bytes(data)
        self._pending = pending.lstrip(b"\0")
        self._decoder = self._new_decoder()
        return True

    def _read_input(self) -> memoryview:
        view = self._source.read(self._position, min(_INPUT_BYTES, self._end - self._position))
        self._position += len(view)
        return view


_DECODERS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "deflate": lambda: zlib.decompressobj(wbits=-15),
    "bzip2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES),
}
