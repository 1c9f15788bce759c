"""Export to safetensors, .npz and folders of .npy."""

from __future__ import annotations

import json
import pathlib
import urllib.parse
from collections.abc import Callable

import numpy as np
import pytest
import safetensors.numpy

import tfckpt
from tests import builders
from tfckpt import export
from tfckpt.files.atomic import PendingFile

SCOPE = "efficientnetv2-digits/"


@pytest.fixture
def checkpoint(digits: pathlib.Path) -> tfckpt.Checkpoint:
    """The open digits checkpoint."""
    return tfckpt.open(digits)


def save(folder: pathlib.Path, **arrays: object) -> tfckpt.Checkpoint:
    """Write a checkpoint with these tensors and open it."""
    return tfckpt.open(tfckpt.save(arrays, folder / "model"))


def test_safetensors_export_has_every_tensor(checkpoint: tfckpt.Checkpoint, tmp_path: pathlib.Path) -> None:
    """The safetensors library reads the same names and values."""
    report = export(checkpoint, tmp_path / "out.safetensors")

    arrays = safetensors.numpy.load_file(tmp_path / "out.safetensors")
    assert report.left_out == {}
    assert sorted(arrays) == sorted(checkpoint) == list(report.tensors)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, checkpoint[name], strict=True)


def test_npz_export_needs_no_pickle(checkpoint: tfckpt.Checkpoint, tmp_path: pathlib.Path) -> None:
    """NumPy reads it with its default settings."""
    export(checkpoint, tmp_path / "out.npz", include=["*/stem/*", "global_step"])

    with np.load(tmp_path / "out.npz", allow_pickle=False) as arrays:
        assert len(arrays.files) == 11
        for name in arrays.files:
            np.testing.assert_array_equal(arrays[name], checkpoint[name], strict=True)


def test_names_like_paths_stay_inside_an_exported_folder(tmp_path: pathlib.Path) -> None:
    """No file is written outside the folder, and the index has the file of each name."""
    names = ["../../evil", "/etc/passwd", "..", "a/b", "con", "x" * 3000, "tab\there"]
    source = save(tmp_path, **{name: np.float32([number]) for number, name in enumerate(names)})
    out = tmp_path / "deep" / "er" / "out"
    out.parent.mkdir(parents=True)

    export(source, f"{out}/")

    index = json.loads((out / "index.json").read_text())
    assert sorted(index) == sorted(names)
    assert {path.name for path in out.iterdir()} == {"index.json", *index.values()}
    assert {path.name for path in out.parent.iterdir()} == {"out"}
    for name in names:
        assert (out / index[name]).parent == out
        np.testing.assert_array_equal(np.load(out / index[name]), source[name])


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (["A/w", "a/w", "B/w"], ["%41%2Fw", "a%2Fw", "B%2Fw"]),
        (["NUL", "nul", "x"], ["%4EUL", "%6Eul", "x"]),
        (["con", "Aux.1", "lpt9 ", "com1 .x", "control"], ["%63on", "%41ux.1", "%6Cpt9 ", "%63om1 .x", "control"]),
        (["caf\u00e9", "cafe\u0301", "a.", "a ", "a"], ["caf%C3%A9", "cafe%CC%81", "a.", "a ", "a"]),
        (["longna~1", "._x"], ["longna%7E1", "%2E_x"]),
    ],
    ids=["case", "case of a device", "devices", "accents and ends", "short names and attributes"],
)
def test_files_of_a_folder_are_distinct_on_every_disk(
    names: list[str], files: list[str], tmp_path: pathlib.Path
) -> None:
    """Disks ignore case or the form of accents, and Windows has devices and short names; reading gives the names."""
    source = save(tmp_path, **{name: np.float32(number) for number, name in enumerate(names)})

    export(source, tmp_path / "out")

    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert index == {name: f"{file}.npy" for name, file in zip(names, files, strict=True)}
    for number, name in enumerate(names):
        assert np.load(tmp_path / "out" / index[name]) == number
        assert urllib.parse.unquote(index[name]) == f"{name}.npy"


def test_shortened_name_differs_from_every_other(tmp_path: pathlib.Path) -> None:
    """Names that differ in case at their end, and one that is the file name of another."""
    names = ["x" * 300 + "A", "x" * 300 + "a"]
    export(save(tmp_path, **{name: np.float32(0) for name in names}), tmp_path / "first")
    index = json.loads((tmp_path / "first" / "index.json").read_text())
    names.append(index[names[0]].removesuffix(".npy"))

    second = tfckpt.save({name: np.float32(0) for name in names}, tmp_path / "other")
    with tfckpt.open(second) as source:
        export(source, tmp_path / "second")

    files = json.loads((tmp_path / "second" / "index.json").read_text())
    assert len({file.lower() for file in files.values()}) == 3
    assert max(map(len, files.values())) <= 204


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        (b"a\xff", "npz"),
        (b"a\xff", "safetensors"),
        (b"a\0b", "npz"),
        (b"n" * 65_532, "npz"),
        (b"__metadata__", "safetensors"),
    ],
    ids=["not UTF-8 in npz", "not UTF-8 in safetensors", "NUL in npz", "too long for npz", "reserved"],
)
def test_name_that_a_format_cannot_store_is_refused(name: bytes, suffix: str, tmp_path: pathlib.Path) -> None:
    """A zip archive would cut a name at a NUL, so two tensors might become one; a folder of .npy stores any name."""
    bundle = builders.Bundle().add(name, builders.FLOAT, [], bytes(4))
    bundle.add("a\u00e9\n\x1b[31m", builders.FLOAT, [], bytes(4)).add("n" * 65_531, builders.FLOAT, [], bytes(4))
    with tfckpt.open(bundle.write(tmp_path)) as checkpoint:
        with pytest.raises(tfckpt.UnsupportedFeatureError) as caught:
            export(checkpoint, tmp_path / f"out.{suffix}")

        assert len(str(caught.value)) < 1000
        assert str(caught.value).isprintable()
        assert len(export(checkpoint, f"{tmp_path}/arrays/").tensors) == 3
        rest = export(checkpoint, tmp_path / f"out.{suffix}", exclude=[name.decode("utf-8", "surrogateescape")])
        assert len(rest.tensors) == 2


def test_averages_replace_raw_values(checkpoint: tfckpt.Checkpoint, tmp_path: pathlib.Path) -> None:
    """`ema` writes averages with the names of their variables, and `raw` leaves them out."""
    ema = export(checkpoint, tmp_path / "ema.safetensors", weights="ema")
    raw = export(checkpoint, tmp_path / "raw.safetensors", weights="raw")

    kernel = SCOPE + "stem/conv2d/kernel"
    averaged = safetensors.numpy.load_file(tmp_path / "ema.safetensors")[kernel]
    plain = safetensors.numpy.load_file(tmp_path / "raw.safetensors")[kernel]
    assert ema.tensors == raw.tensors
    assert [len(names) for names in ema.left_out.values()] == [113]
    assert [len(names) for names in raw.left_out.values()] == [113]
    np.testing.assert_array_equal(averaged, checkpoint[kernel + "/ExponentialMovingAverage"])
    np.testing.assert_array_equal(plain, checkpoint[kernel])


def test_optimizer_state_is_left_out_on_request(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Only the 150 RMSProp slots of the training checkpoint are left out."""
    with tfckpt.open(data / "digits-train") as checkpoint:
        report = export(checkpoint, tmp_path / "out.safetensors", no_optimizer=True)

    assert len(report.left_out["state of an optimizer"]) == 150
    assert len(report.tensors) == 227


def test_prefix_is_stripped_before_renaming(checkpoint: tfckpt.Checkpoint, tmp_path: pathlib.Path) -> None:
    """The regular expressions are applied to the stripped names."""
    report = export(
        checkpoint,
        tmp_path / "out.safetensors",
        include=["*/stem/conv2d/kernel"],
        strip_prefix=SCOPE,
        rename=[("^stem/(.*)$", r"backbone.\1")],
    )

    assert report.tensors == ("backbone.conv2d/kernel",)


def test_renaming_two_tensors_to_one_name_writes_nothing(checkpoint: tfckpt.Checkpoint, tmp_path: pathlib.Path) -> None:
    """The error has the names that would collide."""
    with pytest.raises(tfckpt.NameConflictError) as caught:
        export(checkpoint, tmp_path / "out.safetensors", rename=[("^.*$", "same")])
    assert set(caught.value.conflicts["same"]) == set(checkpoint)

    assert list(tmp_path.iterdir()) == []


def test_shards_have_the_layout_of_the_hugging_face_hub(checkpoint: tfckpt.Checkpoint, tmp_path: pathlib.Path) -> None:
    """Each tensor is in the file that the index names, and no file is larger than requested."""
    report = export(checkpoint, tmp_path / "model.safetensors", shard_size=200_000)

    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    shards = sorted(set(index["weight_map"].values()))
    assert shards == [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
    assert index["metadata"]["total_size"] == report.nbytes == 506_584
    for shard in shards:
        arrays = safetensors.numpy.load_file(tmp_path / shard)
        assert sum(array.nbytes for array in arrays.values()) <= 200_000
        assert sorted(arrays) == sorted(name for name, file in index["weight_map"].items() if file == shard)


def test_an_index_never_refers_to_files_of_another_export(
    checkpoint: tfckpt.Checkpoint, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is killed while it replaces files leaves none that a reader would take for complete."""
    path, index = tmp_path / "model.safetensors", tmp_path / "model.safetensors.index.json"
    export(checkpoint, path, shard_size=200_000)
    commit, count = PendingFile.commit, 0

    def commit_one(file: PendingFile) -> None:
        nonlocal count
        count += 1
        if count > 1:
            raise KeyboardInterrupt
        commit(file)

    monkeypatch.setattr(PendingFile, "commit", commit_one)
    with pytest.raises(KeyboardInterrupt):
        export(checkpoint, path, shard_size=200_000, overwrite=True)
    monkeypatch.undo()

    assert not index.exists()
    export(checkpoint, path, shard_size=200_000, overwrite=True)
    assert index.exists()


def test_only_floats_are_converted(checkpoint: tfckpt.Checkpoint, tmp_path: pathlib.Path) -> None:
    """The step counter is still int64."""
    export(checkpoint, tmp_path / "out.npz", dtype="float16")

    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays[SCOPE + "stem/conv2d/kernel"].dtype == np.float16
        assert arrays["global_step"].dtype == np.int64


def test_value_outside_the_range_of_the_type_is_refused(tmp_path: pathlib.Path) -> None:
    """1e5 is outside the range of float16, and 6e4 is not."""
    with pytest.raises(ValueError, match="'a'"):
        export(save(tmp_path, a=np.float32([1e5])), tmp_path / "out.npz", dtype="float16")
    assert not (tmp_path / "out.npz").exists()

    (tmp_path / "smaller").mkdir()
    export(save(tmp_path / "smaller", a=np.float32([6e4])), tmp_path / "out.npz", dtype="float16")
    assert (tmp_path / "out.npz").exists()


def test_report_lists_strings_that_are_left_out(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The object graph is a string tensor, which safetensors cannot store."""
    with tfckpt.open(data / "objects") as checkpoint:
        report = export(checkpoint, tmp_path / "out.safetensors")

    assert report.left_out == {"strings": ("_CHECKPOINTABLE_OBJECT_GRAPH",)}
    assert len(report.tensors) == 113


def test_type_that_a_format_cannot_store_is_refused(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Only safetensors stores bfloat16, and only NumPy's files store complex128."""
    with tfckpt.open(data / "tensorflow" / "dtypes") as checkpoint:
        with pytest.raises(tfckpt.UnsupportedFeatureError, match="bfloat16"):
            export(checkpoint, tmp_path / "b.npz", include=["bfloat16/*"])
        with pytest.raises(tfckpt.UnsupportedFeatureError, match="complex128"):
            export(checkpoint, tmp_path / "c.safetensors", include=["complex128/*"])
        assert list(tmp_path.iterdir()) == []

        export(checkpoint, tmp_path / "b.safetensors", include=["bfloat16/*"])
        export(checkpoint, tmp_path / "c.npz", include=["complex128/*"])


def test_existing_output_is_overwritten_only_on_request(checkpoint: tfckpt.Checkpoint, tmp_path: pathlib.Path) -> None:
    """Otherwise the file does not change."""
    out = tmp_path / "out.npz"
    out.write_bytes(b"mine")

    with pytest.raises(tfckpt.CheckpointExistsError) as caught:
        export(checkpoint, out)
    assert caught.value.path == str(out)
    assert out.read_bytes() == b"mine"

    export(checkpoint, out, overwrite=True)
    assert out.read_bytes() != b"mine"


def test_folder_that_is_not_an_export_is_never_replaced(checkpoint: tfckpt.Checkpoint, tmp_path: pathlib.Path) -> None:
    """Overwriting removes the folder, so an export must have written it."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").touch()

    with pytest.raises(tfckpt.CheckpointExistsError):
        export(checkpoint, f"{tmp_path}/home/", overwrite=True)

    assert (tmp_path / "home" / "thesis.tex").exists()
    export(checkpoint, f"{tmp_path}/arrays/", include=["global_step"])
    export(checkpoint, f"{tmp_path}/arrays/", include=["*/stem/*"], overwrite=True)
    assert len(list((tmp_path / "arrays").iterdir())) == 11


def test_salvage_exports_the_intact_tensors(
    digits: pathlib.Path, copied: Callable[[pathlib.Path], pathlib.Path], tmp_path: pathlib.Path
) -> None:
    """After one changed byte an export fails and writes nothing; with `salvage` it writes the other 226 tensors."""
    prefix = copied(digits)
    shard = prefix.with_name(prefix.name + ".data-00000-of-00001")
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    out = tmp_path / "out.safetensors"

    with tfckpt.open(prefix) as checkpoint:
        with pytest.raises(tfckpt.ChecksumError):
            export(checkpoint, out)
        assert not out.exists()
        report = export(checkpoint, out, salvage=True)

    assert len(report.tensors) == 226
    assert report.left_out == {"damaged or missing": ("global_step",)}
    assert [error.tensor for error in report.errors] == ["global_step"]
    assert len(safetensors.numpy.load_file(out)) == 226


def test_salvage_without_intact_tensors_is_refused(
    digits: pathlib.Path, copied: Callable[[pathlib.Path], pathlib.Path], tmp_path: pathlib.Path
) -> None:
    """Without the only shard there is nothing to write."""
    prefix = copied(digits)
    prefix.with_name(prefix.name + ".data-00000-of-00001").unlink()

    with tfckpt.open(prefix) as checkpoint, pytest.raises(tfckpt.CheckpointNotFoundError):
        export(checkpoint, tmp_path / "out.safetensors", salvage=True)

    assert not (tmp_path / "out.safetensors").exists()
