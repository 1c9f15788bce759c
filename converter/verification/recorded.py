"""The proof recorded in an output: the record as text, and whether the tensors are still those that were proved."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping

from tfckpt.errors import CheckpointNotFoundError, printable

from .._typing import Array, PathLike
from ..errors import ConversionError, VerificationError
from ..formats import pth
from ..formats.files import read_output
from ..formats.proof import BY_RULES, ProofRecord, read_proof
from ..formats.sharded import INDEX_ENDING


def read_recorded(path: PathLike) -> tuple[ProofRecord, Mapping[str, Array]]:
    """Return the record and the tensors of a file or folder; raise `ConversionError` if nothing is recorded."""
    path = os.fspath(path)
    record, tensors = None, {}
    # A state dict of PyTorch has no place for a record, so it need not be read, which would need torch.
    if not (os.path.isfile(path) and (path.lower().endswith(".pth") or pth.is_training_file(path))):
        try:
            output = read_output(path)
        except CheckpointNotFoundError as error:
            error.message += "; OUT alone has to be converted weights, and a comparison needs SRC and OUT"
            raise
        is_index = path.endswith(INDEX_ENDING)
        record = read_proof(output, (os.path.dirname(path) or os.curdir) if is_index else path)
        tensors = output.tensors
    if record is None:
        name = shlex.quote(printable(path))
        raise ConversionError(
            f"{printable(path)}: no proof is recorded in it, so nothing is proved; "
            f"compare it with its source: tf2torch verify SRC {name}"
        )
    return record, tensors


def check_recorded(record: ProofRecord, actual: str) -> None:
    """Raise `VerificationError` if `actual`, the SHA-256 of the output's tensors, is not that of those proved."""
    if actual != record.tensors_sha256:
        raise VerificationError(
            "the tensors are not those that were proved\n"
            f"  proved {printable(record.tensors_sha256)}\n"
            f"  found  {actual}",
            report=record,
        )


def describe_record(record: ProofRecord, path: PathLike) -> str:
    """Return the record in lines for people; `path` is the output that has it."""
    name = shlex.quote(os.fspath(path))
    rows = [("recorded", record.line), *record.rows()]
    if record.changes:
        rows.append(("repeat", "convert the source again with the same options, which proves the changes too"))
    else:
        rules = " --rules RULES.toml" if record.reason == BY_RULES else ""
        rows.append(("repeat", f"tf2torch verify SRC {name}{rules}"))
    lines = []
    previous = None
    for title, text in rows:
        lines.append(f"{'' if title == previous else title:<9} {printable(text)}")
        previous = title
    return "\n".join(lines)
