"""Tests of the engine, which runs graphs in PyTorch."""

import pytest

pytest.importorskip("torch", reason="graphs are run in PyTorch")
