"""State files as the functions of `tf.train` read them (TensorFlow `checkpoint_management.py`).

These return what TensorFlow returns.
`tfckpt.latest_checkpoint` also works after a folder was moved, and raises an error for a damaged state file.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from .. import protos
from .._typing import PathLike
from ..bundle import naming
from ..errors import CorruptionError, printable
from ..finding.state_file import STATE_NAME, read_state
from .errors import as_tensorflow
from .matching import find_matches
from .paths import resolve_path

_logger = logging.getLogger(__name__)


@as_tensorflow()
def get_checkpoint_state(checkpoint_dir: PathLike, latest_filename: str | None = None) -> Any:
    """Return the state file of a folder as a CheckpointState message whose paths include the folder.

    Returns None if there is no state file or, with a warning in the log, if it does not parse.
    Raises `ValueError` if it names no checkpoint, and `UnicodeDecodeError` if it is not UTF-8.
    """
    name = STATE_NAME if latest_filename is None else latest_filename
    storage, state_path = resolve_path(os.path.join(checkpoint_dir, name))
    if not storage.is_file(state_path):
        return None
    folder, file_name = storage.split(state_path)
    try:
        state = read_state(storage, folder, name=file_name, is_strict=True)
    except CorruptionError as error:
        if isinstance(error.__cause__, UnicodeDecodeError):
            raise error.__cause__ from None
        _logger.warning("state file ignored: %s", error)
        return None
    if state is None or not state.model_checkpoint_path:
        raise ValueError(f"Invalid checkpoint state loaded from {checkpoint_dir}")
    return protos.message_class("CheckpointState")(
        model_checkpoint_path=os.path.join(checkpoint_dir, state.model_checkpoint_path),
        all_model_checkpoint_paths=[os.path.join(checkpoint_dir, path) for path in state.all_model_checkpoint_paths],
        all_model_checkpoint_timestamps=state.all_model_checkpoint_timestamps,
        last_preserved_timestamp=state.last_preserved_timestamp,
    )


def latest_checkpoint(checkpoint_dir: PathLike, latest_filename: str | None = None) -> str | None:
    """Return the prefix of the checkpoint that the state file of a folder names as the latest.

    Returns None if there is no state file or, with an error in the log, if the checkpoint does not exist.
    """
    state = get_checkpoint_state(checkpoint_dir, latest_filename)
    if state is None:
        return None
    path: str = state.model_checkpoint_path
    if checkpoint_exists(path):
        return path
    _logger.error("the latest checkpoint in the state file does not exist: %s", printable(path))
    return None


@as_tensorflow()
def checkpoint_exists(checkpoint_prefix: str) -> bool:
    """Return whether the prefix, used as a pattern, matches files of a V2 or V1 checkpoint."""
    index = checkpoint_prefix + naming.INDEX_SUFFIX
    return any(find_matches(*resolve_path(pattern)) for pattern in (index, checkpoint_prefix))
