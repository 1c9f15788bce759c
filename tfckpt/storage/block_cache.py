"""A folder that keeps blocks of remote files, so that another process does not fetch them again.

::

    FOLDER/KEY.data      the file as far as it was fetched, with holes where it was not
    FOLDER/KEY.blocks    masked crc32c of each block of 32 KiB, fixed32; 0 where the block is missing

KEY is the SHA-256 of the address, the version and the size, so another version of a file is another entry.
Files without a version are not kept.
A block whose checksum differs is fetched again, so that a half-written entry does no harm;
the folder is trusted as much as the checkpoint itself, since who can write into it can also write the checksums.
Nothing is ever removed: delete the folder, or files in it, when they are not needed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

from .._typing import ByteView
from ..coding.crc32c import crc32c, mask
from ..coding.varint import decode_fixed32, encode_fixed32
from ..errors import StorageError
from .local import Descriptor
from .transport import Facts

BLOCK = 32 << 10


class BlockCache:
    """The folder; made when it is first needed."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def open(self, address: str, facts: Facts) -> CachedFile | None:
        """The entry of one version of a file; None if nothing tells its versions apart."""
        if facts.version is None or facts.size == 0:
            return None
        text = f"{address}\n{facts.version}\n{facts.size}"
        key = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            return CachedFile(os.path.join(self._folder, key), facts.size)
        except OSError as error:
            raise StorageError(f"cannot use the cache folder: {error.strerror}", path=self._folder) from error


class CachedFile:
    """One version of one remote file."""

    def __init__(self, path: str, size: int) -> None:
        self._size = size
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        flags |= getattr(os, "O_NOFOLLOW", 0)  # a link there would have us write into another file
        self._data = Descriptor(os.open(f"{path}.data", flags, 0o600))
        self._blocks = Descriptor(os.open(f"{path}.blocks", flags, 0o600))

    def read(self, offset: int, length: int, fetch: Callable[[int, int], ByteView]) -> ByteView:
        """These bytes of the file; `fetch(offset, length)` gives what is missing, adjoining blocks together."""
        first, last = offset // BLOCK, -(-(offset + length) // BLOCK)
        start, stop = first * BLOCK, min(last * BLOCK, self._size)
        data = bytearray(stop - start)
        have = self._load(first, last, data)
        number = first
        while number < last:
            if have[number - first]:
                number += 1
                continue
            run = number
            while run < last and not have[run - first]:
                run += 1
            run_start, run_stop = number * BLOCK, min(run * BLOCK, self._size)
            fetched = fetch(run_start, run_stop - run_start)
            data[run_start - start : run_stop - start] = fetched
            self._store(number, fetched)
            number = run
        return memoryview(data)[offset - start : offset - start + length].toreadonly()

    def _load(self, first: int, last: int, data: bytearray) -> list[bool]:
        """Fill in the blocks that are there and whole; whether each is."""
        sums = self._blocks.read_up_to(4 * first, 4 * (last - first)).ljust(4 * (last - first), b"\0")
        stored = self._data.read_up_to(first * BLOCK, len(data))
        have = []
        for number in range(last - first):
            block = stored[number * BLOCK : min((number + 1) * BLOCK, len(data))]
            expected, _ = decode_fixed32(sums, 4 * number)
            whole = expected != 0 and mask(crc32c(block)) == expected
            if whole:
                data[number * BLOCK : number * BLOCK + len(block)] = block
            have.append(whole)
        return have

    def _store(self, number: int, fetched: ByteView) -> None:
        """Keep blocks from `number` on; a full disk only means that they are fetched again."""
        sums = b"".join(
            encode_fixed32(mask(crc32c(fetched[position : position + BLOCK])))
            for position in range(0, len(fetched), BLOCK)
        )
        try:
            self._data.write(number * BLOCK, fetched)
            self._blocks.write(4 * number, sums)
        except OSError:
            return
