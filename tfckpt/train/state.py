"""The latest checkpoint of a folder by the functions of `tf.train` (TensorFlow `checkpoint_management.py`).

`tfckpt.latest_checkpoint` follows folders that were moved and says what is wrong with a state file;
these keep to TensorFlow's answers.
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
from .matching import matching
from .paths import place_of

_logger = logging.getLogger(__name__)


@as_tensorflow()
def get_checkpoint_state(checkpoint_dir: PathLike, latest_filename: str | None = None) -> Any:
    """What the state file of a folder says, as a CheckpointState message whose paths are joined to the folder.

    None if there is no state file, or, with a warning in the log, if it does not parse.
    Raises `ValueError` if it names no checkpoint, `UnicodeDecodeError` if it is not UTF-8.
    """
    name = STATE_NAME if latest_filename is None else latest_filename
    storage, path = place_of(os.path.join(checkpoint_dir, name))
    if not storage.is_file(path):
        return None
    try:
        state = read_state(storage, storage.split(path)[0], name=storage.split(path)[1])
    except CorruptionError as error:
        if isinstance(error.__cause__, UnicodeDecodeError):
            raise error.__cause__ from None
        _logger.warning("checkpoint ignored: %s", error)
        return None
    if state is None or not state.model_checkpoint_path:
        raise ValueError(f"Invalid checkpoint state loaded from {checkpoint_dir}")
    return protos.message_class("CheckpointState")(
        model_checkpoint_path=os.path.join(checkpoint_dir, state.model_checkpoint_path),
        all_model_checkpoint_paths=[os.path.join(checkpoint_dir, one) for one in state.all_model_checkpoint_paths],
        all_model_checkpoint_timestamps=state.all_model_checkpoint_timestamps,
        last_preserved_timestamp=state.last_preserved_timestamp,
    )


def latest_checkpoint(checkpoint_dir: PathLike, latest_filename: str | None = None) -> str | None:
    """The prefix of the latest checkpoint of a folder, as its state file names it.

    None if there is no state file, or, with an error in the log, if the checkpoint it names is not there.
    """
    state = get_checkpoint_state(checkpoint_dir, latest_filename)
    if state is None:
        return None
    path: str = state.model_checkpoint_path
    if checkpoint_exists(path):
        return path
    _logger.error("no files match the checkpoint that the state file names: %s", printable(path))
    return None


@as_tensorflow()
def checkpoint_exists(checkpoint_prefix: str) -> bool:
    """Whether files match a prefix as a pattern, of a V2 checkpoint or else of a V1 one."""
    index = checkpoint_prefix + naming.INDEX_SUFFIX
    return any(matching(*place_of(pattern)) for pattern in (index, checkpoint_prefix))
