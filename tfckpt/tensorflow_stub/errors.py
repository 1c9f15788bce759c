"""Errors of the stand-in for TensorFlow.

::

    CheckpointError
    |- UnsupportedFeatureError
    |  |- NotOfferedError         also AttributeError
    |  |- ModuleNotOfferedError   also ModuleNotFoundError
    |  `- NotComputedError        also NotImplementedError
    `- TensorFlowImportedError    also ImportError
"""

from __future__ import annotations

from ..errors import CheckpointError, UnsupportedFeatureError


class NotOfferedError(UnsupportedFeatureError, AttributeError):
    """The stand-in does not have this attribute of TensorFlow, because it does not read checkpoints.

    `attribute` is the full name, such as `tensorflow.keras.layers`; `file` and `line` are where it was accessed.
    """

    def __init__(self, attribute: str, *, file: str, line: int) -> None:
        module, _, name = attribute.rpartition(".")
        super().__init__(
            f"module {module!r} has no attribute {name!r}: the stand-in for TensorFlow only reads checkpoints; "
            f"{file}, line {line}, uses {attribute}"
        )
        self.attribute = attribute
        self.file = file
        self.line = line
        self.obj = None  # Python then proposes no other name: `zeros` is no replacement for `keras`.


class ModuleNotOfferedError(UnsupportedFeatureError, ModuleNotFoundError):
    """The stand-in does not have this module of TensorFlow; the attributes are those of `NotOfferedError`."""

    def __init__(self, attribute: str, *, file: str, line: int) -> None:
        super().__init__(
            f"no module named {attribute!r}: the stand-in for TensorFlow only reads checkpoints; "
            f"{file}, line {line}, imports it"
        )
        self.attribute = attribute
        self.file = file
        self.line = line


class NotComputedError(UnsupportedFeatureError, NotImplementedError):
    """The stand-in cannot tell a value, because that would need more than reading; `what` is what was asked for."""

    def __init__(self, what: str, *, advice: str = "") -> None:
        super().__init__(
            f"{what} cannot be told: the stand-in for TensorFlow restores variables, and does not compute"
            + (f"; {advice}" if advice else "")
        )
        self.what = what


class TensorFlowImportedError(CheckpointError, ImportError):
    """The real TensorFlow is already imported, so the stand-in cannot replace it."""

    exit_code = 5
