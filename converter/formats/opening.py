"""Opening a file of converted weights on this machine."""

from __future__ import annotations

from tfckpt._typing import ByteSource
from tfckpt.errors import CheckpointNotFoundError, ResourceError, StorageError
from tfckpt.storage.local import LocalStorage


def open_weights(path: str) -> ByteSource:
    """Return the bytes of a file, from a private memory map; `CheckpointNotFoundError` if it cannot be opened."""
    try:
        return LocalStorage().open(path)
    except ResourceError:
        raise
    except StorageError as error:
        raise CheckpointNotFoundError(error.message, path=path) from error
