"""What verbs say about their cost before they start: of places that cost something, and true."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator

import numpy as np
import pytest

import tfckpt
import tfckpt.cli
from tests.tfckpt.jobs.helpers import CountingStore, counting_store, write_source
from tfckpt.cli import render

#: Verbs that read all tensors, with arguments: SRC is the source, and OUT a new name on this machine.
READING = {
    "verify": "verify SRC",
    "verify by tasks": "verify SRC --workers 1",
    "export": "export SRC -o OUT.safetensors",
    "export what is undamaged": "export SRC -o OUT.safetensors --salvage",
    "export by tasks": "export SRC -o OUT/ --shard-size 400KB --workers 1",
    "cp": "cp SRC OUT",
    "set": "set SRC layer1/kernel=NPY -o OUT",
    "merge": "merge SRC OUT",
    "diff": "diff SRC SRC",
    "diff with a page": "diff SRC SRC --report OUT.html",
    "report": "report SRC -o OUT.html",
}
#: Verbs that write tensors.
WRITING = ("export", "export by tasks", "cp", "set", "merge")
#: All other verbs: they read the index, a graph, or the tensors that they are asked for, a plan has said what they
#: cost, or they say it in a form of their own.
OTHERS = {
    *("clean", "doctor", "graph", "info", "ls", "plan-export", "run", "show", "tree"),
    *("finish", "run-task", "scan"),
}
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20}
READS = re.compile(r"reads (?:up to )?([\d.]+) (KiB|MiB)(?: in \d+ tasks?)?, about (\d+) requests")
WRITES = re.compile(r"writes (?:up to )?([\d.]+) (KiB|MiB)(?: to \d+ files)?, about (\d+) requests")


@pytest.fixture
def store() -> Iterator[CountingStore]:
    """A store that counts requests and bytes."""
    with counting_store() as made:
        yield made


def expand(command: str, source: str, output: str, folder: pathlib.Path) -> list[str]:
    """Return the words of a command with its source and its output."""
    np.save(folder / "new.npy", np.ones(5_000, np.float32))
    names = {"SRC": source, "OUT": output, "NPY": str(folder / "new.npy")}
    return [re.sub("SRC|OUT|NPY", lambda match: names[match[0]], word) for word in command.split()]


def test_every_verb_has_a_case_here() -> None:
    """Or does not read all tensors."""
    cases = {command.split()[0] for command in READING.values()}

    assert cases | OTHERS == set(tfckpt.cli._COMMAND.verbs)
    assert not cases & OTHERS


@pytest.mark.parametrize("name", READING)
def test_reading_at_an_address_is_announced(
    name: str, store: CountingStore, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first tensor is read; the bytes are no fewer than those that are read, and not twice as many."""
    address = store.upload(write_source(tmp_path, count=40, elements=5_000, shards=1))
    said: list[tuple[str, int]] = []
    monkeypatch.setattr(render, "say", lambda text: said.append((text, store.counts["bytes"])))
    store.reset()

    tfckpt.cli.main(expand(READING[name], address, str(tmp_path / "out"), tmp_path))

    announced = [
        (float(match[1]) * UNITS[match[2]], int(match[3]), so_far)
        for text, so_far in said
        if (match := READS.match(text))
    ]
    nbytes, requests = (sum(each[at] for each in announced) for at in (0, 1))
    assert announced
    assert all(so_far < 20_000 for *_, so_far in announced)
    assert nbytes / 2 < store.counts["bytes"] < 1.1 * nbytes + 20_000 * len(announced)
    assert store.counts["get"] <= requests


@pytest.mark.parametrize("name", WRITING)
def test_writing_to_an_address_is_announced(
    name: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also if the source is on this machine, whose reads cost nothing."""
    source = write_source(tmp_path, count=40, elements=5_000)
    output = f"memory://{tmp_path.name}/{name.replace(' ', '-')}"

    assert tfckpt.cli.main(expand(READING[name], source, output, tmp_path)) == 0

    said = capsys.readouterr().err
    assert (match := WRITES.search(said))
    assert float(match[1]) * UNITS[match[2]] >= 40 * 5_000 * 4 - 1024
    assert READS.search(said) is None


@pytest.mark.parametrize("name", sorted(set(READING) - {"verify by tasks", "export by tasks"}))
def test_nothing_is_said_on_one_machine(name: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unless it is a job."""
    tfckpt.cli.main(expand(READING[name], write_source(tmp_path), str(tmp_path / "out"), tmp_path))

    assert not re.search("^(reads|writes) ", capsys.readouterr().err, re.MULTILINE)


def test_a_damaged_index_at_an_address_is_still_verified(
    store: CountingStore, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The cost is that of the tensors that can be found, and the damage is a finding."""
    source = tfckpt.save({f"name{number:05}": np.float32(number) for number in range(20_000)}, tmp_path / "many")
    index = pathlib.Path(f"{source}.index")
    data = bytearray(index.read_bytes())
    data[len(data) * 3 // 4] ^= 1
    index.write_bytes(data)
    address = store.upload(source)

    code = tfckpt.cli.main(["verify", address])

    output = capsys.readouterr()
    assert code == 4
    assert "reads up to " in output.err
    assert "1 finding; undamaged: 1" in output.out
