"""What the tests of several modules that write need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def small_disk() -> Iterator[int]:
    """The number of bytes a file may have at most, as on a disk that is full after them."""
    resource = pytest.importorskip("resource", reason="the size of files is limited by the system's own means")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, limits[1]))
    yield 4 << 20
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
