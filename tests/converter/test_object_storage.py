"""Conversions whose output is in object storage: proved on this machine, and then uploaded."""

from __future__ import annotations

import argparse
import pathlib
import re

import pytest

import converter
import converter.cli
import tfckpt
from converter.cli import export
from tests.conftest import slow
from tests.contracts.server import serving
from tests.tfckpt.jobs.helpers import counting_store
from tfckpt.cli.render import format_size


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


@pytest.mark.parametrize(
    ("command", "passes"),
    [
        ("convert SRC -o NEW.safetensors --no-proof", 1),
        ("convert SRC -o NEW.safetensors", 3),
        ("verify SRC OUT --weights-only", 1),
        ("verify SRC OUT", 2),
        slow("export SRC -o NEW.pt2", 1),
        ("revert OUT -o NEW --like SRC", 1),
    ],
)
def test_reading_at_an_address_is_announced(
    command: str, passes: int, digits: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """How often every tensor is read at most: nothing is read more often than that."""
    names = {"OUT": str(tmp_path / "old.safetensors"), "NEW": str(tmp_path / "new")}
    if "OUT" in command:
        assert converter.cli.main(["convert", str(digits), "-o", names["OUT"], "--no-proof"]) == 0
    files = {path.name: path.read_bytes() for path in digits.parent.glob(f"{digits.name}.*")}
    with serving(files) as server:
        names["SRC"] = server.url + digits.name
        words = [re.sub("SRC|OUT|NEW", lambda match: names[match[0]], word) for word in command.split()]
        assert converter.cli.main(words) == 0
        sent = sum(request.sent for request in server.requests if ".data-" in request.path)

    with tfckpt.open(digits) as checkpoint:
        nbytes = passes * sum(info.nbytes for info in checkpoint.infos())
    said = capsys.readouterr().err
    assert f"reads up to {format_size(nbytes)}, about " in said
    assert sent <= 1.2 * nbytes


def test_weights_are_reverted_to_an_address(
    digits: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a checkpoint as an example and without one, the index last."""
    weights = str(tmp_path / "s.safetensors")
    assert converter.cli.main(["convert", str(digits), "-o", weights, "--no-proof"]) == 0
    with counting_store() as store:
        for name, options in (("alone", ["--scope", "net"]), ("like", ["--like", str(digits)])):
            arguments = ["revert", weights, "-o", f"counted://user:password@bucket/{name}/model", *options]
            assert converter.cli.main(arguments) == 0
            assert converter.cli.main([*arguments, "--state", "new", "--force"]) == 2
            printed = capsys.readouterr()
            assert f"output    counted://bucket/{name}/model: " in printed.out
            assert "writes up to " in printed.err
            assert "password" not in printed.out + printed.err
            assert store.list(f"bucket/{name}") == ["model.data-00000-of-00001", "model.index"]


@pytest.mark.parametrize(("source", "is_read"), [("model.ckpt-322", True), ("model.tar.gz", False)])
def test_no_archive_is_downloaded_to_say_what_an_export_reads(source: str, is_read: bool, digits: pathlib.Path) -> None:
    """The index of a checkpoint is; an archive would be downloaded once more than for the export itself."""
    files = {path.name: path.read_bytes() for path in digits.parent.glob(f"{digits.name}.*")}
    with serving(files) as server:
        options = argparse.Namespace(source=server.url + source, output="net.pt2", limit=[])
        export._say_cost(options)

        assert bool(server.requests) == is_read
