"""A graph of any name in every place that a checkpoint can be read from."""

from __future__ import annotations

import pathlib
import pickle

import pytest

import tfckpt
from tests.conftest import DATA
from tests.contracts.places import PLACES, tar_of
from tests.contracts.server import serving
from tfckpt.graphs.graph_file import read_graph_file

TRAINED = DATA / "digits-train" / "model.ckpt-322"
META = {"run/eval.meta": TRAINED.with_name(f"{TRAINED.name}.meta").read_bytes()}
SAVED = {"saved_model.pb": (DATA / "savedmodel" / "saved_model.pb").read_bytes()}
PATHS = {name: place for name, place in PLACES.items() if name != "memory"}


@pytest.mark.parametrize("name", PATHS)
def test_graph_file_is_read_from_every_place(tmp_path: pathlib.Path, name: str) -> None:
    """It needs no checkpoint next to it; a name that does not exist is an error."""
    with PATHS[name](tmp_path, META, "run/eval.meta") as (path, _):
        assert len(read_graph_file(path).graph) > 100
    with PATHS[name](tmp_path, META, "run/other.meta") as (path, _), pytest.raises(tfckpt.CheckpointNotFoundError):
        read_graph_file(path)


def test_graph_of_an_archive_is_that_of_its_only_folder(tmp_path: pathlib.Path) -> None:
    """As for checkpoints, the top folder needs no name."""
    with PLACES["tgz"](tmp_path, SAVED, "") as (path, _):
        assert len(read_graph_file(path).graph)
    with PLACES["tgz"](tmp_path, {"notes.txt": b""}, "") as (path, _), pytest.raises(tfckpt.CheckpointNotFoundError):
        read_graph_file(path)


def test_archive_at_an_address_is_recognised_by_its_content() -> None:
    """Its name does not matter."""
    with serving({"latest": tar_of(SAVED)}) as server:
        assert len(read_graph_file(f"{server.url}latest").graph)


def test_address_of_a_graph_keeps_its_secrets_to_itself() -> None:
    """They are sent, and pickled with the checkpoint, but the public property is without them."""
    with serving({"eval.meta": META["run/eval.meta"]}) as server:
        address = f"{server.url}eval.meta?token=hidden"
        with tfckpt.open(TRAINED, graph=address) as checkpoint, pickle.loads(pickle.dumps(checkpoint)) as copy:
            assert len(copy.graph or ()) == len(checkpoint.graph or ()) > 100
            assert copy.graph_file == checkpoint.graph_file == f"{server.url}eval.meta"
        assert all("hidden" in request.path for request in server.requests)
