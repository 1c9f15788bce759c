"""The oracle runs graphs in PyTorch, so that all of its tests need it."""

import pytest

pytest.importorskip("torch", reason="graphs are run in PyTorch")
