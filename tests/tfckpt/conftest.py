"""Fixtures for the tests of several modules that write files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def small_disk() -> Iterator[int]:
    """The largest size of a file in bytes; writing more fails as on a full disk."""
    resource = pytest.importorskip("resource", reason="only Unix can limit the size of files")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, limits[1]))
    yield 4 << 20
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
