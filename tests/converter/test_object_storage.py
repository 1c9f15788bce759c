"""Conversions whose output is in object storage: proved on this machine, and then uploaded."""

from __future__ import annotations

import pathlib

import pytest

import converter
import converter.cli
from tests.tfckpt.jobs.helpers import counting_store


@pytest.mark.parametrize("name", ["digits.safetensors", "folder"])
def test_the_output_is_the_same_as_on_a_disk(
    name: str, digits: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every file of it, and the address is in the summary."""
    with counting_store() as store:
        address = f"counted://user:password@bucket/out/{name}"
        assert converter.cli.main(["convert", str(digits), "-o", address]) == 0
        assert converter.cli.main(["convert", str(digits), "-o", address]) == 2
        printed = capsys.readouterr()
        assert converter.cli.main(["convert", str(digits), "-o", str(tmp_path / name)]) == 0
        paths = [tmp_path / name] if name != "folder" else sorted((tmp_path / name).iterdir())
        folder = "bucket/out" if name != "folder" else "bucket/out/folder"
        objects = {path.name: store.get(f"{folder}/{path.name}") for path in paths}

        assert objects == {path.name: path.read_bytes() for path in paths}
        assert store.list("bucket/out") == [path.name for path in paths]
    assert f"output    counted://bucket/out/{name}, " in printed.out
    assert "password" not in printed.out + printed.err


def test_export_writes_to_an_address(result: converter.ConversionResult) -> None:
    """From Python."""
    with counting_store() as store:
        converter.export(result, "counted://bucket/x.safetensors", proof="none")
        assert store.list("bucket") == ["x.safetensors"]
        with pytest.raises(FileExistsError):
            converter.export(result, "counted://bucket/x.safetensors", proof="none")
