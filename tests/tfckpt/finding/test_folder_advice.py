"""What the names in a folder show if its checkpoint is incomplete."""

from __future__ import annotations

from pathlib import Path

import pytest

import tfckpt
from tests.builders import INT32, Bundle
from tfckpt.finding.folder_advice import describe_missing_index, describe_renamed

SHARD = "m.data-00000-of-00001"


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        ([f"{SHARD} (1)"], SHARD),
        (["m (1).data-00000-of-00001"], SHARD),
        (["m(2).index"], "m.index"),
        (["m.index - Copy"], "m.index"),
        (["m copy.index"], "m.index"),
        (["m.index.gz"], "m.index"),
        ([f"{SHARD}.zip"], SHARD),
        ([f"{SHARD}.aa", f"{SHARD}.ab"], SHARD),
        ([f"{SHARD}.part1", f"{SHARD}.part2"], SHARD),
        ([f"{SHARD}.001", f"{SHARD}.002"], SHARD),
    ],
)
def test_other_forms_of_a_missing_file_are_recognised(names: list[str], missing: str) -> None:
    """The advice names each of the files; nothing is said if the file itself is there too."""
    advice = describe_renamed(names)[missing]

    assert all(name in advice for name in names)
    assert missing not in describe_renamed([*names, missing])


@pytest.mark.parametrize(
    ("names", "content", "kind", "word"),
    [
        ([f"{SHARD} (1)"], bytes(160), tfckpt.CheckpointNotFoundError, "rename"),
        ([f"{SHARD}.aa", f"{SHARD}.ab"], bytes(80), tfckpt.CheckpointNotFoundError, "join"),
        ([SHARD], b"version https://git-lfs.github.com/spec/v1\n", tfckpt.CorruptionError, "git lfs pull"),
        ([SHARD], b"<!DOCTYPE html>", tfckpt.CorruptionError, "download"),
        ([], b"", tfckpt.CheckpointNotFoundError, "put the file"),
        ([SHARD], bytes(100), tfckpt.CorruptionError, "100 available"),
    ],
    ids=["copy", "split", "Git LFS", "page", "missing", "cut off"],
)
def test_error_of_a_tensor_says_what_its_shard_is(
    names: list[str], content: bytes, kind: type[tfckpt.CheckpointError], word: str, tmp_path: Path
) -> None:
    """`open` needs only the index; whoever reads the tensor learns what to do."""
    prefix = Bundle().add("w", INT32, [40], bytes(160)).write(tmp_path, "m")
    (tmp_path / SHARD).unlink()
    for name in names:
        (tmp_path / name).write_bytes(content)

    with tfckpt.open(prefix) as checkpoint, pytest.raises(kind) as caught:
        checkpoint["w"]

    assert word in caught.value.message
    assert caught.value.path == str(tmp_path / SHARD)


@pytest.mark.parametrize("names", [[], ["m.index", SHARD], ["notes.txt"], [f"{SHARD}.aa"], ["m.txt (1)"]])
def test_other_names_are_not_a_missing_index(names: list[str]) -> None:
    """A single part is not a split file, and copies of other files are not members."""
    assert not describe_missing_index([name for name in names if name not in {"m.index", SHARD}], "n")
    assert SHARD not in describe_renamed(names)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["m.index.gz", f"{SHARD}.gz"], "m.index.gz"),
        (["m.index (1)", SHARD], "m.index (1)"),
        ([SHARD, "m.meta"], SHARD),
        (["m.meta"], "m.meta"),
    ],
    ids=["compressed", "copy", "lost index", "only a graph"],
)
def test_error_says_why_the_index_is_missing(names: list[str], told: str, tmp_path: Path) -> None:
    """The same for the folder, the prefix, and a state file that names it."""
    for name in names:
        (tmp_path / name).write_bytes(b"")

    for path in (tmp_path, tmp_path / "m"):
        with pytest.raises(tfckpt.CheckpointNotFoundError) as caught:
            tfckpt.open(path)
        assert told in caught.value.message
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "m"')
    with pytest.raises(tfckpt.CheckpointNotFoundError) as caught:
        tfckpt.open(tmp_path)
    assert told in caught.value.message


def test_binary_file_named_checkpoint_is_not_a_corrupt_state_file(tmp_path: Path) -> None:
    """Keras writes HDF5 files under any name; text that does not parse is a damaged state file."""
    (tmp_path / "checkpoint").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(tfckpt.CheckpointNotFoundError) as caught:
        tfckpt.open(tmp_path)
    assert "HDF5" in caught.value.message

    (tmp_path / "checkpoint").write_text("words")
    with pytest.raises(tfckpt.CorruptionError):
        tfckpt.open(tmp_path)


def test_subfolders_with_checkpoints_are_named(tmp_path: Path) -> None:
    """Among many without one; a folder of empty folders has none."""
    for number in range(20):
        (tmp_path / f"run{number}").mkdir()
    with pytest.raises(tfckpt.CheckpointNotFoundError):
        tfckpt.open(tmp_path)
    Bundle().add("w", INT32, [2], bytes(8)).write(tmp_path / "run17", "m")

    with pytest.raises(tfckpt.CheckpointNotFoundError) as caught:
        tfckpt.open(tmp_path)

    assert caught.value.message.endswith(str(tmp_path / "run17"))
