"""From a path that the user typed to the checkpoint it refers to, or to an error that says what is there instead."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

import tfckpt
from tests import builders
from tests.builders import INT32, Bundle
from tests.tfckpt.v1.v1_files import V1File
from tfckpt.errors import CheckpointNotFoundError, ChecksumError, CorruptionError
from tfckpt.finding import detect
from tfckpt.storage.local import LocalStorage


def write_bundle(folder: Path, prefix: str = "model", *, num_shards: int = 1) -> Path:
    """Write a V2 checkpoint of one tensor; return its prefix."""
    folder.mkdir(parents=True, exist_ok=True)
    return Bundle(num_shards=num_shards).add("w", INT32, [2], bytes(8)).write(folder, prefix)


def write_v1(path: Path) -> Path:
    """Write a V1 checkpoint of one tensor in one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return V1File().add(b"v", INT32, [1], [7]).write(path)


def write_v1_shards(folder: Path, base: str = "model", num_shards: int = 3) -> Path:
    """Write a V1 checkpoint with one tensor per shard; return the base of the names."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(num_shards):
        V1File().add(b"v%d" % number, INT32, [], [number]).write(folder / f"{base}-{number:05d}-of-{num_shards:05d}")
    return folder / base


def find(path: Path | str) -> detect.Match:
    """Return the checkpoint that a local path refers to."""
    return detect.find(LocalStorage(), str(path))


def expect_not_found(path: Path | str) -> CheckpointNotFoundError:
    """Return the error that no checkpoint was found."""
    with pytest.raises(CheckpointNotFoundError) as caught:
        find(path)
    return caught.value


# V2


@pytest.mark.parametrize("name", ["model", "model.index", "model.data-00000-of-00001", "model.meta"])
def test_bundle_is_found_by_its_prefix_and_by_each_of_its_files(tmp_path: Path, name: str) -> None:
    """The user may pick any of the files."""
    prefix = write_bundle(tmp_path)
    (tmp_path / "model.meta").write_bytes(b"")

    assert find(tmp_path / name) == detect.Match(str(prefix))


def test_only_bundle_of_a_folder_is_found(tmp_path: Path) -> None:
    """Other files next to it do not matter."""
    prefix = write_bundle(tmp_path)
    (tmp_path / "notes.txt").write_text("text")

    assert find(tmp_path) == detect.Match(str(prefix))


def test_folder_with_two_checkpoints_is_ambiguous(tmp_path: Path) -> None:
    """Without a state file, the error lists them."""
    write_bundle(tmp_path, "a")
    write_bundle(tmp_path, "b")

    assert expect_not_found(tmp_path).message.endswith(f"{tmp_path / 'a'}, {tmp_path / 'b'}")


def test_v2_wins_over_v1_with_the_same_prefix(tmp_path: Path) -> None:
    """TensorFlow does the same."""
    prefix = write_bundle(tmp_path)
    write_v1(tmp_path / "model")

    assert find(prefix).format == detect.V2


def test_data_shard_without_its_index_is_not_found(tmp_path: Path) -> None:
    """Users often download only this file; with its index it opens."""
    prefix = write_bundle(tmp_path)
    shard = tmp_path / "model.data-00000-of-00001"
    assert find(shard).prefix == str(prefix)

    (tmp_path / "model.index").unlink()

    assert "model.index" in expect_not_found(shard).message
    assert "model.index" in expect_not_found(prefix).message


def test_graph_without_its_checkpoint_is_not_found(tmp_path: Path) -> None:
    """A graph alone has no values."""
    (tmp_path / "model.meta").write_bytes(b"\x0a\x00")

    assert "model.index" in expect_not_found(tmp_path / "model.meta").message


def test_wrong_name_suggests_similar_ones(tmp_path: Path) -> None:
    """Prefixes and files of the folder are compared."""
    write_bundle(tmp_path, "model.ckpt-322")

    assert expect_not_found(tmp_path / "model.ckpt-32").message.endswith("model.ckpt-322")


def test_missing_folder_is_named(tmp_path: Path) -> None:
    """The error names the folder that does not exist."""
    assert f"folder {tmp_path / 'no'} " in expect_not_found(tmp_path / "no" / "model").message


# V1


def test_v1_is_recognised_by_content(tmp_path: Path) -> None:
    """The name does not matter: it may look like a data shard or an index file, or have no suffix."""
    for name in ("model.ckpt", "model", "x.data-00000-of-00001", "odd.index"):
        path = write_v1(tmp_path / name)
        with tfckpt.open(path) as checkpoint:
            assert (checkpoint.format, list(checkpoint), checkpoint.prefix) == ("V1", ["v"], str(path))


def test_only_v1_checkpoint_of_a_folder_is_found(tmp_path: Path) -> None:
    """It may be one file, or shards."""
    single, sharded = write_v1(tmp_path / "a" / "model.ckpt"), write_v1_shards(tmp_path / "b")

    assert find(single.parent) == detect.Match(str(single), detect.V1)
    assert find(sharded.parent) == detect.Match(f"{sharded}-?????-of-00003", detect.V1)


@pytest.mark.parametrize("name", ["model", "model-?????-of-00003", "model.meta"])
def test_v1_shards_are_found_by_base_pattern_and_graph(tmp_path: Path, name: str) -> None:
    """The prefix is the pattern, as in state files."""
    base = write_v1_shards(tmp_path)
    (tmp_path / "model.meta").write_bytes(b"")

    assert find(tmp_path / name) == detect.Match(f"{base}-?????-of-00003", detect.V1)


def test_v1_shard_means_all_shards(tmp_path: Path) -> None:
    """A note says so, since the user may have meant only this one."""
    base = write_v1_shards(tmp_path)

    match = find(f"{base}-00001-of-00003")

    assert match.prefix == f"{base}-?????-of-00003"
    assert len(match.notes) == 1
    assert f"{base}-00001-of-00003" in match.notes[0]


def test_missing_v1_shard_is_noted_when_opening(tmp_path: Path) -> None:
    """Tensors that are only in it cannot be listed, so the listing alone would look complete."""
    base = write_v1_shards(tmp_path)
    (tmp_path / "model-00001-of-00003").unlink()

    with tfckpt.open(base) as checkpoint:
        assert list(checkpoint) == ["v0", "v2"]
        assert checkpoint.missing_files() == {f"{base}-00001-of-00003": ()}
        (note,) = checkpoint.notes
    assert "model-00001-of-00003" in note


def test_v1_sets_of_shards_with_one_base_are_ambiguous(tmp_path: Path) -> None:
    """The pattern with the number of shards selects one."""
    base = write_v1_shards(tmp_path, num_shards=2)
    write_v1_shards(tmp_path, num_shards=3)

    assert expect_not_found(base).message.endswith(f"{base}-?????-of-00002, {base}-?????-of-00003")
    assert find(f"{base}-?????-of-00002").prefix == f"{base}-?????-of-00002"


def test_shards_of_something_else_are_not_a_checkpoint(tmp_path: Path) -> None:
    """Data sets have such names too."""
    (tmp_path / "train-00000-of-00002").write_bytes(b"data")
    (tmp_path / "train-00001-of-00002").write_bytes(b"data")

    assert expect_not_found(tmp_path / "train")


def test_bundle_index_with_a_wrong_name_is_not_found(tmp_path: Path) -> None:
    """TensorFlow opens it as an empty V1 checkpoint."""
    prefix = write_bundle(tmp_path)
    (tmp_path / "model.index").rename(tmp_path / "renamed")

    assert "PREFIX.index" in expect_not_found(tmp_path / "renamed").message
    assert not prefix.exists()


def test_damaged_v1_file_is_corrupt_and_not_missing(tmp_path: Path) -> None:
    """This is a table whose list of tensors cannot be read."""
    path = write_v1(tmp_path / "model")
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)

    for damaged in (path, tmp_path):
        with pytest.raises(ChecksumError) as caught:
            tfckpt.open(damaged)
        assert caught.value.path == str(path)


def test_truncated_index_file_is_corrupt(tmp_path: Path) -> None:
    """The magic number at its end is missing."""
    prefix = write_bundle(tmp_path)
    index = tmp_path / "model.index"
    index.write_bytes(index.read_bytes()[:-1])

    with pytest.raises(CorruptionError) as caught:
        tfckpt.open(prefix)

    assert caught.value.path == str(index)


# The state file


def write_state(folder: Path, path: str) -> None:
    """Write a state file that names one path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "{path}"\n')


def test_state_file_selects_one_of_several_checkpoints(tmp_path: Path) -> None:
    """The user may pass the folder or the state file itself."""
    prefix = write_bundle(tmp_path, "model-1")
    write_bundle(tmp_path, "model-2")
    write_state(tmp_path, "model-1")

    assert find(tmp_path) == detect.Match(str(prefix))
    assert find(tmp_path / "checkpoint") == detect.Match(str(prefix))


def test_state_file_may_name_v1_by_file_and_by_pattern(tmp_path: Path) -> None:
    """TensorFlow writes both."""
    single, base = write_v1(tmp_path / "a" / "model.ckpt-1"), write_v1_shards(tmp_path / "b")
    write_state(single.parent, "model.ckpt-1")
    write_state(base.parent, "model-?????-of-00003")

    assert find(single.parent) == detect.Match(str(single), detect.V1)
    assert find(base.parent) == detect.Match(f"{base}-?????-of-00003", detect.V1)


def test_moved_folder_is_read_from_next_to_the_state_file(tmp_path: Path) -> None:
    """If a path does not exist, its last name is used, with a note; an existing path wins."""
    named, local = write_bundle(tmp_path / "named", "model-1"), write_bundle(tmp_path / "local", "model-1")
    write_state(local.parent, str(named))
    assert find(local.parent) == detect.Match(str(named))

    (tmp_path / "named").rename(tmp_path / "elsewhere")

    match = find(local.parent)
    assert match.prefix == str(local)
    assert len(match.notes) == 1
    assert str(named) in match.notes[0]
    assert str(local) in match.notes[0]


@pytest.mark.parametrize("text", ["", 'model_checkpoint_path: "gone-7"'], ids=["empty", "gone"])
def test_state_file_without_an_existing_checkpoint_is_an_error(tmp_path: Path, text: str) -> None:
    """No other checkpoint is a substitute, but the error lists them."""
    prefix = write_bundle(tmp_path)
    (tmp_path / "checkpoint").write_text(text)

    with pytest.raises(CheckpointNotFoundError) as caught:
        find(tmp_path)

    assert caught.value.path == str(tmp_path / "checkpoint")
    assert caught.value.message.endswith(str(prefix))


def test_v1_file_named_checkpoint_is_not_a_state_file(tmp_path: Path) -> None:
    """The content decides."""
    path = write_v1(tmp_path / "checkpoint")

    assert find(path) == detect.Match(str(path), detect.V1)


# SavedModels


@pytest.mark.parametrize(
    "name", ["", "saved_model.pb", "variables", "variables/variables", "variables/variables.index"]
)
def test_saved_model_is_found_by_any_of_its_paths(tmp_path: Path, name: str) -> None:
    """They are the folder, the graph file, the folder of the variables, the prefix and the index file."""
    prefix = write_bundle(tmp_path / "variables", "variables")
    (tmp_path / "saved_model.pb").write_bytes(b"")

    assert find(tmp_path / name) == detect.Match(str(prefix))


def test_saved_model_without_variables_is_not_found(tmp_path: Path) -> None:
    """The folder may be missing, be empty, or have no index file."""
    (tmp_path / "saved_model.pb").write_bytes(b"")
    assert "variables" in expect_not_found(tmp_path).message

    (tmp_path / "variables").mkdir()
    assert "empty" in expect_not_found(tmp_path).message

    write_bundle(tmp_path / "variables", "variables")
    assert find(tmp_path).prefix.endswith("variables")
    (tmp_path / "variables" / "variables.index").unlink()
    assert "variables.index" in expect_not_found(tmp_path).message


def test_variables_without_a_saved_model_are_found(tmp_path: Path) -> None:
    """A folder that lost its graph still has its values."""
    prefix = write_bundle(tmp_path / "variables", "variables")

    assert find(tmp_path) == detect.Match(str(prefix))


# Unfinished checkpoints


@pytest.mark.parametrize("suffix", ["_temp", "_temp_0a1b2c"])
def test_checkpoint_that_is_being_written_is_not_found(tmp_path: Path, suffix: str) -> None:
    """Its parts are in a folder next to it and there is no index yet; a finished part can be opened."""
    part = write_bundle(tmp_path / f"ckpt-7{suffix}", "part-00000-of-00001")

    for path in (tmp_path / "ckpt-7", tmp_path):
        error = expect_not_found(path)
        assert f" {tmp_path / 'ckpt-7'} " in error.message
        assert error.message.endswith(str(part))
    assert find(part).prefix == str(part)


def test_finished_checkpoint_is_found_next_to_its_parts(tmp_path: Path) -> None:
    """A leftover folder of parts does not matter once the index exists."""
    prefix = write_bundle(tmp_path, "ckpt-7")
    write_bundle(tmp_path / "ckpt-7_temp", "part-00000-of-00001")

    assert find(prefix).prefix == find(tmp_path).prefix == str(prefix)


def test_folder_named_temp_without_parts_is_ignored(tmp_path: Path) -> None:
    """Not every folder with such a name is TensorFlow's."""
    (tmp_path / "ckpt-7_temp").mkdir()

    assert "ckpt-7_temp" not in expect_not_found(tmp_path / "ckpt-7").message.partition(";")[0]


# Other files

HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(50)
FOREIGN = [
    pytest.param("m.txt", b"some text\n", "text", id="text"),
    pytest.param("m.bin", bytes(range(128, 256)), "unknown", id="unknown"),
    pytest.param("m.pb", b"\x0a\xff\xfe\x01" + bytes(range(128, 200)), ".pb", id="frozen graph"),
    pytest.param("m.tflite", b"\x1c\0\0\0TFL3" + bytes(20), "TensorFlow Lite", id="TensorFlow Lite"),
    pytest.param("empty", b"", "empty", id="empty"),
    pytest.param("m.safetensors", b"\x08\0\0\0\0\0\0\0{}      ", "safetensors", id="safetensors"),
    pytest.param(
        "events.out.tfevents.1",
        (length := (5).to_bytes(8, "little")) + builders.fixed32(builders.mask(builders.crc32c(length))) + b"hello0000",
        "TFRecord",
        id="events",
    ),
]


@pytest.mark.parametrize(("name", "content", "word"), FOREIGN)
def test_error_for_another_kind_of_file_says_what_it_is(tmp_path: Path, name: str, content: bytes, word: str) -> None:
    """The message names the format of the file."""
    (tmp_path / name).write_bytes(content)

    assert word in expect_not_found(tmp_path / name).message


def test_keras_file_is_recognised_by_its_content(tmp_path: Path) -> None:
    """Whatever its name, also `checkpoint`; in a folder the name decides, and a checkpoint comes first."""
    for name in ("checkpoint", "weights", "m.weights.h5"):
        (tmp_path / name).write_bytes(HDF5)
        assert find(tmp_path / name) == detect.Match(str(tmp_path / name), detect.KERAS)
    (tmp_path / "checkpoint").unlink()

    assert find(tmp_path) == detect.Match(str(tmp_path / "m.weights.h5"), detect.KERAS)
    (tmp_path / "n.keras").write_bytes(HDF5)
    assert "m.weights.h5" in expect_not_found(tmp_path).message
    prefix = write_bundle(tmp_path)
    assert find(tmp_path) == detect.Match(str(prefix))


@pytest.mark.parametrize("name", ["checkpoint", "m.index"])
def test_hdf5_file_in_the_place_of_another_says_what_to_do(tmp_path: Path, name: str) -> None:
    """The state file of a folder, or an index; the path of the state file itself opens it as a Keras file."""
    (tmp_path / name).write_bytes(HDF5)

    with pytest.raises(CheckpointNotFoundError) as caught:
        tfckpt.open(tmp_path if name == "checkpoint" else tmp_path / "m")

    assert "HDF5" in caught.value.message
    assert "own path" in caught.value.message or "rename" in caught.value.message


def test_folder_named_like_a_keras_file_is_not_one(tmp_path: Path) -> None:
    """A home folder contains `.keras`, where Keras stores its downloads."""
    (tmp_path / ".keras").mkdir()

    assert expect_not_found(tmp_path)


def test_path_that_is_neither_a_file_nor_a_folder_is_not_found(tmp_path: Path) -> None:
    """A pipe is not opened, since that would wait for a writer."""
    os.mkfifo(tmp_path / "pipe")

    assert expect_not_found(tmp_path / "pipe")


def test_empty_path_is_not_found() -> None:
    """A shell passes one for an unset variable."""
    with pytest.raises(CheckpointNotFoundError):
        tfckpt.open("")


def test_zip_archive_without_weights_is_not_a_keras_model(tmp_path: Path) -> None:
    """A .keras file is a zip archive, so it is searched; a zip archive with a checkpoint opens."""
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    prefix = write_bundle(tmp_path / "twin")
    with zipfile.ZipFile(tmp_path / "twin.zip", "w") as archive:
        for path in prefix.parent.iterdir():
            archive.write(path, path.name)

    with pytest.raises(CheckpointNotFoundError):
        tfckpt.open(tmp_path / "m.keras")
    with tfckpt.open(tmp_path / "twin.zip") as checkpoint:
        assert list(checkpoint) == ["w"]


def test_folder_without_checkpoint_is_not_found(tmp_path: Path) -> None:
    """The error says that it is empty, or lists the files."""
    assert expect_not_found(tmp_path).message.endswith("empty")

    (tmp_path / "notes.txt").write_text("text")
    assert expect_not_found(tmp_path).message.endswith("notes.txt")


# Storages that cannot list folders


class UnlistedStorage(LocalStorage):
    """Local files as a web server shows them: each by its name, without folders."""

    is_remote = True

    def is_folder(self, path: str) -> bool:
        """Return False, since no server reports folders."""
        return False

    def list(self, folder: str) -> list[str]:
        """Return no names."""
        return []


def test_v1_shards_are_found_from_one_without_listing_folders(tmp_path: Path) -> None:
    """The names of the others follow from one name; missing shards are noted."""
    base = write_v1_shards(tmp_path)
    (tmp_path / "model-00001-of-00003").unlink()

    match = detect.find(UnlistedStorage(), f"{base}-00002-of-00003")

    assert (match.prefix, match.format) == (f"{base}-?????-of-00003", detect.V1)
    assert f"{base}-00002-of-00003" in match.notes[0]
    assert "model-00001-of-00003" in match.notes[1]


def test_missing_checkpoint_without_listing_folders_is_not_found(tmp_path: Path) -> None:
    """No similar names can be suggested; the exact prefix is found."""
    prefix = write_bundle(tmp_path)
    assert detect.find(UnlistedStorage(), str(prefix)) == detect.Match(str(prefix))

    with pytest.raises(CheckpointNotFoundError) as caught:
        detect.find(UnlistedStorage(), f"{prefix}s")
    assert caught.value.path == f"{prefix}s"
