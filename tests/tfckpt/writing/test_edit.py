"""Copying with changes, merging and replacing."""

from __future__ import annotations

import pathlib

import ml_dtypes
import numpy as np
import pytest

import tfckpt
from tests.tfckpt.bundle.test_writer import BY_TENSORFLOW, assert_same_files
from tfckpt.graphs.object_graph import GRAPH_KEY, VALUE_SUFFIX

EMA = "/ExponentialMovingAverage"


@pytest.fixture
def train(data: pathlib.Path) -> pathlib.Path:
    """Prefix of a training checkpoint of the digits network: variables, averages, RMSProp slots, a step."""
    return data / "digits-train" / "model.ckpt-322"


@pytest.fixture
def small(tmp_path: pathlib.Path) -> pathlib.Path:
    """Prefix of a small checkpoint with a slot, an average and a counter."""
    tensors = {
        "net/w": np.array([1, 2], np.float32),
        "net/w/Momentum": np.array([3, 4], np.float32),
        "net/w" + EMA: np.array([5, 6], np.float32),
        "net/b": np.array([7], np.float64),
        "global_step": np.int64(9),
    }
    tfckpt.save(tensors, tmp_path / "small", checkpoint_state=False)
    return tmp_path / "small"


def contents(prefix: pathlib.Path) -> dict[str, object]:
    """Return the tensors of a checkpoint as lists."""
    with tfckpt.open(prefix) as checkpoint:
        return {name: array.tolist() for name, array in checkpoint.items()}


@pytest.mark.parametrize("prefix", [*BY_TENSORFLOW, "tensorflow/variant/ckpt"])
def test_copy_without_changes_has_identical_files(prefix: str, data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Also for variants, and for slices in several shards."""
    report = tfckpt.copy(data / prefix, tmp_path / "copy")

    assert_same_files(data / prefix, tmp_path / "copy")
    assert report.converted == report.dropped == report.averaged == ()
    assert report.nbytes == sum(path.stat().st_size for path in tmp_path.glob("*.data-*"))


def test_averages_replace_the_values_of_variables(train: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Of 377 tensors, the 113 variables, with the bytes of their averages, and the step are copied."""
    report = tfckpt.copy(train, tmp_path / "averaged", ema_to_raw=True, no_optimizer=True)

    assert (len(report.copied), len(report.averaged), len(report.dropped)) == (114, 113, 150)
    with tfckpt.open(train) as source, tfckpt.open(tmp_path / "averaged") as copy:
        assert len(copy) == 114
        for name in copy:
            origin = name if name == "global_step" else name + EMA
            assert copy[name].tobytes() == source[origin].tobytes()
            assert copy.info(name).crc32c == source.info(origin).crc32c
        kernel = "efficientnetv2-digits/stem/conv2d/kernel"
        assert not np.array_equal(copy[kernel], source[kernel])


def test_no_optimizer_leaves_out_slots(small: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A name that ends like a slot is not one if there is no such variable."""
    tfckpt.save(
        {"a/Adam": np.zeros(1), "b": np.zeros(1), "b/Adam_1": np.zeros(1), "beta1_power": np.zeros(())},
        small.with_name("more"),
    )

    tfckpt.copy(small, tmp_path / "a", no_optimizer=True)
    tfckpt.copy(small.with_name("more"), tmp_path / "b", no_optimizer=True)

    assert set(contents(tmp_path / "a")) == {"net/w", "net/w" + EMA, "net/b", "global_step"}
    assert set(contents(tmp_path / "b")) == {"a/Adam", "b"}


@pytest.mark.parametrize("case", ["legacy_optimizer/ckpt-1", "new_optimizer/ckpt"])
def test_no_optimizer_also_changes_the_object_graph(case: str, data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The graph has only keys that are in the checkpoint, and all variables of the network are."""
    source = data / "tensorflow" / "objects-more" / case

    report = tfckpt.copy(source, tmp_path / "copy", no_optimizer=True)

    assert report.converted == (GRAPH_KEY,)
    with tfckpt.open(tmp_path / "copy") as copy, tfckpt.open(source) as original:
        assert copy.object_graph is not None
        assert {a.checkpoint_key for node in copy.object_graph.nodes for a in node.attributes} == set(copy) - {
            GRAPH_KEY
        }
        assert list(copy.object_graph.slots()) == []
        kept = [variable.path for variable in copy.variables()]
        assert [path for path in kept if path and path.startswith("net/")] == [
            f"net/layers/{number}/{name}" for number in (0, 1) for name in ("bias", "kernel")
        ]
        assert len(copy) < len(original)


def test_include_and_exclude_are_globs(small: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A star also matches slashes, and `exclude` wins over `include`."""
    report = tfckpt.copy(small, tmp_path / "a", include=["net/*"], exclude=["*/Momentum", "*" + EMA])

    assert contents(tmp_path / "a") == {"net/b": [7.0], "net/w": [1.0, 2.0]}
    assert report.dropped == ("global_step", "net/w" + EMA, "net/w/Momentum")


def test_average_is_selected_by_its_own_name_or_that_of_its_variable(
    small: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """The result is the same."""
    tfckpt.copy(small, tmp_path / "a", include=["*" + EMA], ema_to_raw=True)
    tfckpt.copy(small, tmp_path / "b", include=["net/w"], ema_to_raw=True)

    assert contents(tmp_path / "a") == contents(tmp_path / "b") == {"net/w": [5.0, 6.0]}


def test_average_without_a_variable_becomes_the_variable(tmp_path: pathlib.Path) -> None:
    """Some checkpoints have only averages; one whose shape differs from that of its variable is refused."""
    tfckpt.save({"w" + EMA: np.ones(2)}, tmp_path / "alone")
    tfckpt.save({"w" + EMA: np.ones(2), "w": np.ones(3)}, tmp_path / "other")

    tfckpt.copy(tmp_path / "alone", tmp_path / "a", ema_to_raw=True)
    with pytest.raises(ValueError, match="'w'"):
        tfckpt.copy(tmp_path / "other", tmp_path / "b", ema_to_raw=True)

    assert contents(tmp_path / "a") == {"w": [1.0, 1.0]}
    assert not (tmp_path / "b.index").exists()


def test_names_are_changed_by_regular_expressions_in_order(small: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The second is applied to the result of the first, and replacements may contain groups."""
    tfckpt.copy(small, tmp_path / "a", include=["net/*"], rename=[("^net/", "scope/"), (r"/(\w)$", r"/x_\1")])

    assert set(contents(tmp_path / "a")) == {"scope/x_b", "scope/x_w", "scope/w" + EMA, "scope/w/Momentum"}


def test_renaming_two_tensors_to_one_name_is_refused(small: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The error has the original names, and nothing is written."""
    with pytest.raises(tfckpt.NameConflictError) as caught:
        tfckpt.copy(small, tmp_path / "a", rename=[("/[wb]$", "/x")])

    assert caught.value.conflicts == {"net/x": ("net/b", "net/w")}
    assert not list(tmp_path.glob("a.*"))


def test_renaming_keys_also_changes_the_object_graph(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The objects move to the paths in the new keys."""
    source = data / "tensorflow" / "writer" / "objects"

    tfckpt.copy(source, tmp_path / "a", rename=[("^net/layers/0/kernel", "moved/here")])

    with tfckpt.open(source) as original, tfckpt.open(tmp_path / "a") as copy:
        assert "moved/here" + VALUE_SUFFIX in list(copy)
        assert copy.info("moved/here").name == "moved/here" + VALUE_SUFFIX
        assert np.array_equal(copy["moved/here"], original["net/layers/0/kernel"])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_only_floats_are_converted(dtype: str, small: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Floats that already have the type are copied as bytes."""
    report = tfckpt.copy(small, tmp_path / "a", include=["net/?", "global_step"], dtype=dtype)

    with tfckpt.open(tmp_path / "a") as copy:
        assert [copy[name].dtype.name for name in copy] == ["int64", dtype, dtype]
        assert copy["net/w"].tolist() == [1, 2]
    assert set(report.copied) == {"global_step"} | {
        name for name, stored in (("net/w", "float32"), ("net/b", "float64")) if stored == dtype
    }


def test_value_outside_the_range_of_the_new_type_is_refused(tmp_path: pathlib.Path) -> None:
    """Values that are already infinite or NaN are kept."""
    tfckpt.save({"w": np.array([1, 70000], np.float32)}, tmp_path / "big")
    tfckpt.save({"w": np.array([1, np.inf, -np.inf, np.nan], np.float32)}, tmp_path / "infinite")

    with pytest.raises(ValueError, match="'w'"):
        tfckpt.copy(tmp_path / "big", tmp_path / "a", dtype="float16")
    tfckpt.copy(tmp_path / "infinite", tmp_path / "b", dtype="float16")
    tfckpt.copy(tmp_path / "big", tmp_path / "c", dtype="bfloat16")

    assert not (tmp_path / "a.index").exists()
    with tfckpt.open(tmp_path / "b") as checkpoint:
        assert np.array_equal(checkpoint["w"], np.array([1, np.inf, -np.inf, np.nan], np.float16), equal_nan=True)
    with tfckpt.open(tmp_path / "c") as checkpoint:
        assert checkpoint["w"].dtype == ml_dtypes.bfloat16


def test_number_of_shards_can_be_changed(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Twelve become one, and one becomes four, with the same values."""
    tfckpt.copy(data / "tensorflow" / "sharded" / "twelve", tmp_path / "one", shards=1)
    tfckpt.copy(tmp_path / "one", tmp_path / "four", shards=4)

    assert len(list(tmp_path.glob("one.data-*-of-00001"))) == 1
    assert len(list(tmp_path.glob("four.data-*-of-00004"))) == 4
    assert contents(tmp_path / "four") == contents(data / "tensorflow" / "sharded" / "twelve")


@pytest.mark.parametrize(
    "prefix",
    ["bigendian/ckpt", "snappy/small", "partitioned/model.ckpt-12", "partitioned/v1/model.ckpt-12", "aligned/ckpt"],
)
def test_to_v2_converts_any_source(prefix: str, data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The result is little-endian V2 without slices, and has the same names, types and values."""
    source = data / "tensorflow" / prefix

    tfckpt.copy(source, tmp_path / "plain", to_v2=True)

    with tfckpt.open(source) as original, tfckpt.open(tmp_path / "plain") as plain:
        assert plain.format == "V2"
        assert list(plain) == list(original)
        for name in plain:
            assert plain.info(name).slices == ()
            assert plain.info(name).tf_dtype == original.info(name).tf_dtype
            assert plain[name].shape == original[name].shape
            assert plain[name].tolist() == original[name].tolist() or plain[name].tobytes() == original[name].tobytes()


@pytest.mark.parametrize("prefix", ["bigendian/ckpt", "partitioned/v1/model.ckpt-12"])
def test_source_that_cannot_be_copied_as_bytes_needs_to_v2(
    prefix: str, data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """The error names the source and the option that converts it."""
    with pytest.raises(tfckpt.UnsupportedFeatureError, match="--to-v2") as caught:
        tfckpt.copy(data / "tensorflow" / prefix, tmp_path / "a")

    assert caught.value.path == str(data / "tensorflow" / prefix)

    assert list(tmp_path.iterdir()) == []


def test_damaged_payload_is_not_copied(small: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Its checksum is verified before it is reused; the other tensors can be copied."""
    shard = small.with_name("small.data-00000-of-00001")
    damaged = bytearray(shard.read_bytes())
    damaged[0] ^= 1
    shard.write_bytes(damaged)

    with pytest.raises(tfckpt.ChecksumError) as caught:
        tfckpt.copy(small, tmp_path / "a")
    assert caught.value.tensor == "net/w"
    assert not list(tmp_path.glob("a.*"))

    tfckpt.copy(small, tmp_path / "a", exclude=["net/w"])


@pytest.mark.parametrize(
    "options",
    [
        {"include": ["nett/*"]},
        {"exclude": ["*"]},
        {"rename": [("(", "x")]},
        {"rename": [("net", r"\2")]},
        {"rename": [("absent", "x")]},
        {"rename": [("^net/b$", "")]},
        {"dtype": "int8"},
        {"dtype": "float31"},
        {"rename": [("^net/b$", "_CHECKPOINTABLE_OBJECT_GRAPH")]},
        {"shards": 0},
        {"shards": 100_000},
    ],
    ids=[
        "include",
        "nothing left",
        "regex",
        "replacement",
        "unused",
        "empty name",
        "integer",
        "dtype",
        "name of the object graph",
        "no shard",
        "more shards than tensors",
    ],
)
def test_invalid_option_of_a_copy_is_refused(
    options: dict[str, object], small: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """Nothing is written."""
    with pytest.raises(ValueError):
        tfckpt.copy(small, tmp_path / "a", **options)  # type: ignore[arg-type]  # one option at a time

    assert not list(tmp_path.glob("a.*"))


def test_copy_can_have_a_shard_for_each_tensor(small: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """One more is refused, for a merge as well."""
    number = len(contents(small))

    tfckpt.copy(small, tmp_path / "a", shards=number)

    assert contents(tmp_path / "a") == contents(small)
    with pytest.raises(ValueError):
        tfckpt.copy(small, tmp_path / "b", shards=number + 1)
    with pytest.raises(ValueError):
        tfckpt.merge([small], tmp_path / "b", shards=number + 1)
    assert not list(tmp_path.glob("b.*"))


@pytest.mark.parametrize("value", [np.zeros(3, np.float32), np.array([b"a"], object)])
def test_only_a_string_can_have_the_name_of_the_object_graph(
    value: np.ndarray[tuple[int, ...], np.dtype[np.generic]], small: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """Otherwise the checkpoint could not be read as an object-based one."""
    with pytest.raises(ValueError):
        tfckpt.save({"_CHECKPOINTABLE_OBJECT_GRAPH": value}, tmp_path / "a")
    with pytest.raises(ValueError):
        tfckpt.replace(small, {"_CHECKPOINTABLE_OBJECT_GRAPH": value}, tmp_path / "a", allow_change=True)

    assert not list(tmp_path.glob("a.*"))


def test_source_without_averages_is_refused(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A copy with raw values would not be what the user requested."""
    with pytest.raises(ValueError):
        tfckpt.copy(data / "tensorflow" / "writer" / "small", tmp_path / "a", ema_to_raw=True)


def test_copy_may_replace_its_source(small: pathlib.Path) -> None:
    """If overwriting is requested."""
    before = contents(small)
    with pytest.raises(tfckpt.CheckpointExistsError):
        tfckpt.copy(small, small, exclude=["global_step"])
    assert contents(small) == before

    tfckpt.copy(small, small, exclude=["global_step"], overwrite=True)

    assert contents(small) == {name: value for name, value in before.items() if name != "global_step"}


def test_merge_writes_the_tensors_of_several_checkpoints(tmp_path: pathlib.Path) -> None:
    """They are in the order of the sources."""
    tfckpt.save({"b": np.ones(1), "a": np.zeros(2)}, tmp_path / "first")
    tfckpt.save({"c": np.ones(3)}, tmp_path / "second")

    report = tfckpt.merge([tmp_path / "first", tmp_path / "second"], tmp_path / "both", shards=2)

    assert contents(tmp_path / "both") == {"a": [0.0, 0.0], "b": [1.0], "c": [1.0, 1.0, 1.0]}
    assert report.copied == ("a", "b", "c")


def test_merge_lists_every_conflict_and_writes_nothing(tmp_path: pathlib.Path) -> None:
    """Tensors with equal values are conflicts as well."""
    for name, tensors in (("x", "ab"), ("y", "bc"), ("z", "ca")):
        tfckpt.save({tensor: np.zeros(1) for tensor in tensors}, tmp_path / name)
    sources = [tmp_path / name for name in "xyz"]

    with pytest.raises(tfckpt.NameConflictError) as caught:
        tfckpt.merge(sources, tmp_path / "all")

    x, y, z = map(str, sources)
    assert caught.value.conflicts == {"a": (x, z), "b": (x, y), "c": (y, z)}
    assert not list(tmp_path.glob("all*"))


def test_merge_joins_the_slices_of_one_variable(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several machines may save one part each; if a part is missing, nothing is written."""
    whole = np.arange(8, dtype=np.float32).reshape(4, 2)
    with monkeypatch.context() as patch:
        patch.setattr(
            "tfckpt.bundle.writer.check_cover", lambda slices, shape: None
        )  # so that each part can be incomplete
        for number, text in enumerate(["0,2:-", "2,2:-"]):
            with tfckpt.Writer(tmp_path / f"part-{number}") as writer:
                writer.add_slice("w", whole[2 * number :][:2], whole.shape, text)
                writer.add(f"own/{number}", np.int32(number))

    with pytest.raises(ValueError, match="'w'"):
        tfckpt.merge([tmp_path / "part-0"], tmp_path / "all")
    with pytest.raises(tfckpt.NameConflictError) as caught:
        tfckpt.merge([tmp_path / "part-0", _save_tensor(tmp_path, "w")], tmp_path / "all")
    assert list(caught.value.conflicts) == ["w"]
    assert not list(tmp_path.glob("all*"))
    tfckpt.merge([tmp_path / "part-0", tmp_path / "part-1"], tmp_path / "all")

    assert contents(tmp_path / "all") == {"own/0": 0, "own/1": 1, "w": whole.tolist()}


def _save_tensor(folder: pathlib.Path, name: str) -> pathlib.Path:
    """Write a checkpoint with one tensor, and return its prefix."""
    tfckpt.save({name: np.zeros(1)}, folder / f"of_{name}")
    return folder / f"of_{name}"


def test_replace_changes_values_in_place(small: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Other tensors keep their bytes and offsets."""
    report = tfckpt.replace(small, {"net/w": np.array([10, 20], np.float32)}, tmp_path / "a")

    assert contents(tmp_path / "a") == contents(small) | {"net/w": [10.0, 20.0]}
    assert report.converted == ("net/w",)
    with tfckpt.open(small) as before, tfckpt.open(tmp_path / "a") as after:
        assert [info.offset for info in before.infos()] == [info.offset for info in after.infos()]


def test_replace_requires_the_same_dtype_and_shape(small: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Unless changes are allowed; new names are then allowed as well."""
    with pytest.raises(ValueError, match="'net/w'"):
        tfckpt.replace(small, {"net/w": np.zeros(2)}, tmp_path / "a")
    with pytest.raises(ValueError, match="'net/w'"):
        tfckpt.replace(small, {"net/w": np.zeros(3, np.float32)}, tmp_path / "a")
    with pytest.raises(tfckpt.TensorNotFoundError) as caught:
        tfckpt.replace(small, {"net/ww": np.zeros(2)}, tmp_path / "a")
    assert caught.value.tensor == "net/ww"
    assert not list(tmp_path.glob("a.*"))

    tfckpt.replace(small, {"net/w": np.zeros(3), "net/ww": np.int8(1)}, tmp_path / "a", allow_change=True)

    assert contents(tmp_path / "a") == contents(small) | {"net/w": [0.0, 0.0, 0.0], "net/ww": 1}


def test_replace_keeps_quantized_types_and_accepts_object_paths(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A quantized tensor can be replaced by an integer array, and a key given as a path or a full name."""
    dtypes, objects = data / "tensorflow" / "dtypes" / "ckpt", data / "tensorflow" / "writer" / "objects"
    with tfckpt.open(dtypes) as checkpoint:
        name = next(info.name for info in checkpoint.infos() if info.tf_dtype == "DT_QINT8" and info.size > 1)
        value = checkpoint[name] + np.int8(1)

    tfckpt.replace(dtypes, {name: value}, tmp_path / "a")
    tfckpt.replace(objects, {"step": np.int64(77)}, tmp_path / "b")

    with tfckpt.open(tmp_path / "a") as checkpoint:
        assert checkpoint.info(name).tf_dtype == "DT_QINT8"
        assert np.array_equal(checkpoint[name], value)
    with tfckpt.open(tmp_path / "b") as checkpoint:
        assert checkpoint["step" + VALUE_SUFFIX] == 77
    with pytest.raises(ValueError, match="'step"):
        tfckpt.replace(objects, {"step": np.int64(1), "step" + VALUE_SUFFIX: np.int64(2)}, tmp_path / "c")


def test_state_file_is_written_on_request(small: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """By default a copy does not become the latest checkpoint of a folder."""
    tfckpt.copy(small, tmp_path / "a")
    assert not (tmp_path / "checkpoint").exists()

    tfckpt.copy(small, tmp_path / "b", checkpoint_state=True)
    assert tfckpt.latest_checkpoint(tmp_path) == str(tmp_path / "b")


def test_progress_counts_bytes(small: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """It is called after each payload with the bytes done and the total."""
    seen: list[tuple[int, int]] = []

    report = tfckpt.copy(small, tmp_path / "a", progress=lambda done, total: seen.append((done, total)))

    assert [done for done, _ in seen] == [8, 16, 24, 32, 40]
    assert {total for _, total in seen} == {40} == {report.nbytes}


def test_merging_nothing_is_refused(tmp_path: pathlib.Path) -> None:
    """One source is enough."""
    with pytest.raises(ValueError):
        tfckpt.merge([], tmp_path / "a")

    tfckpt.merge([_save_tensor(tmp_path, "w")], tmp_path / "a")
