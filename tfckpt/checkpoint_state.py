"""The `checkpoint` state file: which checkpoint of a folder is the latest (TensorFlow `checkpoint_management.py`).

A CheckpointState message in protobuf's text format, as training jobs leave it::

    model_checkpoint_path: "model.ckpt-322"
    all_model_checkpoint_paths: "model.ckpt-300"
    all_model_checkpoint_paths: "model.ckpt-322"

A relative path counts from the folder of the state file.
"""

from __future__ import annotations

import dataclasses

from . import protos
from .errors import CorruptionError, LimitExceededError, error_context
from .limits import DEFAULT_LIMITS, Limits
from .storage.base import Storage

STATE_NAME = "checkpoint"


@dataclasses.dataclass(frozen=True, slots=True)
class CheckpointState:
    """What a state file says; paths are as written there, timestamps in seconds since 1970."""

    model_checkpoint_path: str
    all_model_checkpoint_paths: tuple[str, ...]
    all_model_checkpoint_timestamps: tuple[float, ...]
    last_preserved_timestamp: float


def read_state(storage: Storage, folder: str, limits: Limits = DEFAULT_LIMITS) -> CheckpointState | None:
    """The state file of a folder; None if there is none, `CorruptionError` if it does not parse."""
    path = storage.join(folder, STATE_NAME)
    if not storage.is_file(path):
        return None
    source = storage.open(path)
    with error_context(path=path):
        if source.size > limits.max_state_bytes:
            raise LimitExceededError(
                "state file is too large",
                limit="max_state_bytes",
                maximum=limits.max_state_bytes,
                claimed=source.size,
            )
        data = bytes(source.read(0, source.size))
        source.close()
        try:
            message = protos.parse_text("CheckpointState", data.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise CorruptionError("the state file is not UTF-8 text", offset=error.start) from error
    return CheckpointState(
        message.model_checkpoint_path,
        tuple(message.all_model_checkpoint_paths),
        tuple(message.all_model_checkpoint_timestamps),
        message.last_preserved_timestamp,
    )
