"""Test that every error class has an exit code, and that the help of both commands lists all codes."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator

import pytest

import converter.cli
import converter.errors
import tfckpt.cli
import tfckpt.tensorflow_stub.errors
import tfckpt.train.errors
from tfckpt.cli.command import choose_exit_code
from tfckpt.errors import CheckpointError, CheckpointNotFoundError, CorruptionError, ReportedError, StorageError

EXIT_CODES = {
    "ReportedError": 5,
    "CheckpointError": 3,
    "CheckpointNotFoundError": 3,
    "TensorNotFoundError": 3,
    "CorruptionError": 4,
    "TruncatedError": 4,
    "ChecksumError": 4,
    "UnsupportedFeatureError": 5,
    "LimitExceededError": 5,
    "MissingDependencyError": 5,
    "StorageError": 3,
    "FileChangedError": 3,
    "ResourceError": 3,
    "NameConflictError": 1,
    "WriteError": 2,
    "CheckpointExistsError": 2,
    "NotOfferedError": 5,
    "ModuleNotOfferedError": 5,
    "MissingAbslError": 5,
    "NotComputedError": 5,
    "TensorFlowImportedError": 5,
    "InvalidValueError": 5,
    **{kind.__name__: 5 for kind in tfckpt.train.errors.CLASSES},
    "NotFoundError": 3,
    "DataLossError": 4,
    "ConversionError": 5,
    "UnknownModelError": 5,
    "MappingError": 5,
    "RulesError": 2,
    "UnsupportedOpError": 5,
    "OtherNetworkError": 5,
    "TrainingGraphError": 5,
    "GraphError": 5,
    "TensorNameError": 5,
    "FeedError": 5,
    "GraphLimitError": 5,
    "ExportError": 2,
    "ProgramError": 5,
    "VerificationError": 1,
}


def error_classes(kind: type[ReportedError]) -> Iterator[type[ReportedError]]:
    """Yield the class and all its subclasses in both packages."""
    if kind.__module__.startswith(("tfckpt.", "converter.")):
        yield kind
    for subclass in kind.__subclasses__():
        yield from error_classes(subclass)


def test_every_error_class_has_an_exit_code() -> None:
    """A new class needs a row in the table."""
    assert {kind.__name__: kind.exit_code for kind in error_classes(ReportedError)} == EXIT_CODES


@pytest.mark.parametrize("command", [tfckpt.cli, converter.cli], ids=lambda module: module.__name__)
def test_help_lists_every_exit_code(command: types.ModuleType) -> None:
    """It lists the codes of errors, of success and of signals."""
    listed = re.findall(r"^  (\d+) ", command.build_parser().format_help(), re.MULTILINE)

    assert set(map(int, listed)) == {0, 130, 143, *EXIT_CODES.values()}


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([], 0),
        ([tfckpt.UnsupportedFeatureError("x")], 5),
        ([tfckpt.UnsupportedFeatureError("x"), CheckpointNotFoundError("x")], 3),
        ([StorageError("x")], 3),
        ([CheckpointNotFoundError("x"), CorruptionError("x"), tfckpt.UnsupportedFeatureError("x")], 4),
    ],
    ids=["none", "unsupported", "missing", "unreachable", "corrupt"],
)
def test_worst_finding_decides_the_exit_code(errors: list[CheckpointError], code: int) -> None:
    """Damage is worse than a missing file, which is worse than an unsupported feature."""
    assert choose_exit_code(errors) == code
