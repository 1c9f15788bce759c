"""What programs run into that ask the stand-in for more than it offers.

::

    CheckpointError
    |- UnsupportedFeatureError
    |  `- NotOfferedError            also AttributeError
    |     `- ModuleNotOfferedError   also ModuleNotFoundError
    `- TensorFlowImportedError       also ImportError
"""

from __future__ import annotations

from ..errors import CheckpointError, UnsupportedFeatureError


class NotOfferedError(UnsupportedFeatureError, AttributeError):
    """A program asks for a name of TensorFlow that has nothing to do with reading checkpoints.

    `attribute` is the whole name, such as `tensorflow.keras.layers`; `file` and `line` are where it was asked for.
    """

    def __init__(self, attribute: str, *, file: str, line: int) -> None:
        module, _, name = attribute.rpartition(".")
        super().__init__(
            f"module {module!r} has no attribute {name!r}: the stand-in for TensorFlow offers only what reads "
            f"checkpoints, and {file}, line {line}, asks for {attribute}"
        )
        self.attribute = attribute
        self.file = file
        self.line = line


class ModuleNotOfferedError(UnsupportedFeatureError, ModuleNotFoundError):
    """The same, where a module is imported."""

    def __init__(self, attribute: str, *, file: str, line: int) -> None:
        super().__init__(
            f"no module named {attribute!r}: the stand-in for TensorFlow offers only what reads checkpoints, "
            f"and {file}, line {line}, imports it"
        )
        self.attribute = attribute
        self.file = file
        self.line = line


class TensorFlowImportedError(CheckpointError, ImportError):
    """The real TensorFlow is imported already, so nothing can stand in for it."""

    exit_code = 5
