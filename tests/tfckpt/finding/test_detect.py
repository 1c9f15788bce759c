"""From what a person typed to the checkpoint it means, or to a sentence that says what stands there instead."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

import tfckpt
from tests import builders
from tests.builders import INT32, Bundle
from tests.tfckpt.v1.v1_files import V1File
from tfckpt.errors import CheckpointNotFoundError, CorruptionError
from tfckpt.finding import detect
from tfckpt.storage.local import LocalStorage


def bundle(folder: Path, prefix: str = "model", *, num_shards: int = 1) -> Path:
    """A V2 checkpoint of one tensor; gives its prefix."""
    folder.mkdir(parents=True, exist_ok=True)
    return Bundle(num_shards=num_shards).add("w", INT32, [2], bytes(8)).write(folder, prefix)


def v1_file(path: Path) -> Path:
    """A V1 checkpoint of one tensor in one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return V1File().add(b"v", INT32, [1], [7]).write(path)


def v1_shards(folder: Path, base: str = "model", num_shards: int = 3) -> Path:
    """A V1 checkpoint of a tensor a shard; gives its base."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(num_shards):
        V1File().add(b"v%d" % number, INT32, [], [number]).write(folder / f"{base}-{number:05d}-of-{num_shards:05d}")
    return folder / base


def find(path: Path | str) -> detect.Found:
    """What a path of this machine means."""
    return detect.find(LocalStorage(), str(path))


def said(path: Path | str) -> str:
    """The message of the error that there is no checkpoint."""
    with pytest.raises(CheckpointNotFoundError) as caught:
        find(path)
    return caught.value.message


# V2


@pytest.mark.parametrize("given", ["model", "model.index", "model.data-00000-of-00001", "model.meta"])
def test_bundle_is_found_by_its_prefix_and_by_each_of_its_files(tmp_path: Path, given: str) -> None:
    """Whichever file a person picked."""
    prefix = bundle(tmp_path)
    (tmp_path / "model.meta").write_bytes(b"")

    assert find(tmp_path / given) == detect.Found(str(prefix))


def test_bundle_is_found_in_a_folder_of_its_own(tmp_path: Path) -> None:
    """Other files beside it do not matter."""
    prefix = bundle(tmp_path)
    (tmp_path / "notes.txt").write_text("text")

    assert find(tmp_path) == detect.Found(str(prefix))


def test_folder_with_two_checkpoints_lists_them(tmp_path: Path) -> None:
    """Without a state file nobody knows which is meant."""
    bundle(tmp_path, "a")
    bundle(tmp_path, "b")

    assert "2 checkpoints and no state file" in said(tmp_path)
    assert f"{tmp_path / 'a'}, {tmp_path / 'b'}" in said(tmp_path)


def test_both_formats_under_one_prefix_mean_the_newer(tmp_path: Path) -> None:
    """As in TensorFlow."""
    prefix = bundle(tmp_path)
    v1_file(tmp_path / "model")

    assert find(prefix).format == detect.V2


def test_data_shard_without_its_index_is_said(tmp_path: Path) -> None:
    """The file that people download alone; beside its index it opens."""
    prefix = bundle(tmp_path)
    shard = tmp_path / "model.data-00000-of-00001"
    assert find(shard).prefix == str(prefix)

    (tmp_path / "model.index").unlink()

    assert said(shard).startswith("this is a data shard, and its index file model.index is not beside it")
    assert said(prefix) == "the index file model.index is missing; there is only model.data-00000-of-00001"


def test_graph_without_its_checkpoint_is_said(tmp_path: Path) -> None:
    """The graph alone holds no values."""
    (tmp_path / "model.meta").write_bytes(b"\x0a\x00")

    assert said(tmp_path / "model.meta").startswith("this is a graph without its checkpoint")


def test_wrong_name_offers_close_ones(tmp_path: Path) -> None:
    """Prefixes and files of the folder."""
    bundle(tmp_path, "model.ckpt-322")

    assert said(tmp_path / "model.ckpt-32").endswith("close names: model.ckpt-322")


def test_missing_folder_is_said(tmp_path: Path) -> None:
    """The folder and not the file is what is wrong."""
    assert said(tmp_path / "no" / "model") == f"no such checkpoint: there is no folder {tmp_path / 'no'}"


# V1


def test_v1_is_recognised_by_its_content(tmp_path: Path) -> None:
    """Names say nothing: a data shard's, an index file's, no ending at all."""
    for name in ("model.ckpt", "model", "x.data-00000-of-00001", "odd.index"):
        path = v1_file(tmp_path / name)
        with tfckpt.open(path) as checkpoint:
            assert (checkpoint.format, list(checkpoint), checkpoint.prefix) == ("V1", ["v"], str(path))


def test_v1_is_found_in_a_folder_of_its_own(tmp_path: Path) -> None:
    """As one file, and as shards."""
    single, sharded = v1_file(tmp_path / "a" / "model.ckpt"), v1_shards(tmp_path / "b")

    assert find(single.parent) == detect.Found(str(single), detect.V1)
    assert find(sharded.parent) == detect.Found(f"{sharded}-?????-of-00003", detect.V1)


@pytest.mark.parametrize("given", ["model", "model-?????-of-00003", "model.meta"])
def test_v1_shards_are_found_by_base_pattern_and_graph(tmp_path: Path, given: str) -> None:
    """The prefix is the pattern, as state files have it."""
    base = v1_shards(tmp_path)
    (tmp_path / "model.meta").write_bytes(b"")

    assert find(tmp_path / given) == detect.Found(f"{base}-?????-of-00003", detect.V1)


def test_v1_shard_means_all_of_them(tmp_path: Path) -> None:
    """That is said, since a person may have meant the one."""
    base = v1_shards(tmp_path)

    found = find(f"{base}-00001-of-00003")

    assert found.prefix == f"{base}-?????-of-00003"
    assert found.notes == (f"{base}-00001-of-00003 is shard 1 of 3; all of them are read",)


def test_v1_missing_shard_is_said_when_opening(tmp_path: Path) -> None:
    """What stands only in it cannot be listed, so the listing alone would look whole."""
    base = v1_shards(tmp_path)
    (tmp_path / "model-00001-of-00003").unlink()

    with tfckpt.open(base) as checkpoint:
        assert list(checkpoint) == ["v0", "v2"]
        assert checkpoint.missing_files() == {f"{base}-00001-of-00003": ()}
        (note,) = checkpoint.notes
    assert note.startswith(f"1 of 3 shards of {base} are missing (model-00001-of-00003)")


def test_v1_sets_of_shards_of_one_name_are_ambiguous(tmp_path: Path) -> None:
    """The pattern with its number says which."""
    base = v1_shards(tmp_path, num_shards=2)
    v1_shards(tmp_path, num_shards=3)

    assert "several sets of shards" in said(base)
    assert find(f"{base}-?????-of-00002").prefix == f"{base}-?????-of-00002"


def test_shards_of_something_else_are_no_checkpoint(tmp_path: Path) -> None:
    """Data sets are named so too."""
    (tmp_path / "train-00000-of-00002").write_bytes(b"data")
    (tmp_path / "train-00001-of-00002").write_bytes(b"data")

    assert said(tmp_path / "train").startswith("no such checkpoint")


def test_bundle_index_under_another_name_is_said(tmp_path: Path) -> None:
    """TensorFlow opens it as an empty V1 checkpoint."""
    prefix = bundle(tmp_path)
    (tmp_path / "model.index").rename(tmp_path / "renamed")

    assert "the index of a V2 checkpoint under another name" in said(tmp_path / "renamed")
    assert not prefix.exists()


def test_v1_that_is_damaged_is_corrupt_and_not_absent(tmp_path: Path) -> None:
    """A table whose list cannot be read."""
    path = v1_file(tmp_path / "model")
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)

    with pytest.raises(CorruptionError, match="crc32c"):
        tfckpt.open(path)
    with pytest.raises(CorruptionError, match="crc32c"):
        tfckpt.open(tmp_path)


def test_index_file_that_was_cut_is_corrupt(tmp_path: Path) -> None:
    """Its end, where the magic number stands, is missing."""
    prefix = bundle(tmp_path)
    index = tmp_path / "model.index"
    index.write_bytes(index.read_bytes()[:-1])

    with pytest.raises(CorruptionError, match="do not end in the magic number"):
        tfckpt.open(prefix)


# The state file


def state(folder: Path, path: str) -> None:
    """A state file that names one path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "{path}"\n')


def test_state_file_says_which_of_several_is_meant(tmp_path: Path) -> None:
    """Given the folder or the state file itself."""
    prefix = bundle(tmp_path, "model-1")
    bundle(tmp_path, "model-2")
    state(tmp_path, "model-1")

    assert find(tmp_path) == detect.Found(str(prefix))
    assert find(tmp_path / "checkpoint") == detect.Found(str(prefix))


def test_state_file_may_name_v1_by_file_and_by_pattern(tmp_path: Path) -> None:
    """Both as TensorFlow writes them."""
    single, base = v1_file(tmp_path / "a" / "model.ckpt-1"), v1_shards(tmp_path / "b")
    state(single.parent, "model.ckpt-1")
    state(base.parent, "model-?????-of-00003")

    assert find(single.parent) == detect.Found(str(single), detect.V1)
    assert find(base.parent) == detect.Found(f"{base}-?????-of-00003", detect.V1)


def test_moved_folder_is_read_from_beside_the_state_file(tmp_path: Path) -> None:
    """A path that is no longer there falls back to its last name, said aloud; one that is there wins."""
    there, here = bundle(tmp_path / "there", "model-1"), bundle(tmp_path / "here", "model-1")
    state(here.parent, str(there))
    assert find(here.parent) == detect.Found(str(there))

    (tmp_path / "there").rename(tmp_path / "elsewhere")

    found = find(here.parent)
    assert found.prefix == str(here)
    assert found.notes == (f"the state file names {there}, which is not there; {here} beside it is read instead",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "the state file names no checkpoint", id="empty"),
        pytest.param('model_checkpoint_path: "gone-7"', "the state file names gone-7, and there is no", id="gone"),
    ],
)
def test_state_file_that_names_nothing_offers_what_is_there(tmp_path: Path, text: str, message: str) -> None:
    """No other checkpoint is a substitute, but the error lists them."""
    prefix = bundle(tmp_path)
    (tmp_path / "checkpoint").write_text(text)

    assert said(tmp_path).startswith(message)
    assert said(tmp_path).endswith(f"the folder has {prefix}")


def test_v1_file_named_checkpoint_is_no_state_file(tmp_path: Path) -> None:
    """Content decides."""
    path = v1_file(tmp_path / "checkpoint")

    assert find(path) == detect.Found(str(path), detect.V1)


# SavedModels


@pytest.mark.parametrize(
    "given", ["", "saved_model.pb", "variables", "variables/variables", "variables/variables.index"]
)
def test_saved_model_is_found_from_any_of_its_places(tmp_path: Path, given: str) -> None:
    """Folder, graph file, folder of the variables, prefix, index file."""
    prefix = bundle(tmp_path / "variables", "variables")
    (tmp_path / "saved_model.pb").write_bytes(b"")

    assert find(tmp_path / given) == detect.Found(str(prefix))


def test_saved_model_without_variables_is_said(tmp_path: Path) -> None:
    """No folder, an empty one, and one without its index file are told apart."""
    (tmp_path / "saved_model.pb").write_bytes(b"")
    assert "a SavedModel without variables: it has no folder variables" in said(tmp_path)

    (tmp_path / "variables").mkdir()
    assert "its folder variables is empty" in said(tmp_path)

    bundle(tmp_path / "variables", "variables")
    assert find(tmp_path).prefix.endswith("variables")
    (tmp_path / "variables" / "variables.index").unlink()
    assert "variables.index is missing; there is only variables.data-00000-of-00001" in said(tmp_path)


def test_variables_without_a_saved_model_are_found(tmp_path: Path) -> None:
    """A folder that lost its graph still has its values."""
    prefix = bundle(tmp_path / "variables", "variables")

    assert find(tmp_path) == detect.Found(str(prefix))


# Half-written


@pytest.mark.parametrize("suffix", ["_temp", "_temp_0a1b2c"])
def test_checkpoint_that_is_being_written_is_said(tmp_path: Path, suffix: str) -> None:
    """The parts stand in a folder beside and there is no index yet; a finished part can be opened."""
    part = bundle(tmp_path / f"ckpt-7{suffix}", "part-00000-of-00001")

    for given in (tmp_path / "ckpt-7", tmp_path):
        message = said(given)
        assert message.startswith(
            f"the checkpoint {tmp_path / 'ckpt-7'} is being written, or its writing ended half-way"
        )
        assert message.endswith(f"its finished parts can be opened: {part}")
    assert find(part).prefix == str(part)


def test_checkpoint_that_was_written_is_found_beside_its_parts(tmp_path: Path) -> None:
    """A folder that was left behind does not matter once the index is there."""
    prefix = bundle(tmp_path, "ckpt-7")
    bundle(tmp_path / "ckpt-7_temp", "part-00000-of-00001")

    assert find(prefix).prefix == find(tmp_path).prefix == str(prefix)


def test_folder_named_temp_without_parts_is_nothing(tmp_path: Path) -> None:
    """Not every folder of that name is TensorFlow's."""
    (tmp_path / "ckpt-7_temp").mkdir()

    assert "being written" not in said(tmp_path / "ckpt-7")


# Everything else

KERAS = "tf.train.Checkpoint"
FOREIGN = [
    pytest.param("m.weights.h5", b"\x89HDF\r\n\x1a\n" + bytes(50), "open it with h5py", id="Keras weights"),
    pytest.param("m.txt", b"some text\n", "a text file", id="text"),
    pytest.param("m.bin", bytes(range(128, 256)), "of no kind known here", id="unknown"),
    pytest.param("m.pb", b"\x0a\xff\xfe\x01" + bytes(range(128, 200)), "perhaps a graph (.pb)", id="frozen graph"),
    pytest.param("m.tflite", b"\x1c\0\0\0TFL3" + bytes(20), "a TensorFlow Lite model", id="TensorFlow Lite"),
    pytest.param("empty", b"", "an empty file", id="empty"),
    pytest.param("m.safetensors", b"\x08\0\0\0\0\0\0\0{}      ", "a safetensors file", id="safetensors"),
    pytest.param(
        "events.out.tfevents.1",
        (length := (5).to_bytes(8, "little")) + builders.fixed32(builders.mask(builders.crc32c(length))) + b"hello0000",
        "a TFRecord file",
        id="events",
    ),
]


@pytest.mark.parametrize(("name", "content", "words"), FOREIGN)
def test_foreign_file_is_named_for_what_it_is(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    """With what to do about it where there is something."""
    (tmp_path / name).write_bytes(content)

    message = said(tmp_path / name)

    assert message.startswith("not a TensorFlow checkpoint: this is ")
    assert words in message


def test_keras_weights_say_how_to_save_a_checkpoint(tmp_path: Path) -> None:
    """The way out is in the message."""
    (tmp_path / "m.weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(50))

    assert KERAS in said(tmp_path / "m.weights.h5")
    assert KERAS in said(tmp_path)


def test_folder_named_like_keras_weights_is_no_keras_file(tmp_path: Path) -> None:
    """A home folder has `.keras`, where Keras keeps what it downloads."""
    (tmp_path / ".keras").mkdir()

    assert KERAS not in said(tmp_path)


def test_what_is_neither_a_file_nor_a_folder_is_said(tmp_path: Path) -> None:
    """A pipe is not waited for."""
    os.mkfifo(tmp_path / "pipe")

    assert "this is neither a file nor a folder" in said(tmp_path / "pipe")


def test_empty_path_is_said() -> None:
    """As a shell gives it for a variable that is not set."""
    with pytest.raises(CheckpointNotFoundError, match="the path is empty"):
        tfckpt.open("")


def test_keras_model_says_how_to_save_a_checkpoint(tmp_path: Path) -> None:
    """A .keras file is a zip archive, so it is looked into; one that holds a checkpoint opens."""
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n")
    prefix = bundle(tmp_path / "twin")
    with zipfile.ZipFile(tmp_path / "twin.zip", "w") as archive:
        for path in prefix.parent.iterdir():
            archive.write(path, path.name)

    with pytest.raises(CheckpointNotFoundError, match="Keras 3") as caught:
        tfckpt.open(tmp_path / "m.keras")
    assert KERAS in str(caught.value)
    with tfckpt.open(tmp_path / "twin.zip") as checkpoint:
        assert list(checkpoint) == ["w"]


def test_empty_folder_is_said(tmp_path: Path) -> None:
    """And of one with other files, what they are."""
    assert said(tmp_path).endswith("it is empty")

    (tmp_path / "notes.txt").write_text("text")
    assert said(tmp_path).endswith("it holds notes.txt")


# Places that list no folders


class Unlisted(LocalStorage):
    """Files of this machine as a web server shows them: each by its name, and no folders."""

    is_remote = True

    def is_folder(self, path: str) -> bool:
        """No server says."""
        return False

    def list(self, folder: str) -> list[str]:
        """Nothing."""
        return []


def test_v1_shards_are_found_from_one_where_nothing_is_listed(tmp_path: Path) -> None:
    """Their names follow from that of the one; those that are missing are told apart."""
    base = v1_shards(tmp_path)
    (tmp_path / "model-00001-of-00003").unlink()

    found = detect.find(Unlisted(), f"{base}-00002-of-00003")

    assert (found.prefix, found.format) == (f"{base}-?????-of-00003", detect.V1)
    assert "is shard 2 of 3" in found.notes[0]
    assert "1 of 3 shards" in found.notes[1]


def test_nothing_where_nothing_is_listed_asks_for_the_exact_name(tmp_path: Path) -> None:
    """There are no close names to offer; the exact prefix is found."""
    prefix = bundle(tmp_path)
    assert detect.find(Unlisted(), str(prefix)) == detect.Found(str(prefix))

    with pytest.raises(CheckpointNotFoundError, match=r"no models.index and no models; this place lists no folders"):
        detect.find(Unlisted(), f"{prefix}s")
