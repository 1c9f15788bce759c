"""Reading of local files that are used with a checkpoint: labels, settings, weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import BinaryIO

from ..errors import CheckpointError, CheckpointNotFoundError


@contextlib.contextmanager
def open_file(path: str) -> Iterator[BinaryIO]:
    """Open a file for reading until the block ends.

    Raises `CheckpointNotFoundError` if the file does not exist or cannot be opened, and for any `OSError` in the block.
    """
    try:
        with open(path, "rb") as file:
            yield file
    except CheckpointError:
        raise
    except FileNotFoundError:
        raise CheckpointNotFoundError("file not found", path=path) from None
    except OSError as error:
        raise CheckpointNotFoundError(f"cannot be read ({error.strerror or error})", path=path) from error
