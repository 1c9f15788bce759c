"""Tables of scans: JSON lines or Parquet, and the parts of a scan that is not finished.

::

    OUT                 the table, by address; written when the scan is finished
    OUT.parts/*.jsonl   the rows of finished batches, until then

A part is written whole or not at all, so that a killed scan loses the batches that were not finished, and no more.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any, cast

from ..errors import CheckpointError, CheckpointExistsError, MissingDependencyError, pluralize
from ..sinks.contract import Sink
from .scanning import Row

_PARQUET = ".parquet"
_PIECE_BYTES = 8 << 20
#: Most bytes of a Parquet table that is continued: it is read into memory.
_MOST_BYTES = 4 << 30
_GROUP_ROWS = 50_000


class Table:
    """The table of a scan at a path of a sink."""

    def __init__(self, sink: Sink, path: str) -> None:
        """Use a path that ends in `.jsonl` or `.parquet`; raise `ValueError` for others, and if pyarrow is missing."""
        if not path.endswith((".jsonl", _PARQUET)):
            raise ValueError(f"the table must be called .jsonl or {_PARQUET}, not {sink.split(path)[1]!r}")
        self._sink = sink
        self._path = path
        self._parts = f"{path}.parts"
        self._is_parquet = path.endswith(_PARQUET)
        if self._is_parquet:
            _import_pyarrow()

    def check_free(self) -> None:
        """Raise `CheckpointExistsError` if the table, or a part of it, exists."""
        self._sink.check_free(self._path, overwrite=False)
        count = sum(1 for _ in self._sink.iterate_files(self._parts))
        if count:
            raise CheckpointExistsError(
                f"{pluralize(count, 'part')} of an earlier scan exist; "
                "continue it with --restart, or use --force to begin anew",
                path=self._parts,
            )

    def read(self) -> Iterator[Row]:
        """Yield the rows of the table and of all parts; damaged lines are left out, so that they are scanned again."""
        if self._sink.stat(self._path) is not None:
            yield from self._read_parquet() if self._is_parquet else self._read_lines(self._path)
        for stored in sorted(self._sink.iterate_files(self._parts), key=lambda stored: stored.path):
            yield from self._read_lines(stored.path)

    def add_part(self, rows: Iterable[Row]) -> None:
        """Write the rows of a batch."""
        data = b"".join(map(_to_line, rows))
        self._sink.make_folder(self._parts)
        self._sink.put(self._sink.join(self._parts, f"{hashlib.sha256(data).hexdigest()[:32]}.jsonl"), data)

    def finish(self, rows: Iterable[Row]) -> None:
        """Write the table, and remove the parts."""
        self._write(self._path, _to_parquet(rows) if self._is_parquet else map(_to_line, rows))
        self.remove_parts()

    def remove_parts(self) -> None:
        """Remove all parts."""
        for stored in list(self._sink.iterate_files(self._parts)):
            self._sink.remove(stored.path)
        self._sink.remove_folder(self._parts)

    def _write(self, path: str, pieces: Iterable[bytes]) -> None:
        pending = self._sink.create(path)
        try:
            for piece in pieces:
                pending.file.write(piece)
            pending.commit()
        finally:
            pending.discard()

    def _read_lines(self, path: str) -> Iterator[Row]:
        rest = b""
        for piece in self._sink.iterate_bytes(path, _PIECE_BYTES):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                row = _from_json(line)
                if row is not None:
                    yield row

    def _read_parquet(self) -> Iterator[Row]:
        pyarrow, parquet = _import_pyarrow()
        data = self._sink.read(self._path, _MOST_BYTES) or b""
        try:
            for batch in parquet.ParquetFile(io.BytesIO(data)).iter_batches(_GROUP_ROWS):
                for each in batch.to_pylist():
                    row = _make_row({name: _from_map(name, value) for name, value in each.items()})
                    if row is not None:
                        yield row
        except pyarrow.ArrowException as error:
            raise CheckpointError(
                f"not a table of a scan: {error}; use --force to begin anew", path=self._path
            ) from error


def _to_line(row: Row) -> bytes:
    return json.dumps(dataclasses.asdict(row)).encode() + b"\n"


def _from_json(line: bytes) -> Row | None:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return _make_row(data) if isinstance(data, dict) else None


def _make_row(data: dict[str, Any]) -> Row | None:
    try:
        return Row(**data)
    except TypeError:  # of another release
        return None


#: Fields that are maps from text to an integer; `operations` may be missing.
_MAPS = ("dtypes", "damage", "operations")


def _from_map(name: str, value: Any) -> Any:
    return dict(value) if name in _MAPS and value is not None else value


def _to_parquet(rows: Iterable[Row]) -> Iterator[bytes]:
    """Yield the bytes of a Parquet file."""
    pyarrow, parquet = _import_pyarrow()
    text, integer = pyarrow.string(), pyarrow.int64()
    counts = pyarrow.map_(text, integer)
    types = {"str": text, "int": integer, "float": pyarrow.float64(), "bool": pyarrow.bool_(), "dict[str, int]": counts}
    fields = {each.name: cast(str, each.type).removesuffix(" | None") for each in dataclasses.fields(Row)}
    schema = pyarrow.schema([(name, types[kind]) for name, kind in fields.items()])
    buffer = io.BytesIO()
    with parquet.ParquetWriter(buffer, schema, compression="zstd") as writer:
        group: list[dict[str, Any]] = []
        for row in rows:
            group.append(
                {
                    name: list(value.items()) if name in _MAPS and value is not None else value
                    for name, value in dataclasses.asdict(row).items()
                }
            )
            if len(group) == _GROUP_ROWS:
                writer.write_table(pyarrow.Table.from_pylist(group, schema=schema))
                group = []
        writer.write_table(pyarrow.Table.from_pylist(group, schema=schema))
    yield buffer.getvalue()


def _import_pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingDependencyError("pyarrow", extra="parquet", purpose="writing Parquet") from None
    return pyarrow, pyarrow.parquet
