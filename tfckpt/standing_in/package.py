"""The package `tensorflow` as `importlib.metadata` tells of it; imported only when that is asked."""

from __future__ import annotations

import importlib.metadata
import os
import pathlib

from .modules import NAME, VERSION


class Package(importlib.metadata.Distribution):
    """What `importlib.metadata` tells of the package."""

    def read_text(self, filename: str) -> str | None:
        """The text of one of the package's files of metadata; None for those it does not have."""
        return {
            "METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n"
            "Summary: stand-in of tfckpt that offers only what reads checkpoints\n",
            "top_level.txt": f"{NAME}\n",
            "RECORD": "",
        }.get(filename)

    def locate_file(self, path: str | os.PathLike[str]) -> pathlib.Path:
        """A path below no folder: the package has no files."""
        return pathlib.Path(path)
