"""Arrays of converted weights in the hands of programs that write to them."""

from __future__ import annotations

import ctypes
import pathlib

import numpy as np
import pytest

import converter
from converter.formats.files import read_output


@pytest.mark.parametrize("name", ["x.safetensors", "x.npz"])
def test_writing_to_an_array_changes_no_file(digits: pathlib.Path, tmp_path: pathlib.Path, name: str) -> None:
    """The map is private: whatever ignores the flag changes memory, and the next reading has the file's values."""
    path = tmp_path / name
    converter.export(converter.convert(digits), path, proof="none")
    before = path.read_bytes()
    tensors = read_output(path).tensors
    assert not any(array.flags.writeable for array in tensors.values())

    for array in tensors.values():
        ctypes.memset(array.__array_interface__["data"][0], 0, array.nbytes)

    assert not any(array.any() for array in tensors.values())
    assert path.read_bytes() == before
    expected = converter.convert(digits).state_dict
    assert all(np.array_equal(array, expected[key]) for key, array in read_output(path).tensors.items())
