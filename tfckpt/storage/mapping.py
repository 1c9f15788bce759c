"""Private memory maps of files.

A page that is written to is copied first, so that writing changes the map and never the file.
On POSIX systems the map is made with the C library, because `mmap.mmap` keeps a descriptor open for as long as a view
of the map exists (until Python 3.13), and a process may have few: 256 on macOS, 1,024 on Linux.
"""

from __future__ import annotations

import functools
import mmap
import os
import sys
from typing import Any

from .._typing import ByteView

#: Without this flag Linux refuses a writable map larger than its memory. Python before 3.12 does not have the name.
_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)


def map_privately(descriptor: int, size: int) -> ByteView:
    """Return a read-only view of the first `size` bytes of an open file, which needs no descriptor.

    The memory itself is writable, for users of the view's address that do not ask.
    Raises `OSError` if the system cannot map the file.
    """
    import numpy as np

    if os.name != "posix":
        return memoryview(mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY)).toreadonly()
    return np.asarray(_PrivateMap(descriptor, size)).data.toreadonly()


class _PrivateMap:
    """A map that NumPy can use as memory, removed with the last array of it."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._address = None
        self._size = size
        self._library = _load_library()
        protection, flags = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | _NO_RESERVE
        address = self._library.mmap(None, size, protection, flags, descriptor, 0)
        if address == _FAILED:
            import ctypes

            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._address = address
        self.__array_interface__ = {"version": 3, "typestr": "|u1", "shape": (size,), "data": (address, False)}

    def __del__(self) -> None:
        if self._address is not None:
            self._library.munmap(self._address, self._size)


#: MAP_FAILED, that is, -1 as an address.
_FAILED = 2 * sys.maxsize + 1


@functools.cache
def _load_library() -> Any:
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    address, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    library.mmap.argtypes = (address, size, number, number, number, ctypes.c_long)
    library.mmap.restype = address
    library.munmap.argtypes = (address, size)
    return library
