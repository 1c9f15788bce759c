"""Outputs that are written and checked on a local disk first, and then uploaded."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator

from .._typing import PathLike
from ..errors import CheckpointExistsError
from ..files.atomic import writing
from .contract import Sink
from .opening import is_address, open_sink

_COPY_BYTES = 8 << 20
#: Endings of the files without which the others are not found: they are removed first, and uploaded last.
_LAST = (".index", ".index.json")


@contextlib.contextmanager
def staged(output: PathLike, *, overwrite: bool, is_prefix: bool = False) -> Iterator[str]:
    """Yield the local path to write to; if the output is at an address, upload it when the block succeeds.

    A local output is yielded as it is. Otherwise the path is in a temporary folder, has the last name of the address,
    and can become a file, a folder or, with `is_prefix`, the files of a checkpoint; TMPDIR needs room for all of it.
    An index is uploaded last, and an old one is removed before, so that the output is found complete or not at all.

    Raises `CheckpointExistsError` if something is stored there, unless `overwrite`.
    """
    if not is_address(output):
        yield os.fspath(output)
        return
    check_free(output, overwrite=overwrite, is_prefix=is_prefix)
    sink, target = open_sink(output)
    folder, name = sink.split(target.rstrip("/"))
    with writing(tempfile.gettempdir()):
        local = tempfile.mkdtemp(prefix="tfckpt-")
    try:
        yield os.path.join(local, name) + ("/" if target.endswith("/") else "")
        _upload(sink, local, folder)
    finally:
        shutil.rmtree(local, ignore_errors=True)


def check_free(output: PathLike, *, overwrite: bool, is_prefix: bool = False) -> None:
    """Raise `CheckpointExistsError` if `staged` would overwrite something at an address."""
    if overwrite:
        return
    sink, target = open_sink(output)
    target = target.rstrip("/")
    sink.check_free(f"{target}.index" if is_prefix else target, overwrite=False)
    if not is_prefix and next(iter(sink.iterate_files(target)), None) is not None:
        raise CheckpointExistsError(
            "objects exist below it; use --force (overwrite=True) to overwrite them", path=target
        )


def _upload(sink: Sink, local: str, folder: str) -> None:
    """Upload all files of a local folder."""
    names = [
        os.path.relpath(os.path.join(parent, name), local).replace(os.sep, "/")
        for parent, _, files in os.walk(local)
        for name in files
        if not name.endswith(".lock")
    ]
    names.sort(key=lambda name: (name.endswith(_LAST), name))
    paths = {name: sink.join(folder, name) for name in names}
    for name in names:
        if name.endswith(_LAST):
            sink.remove(paths[name])
    for name in names:
        sink.make_folder(sink.split(paths[name])[0])
        path = os.path.join(local, name)
        with sink.create(paths[name], size=os.path.getsize(path)) as pending, open(path, "rb") as file:
            shutil.copyfileobj(file, pending.file, _COPY_BYTES)
            pending.commit()
