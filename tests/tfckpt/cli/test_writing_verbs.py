"""Test that `tfckpt cp`, `merge` and `set` write new checkpoints, and `export` other files."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

import tfckpt
from tests.tfckpt.bundle.test_writer import assert_same_files
from tfckpt.cli import main


@pytest.fixture
def train(data: pathlib.Path) -> str:
    """The training checkpoint of the digits network."""
    return str(data / "digits-train" / "model.ckpt-322")


@pytest.fixture
def pair(tmp_path: pathlib.Path) -> str:
    """A checkpoint of two tensors."""
    tfckpt.save({"a": np.array([1, 2], np.float32), "b": np.int64(3)}, tmp_path / "pair", checkpoint_state=False)
    return str(tmp_path / "pair")


def test_cp_copies_a_checkpoint(train: str, tmp_path: pathlib.Path) -> None:
    """Without options the files are identical."""
    assert main(["cp", train, str(tmp_path / "copy")]) == 0

    assert_same_files(pathlib.Path(train), tmp_path / "copy")


def test_cp_keeps_only_the_averaged_weights(train: str, tmp_path: pathlib.Path) -> None:
    """The worked example in docs/writing.md gives each variable the value of its average."""
    code = main(["cp", train, str(tmp_path / "averaged"), "--ema-to-raw", "--no-optimizer", "--exclude", "global_step"])

    assert code == 0
    with tfckpt.open(train) as source, tfckpt.open(tmp_path / "averaged") as averaged:
        assert len(averaged) == 113
        assert all(np.array_equal(averaged[name], source[f"{name}/ExponentialMovingAverage"]) for name in averaged)


def test_cp_combines_its_options(pair: str, tmp_path: pathlib.Path) -> None:
    """Names, dtype, shards and the state file change in one command."""
    options = ["--include", "?", "--exclude", "c", "--rename", "^a$=x/a", "--rename", "(?=b)=y/", "--dtype", "float16"]

    assert main(["cp", pair, str(tmp_path / "new"), *options, "--shards", "2", "--state", "new"]) == 0

    with tfckpt.open(tmp_path) as checkpoint:
        assert {name: array.tolist() for name, array in checkpoint.items()} == {"x/a": [1.0, 2.0], "y/b": 3}
        assert checkpoint["x/a"].dtype == np.float16
        assert len(checkpoint.files) == 3


def test_cp_overwrites_only_with_force(pair: str) -> None:
    """An existing checkpoint is wrong usage, not damage."""
    assert main(["cp", pair, pair]) == 2
    assert main(["cp", pair, pair, "--force"]) == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--rename", "(=x"], 2),
        (["--include", "zzz"], 2),
        (["--dtype", "int8"], 2),
        (["--shards", "0"], 2),
        (["--ema-to-raw"], 2),
        (["--rename", ".=x"], 1),
    ],
    ids=["regex", "include", "dtype", "shards", "averages", "conflict"],
)
def test_cp_rejects_impossible_requests(
    arguments: list[str], code: int, pair: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is one line on standard error, and nothing is written."""
    assert main(["cp", pair, str(tmp_path / "new"), *arguments]) == code

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("tfckpt: ")
    assert err.count("\n") == 1
    assert not list(tmp_path.glob("new*"))


@pytest.mark.parametrize("text", ["x", "=x"], ids=["no equals sign", "no pattern"])
def test_rename_needs_a_pattern_and_a_replacement(text: str, pair: str) -> None:
    """The replacement may be empty."""
    with pytest.raises(SystemExit) as caught:
        main(["cp", pair, pair + "-2", "--rename", text])
    assert caught.value.code == 2

    assert main(["cp", pair, pair + "-2", "--rename", "(?=a)="]) == 0


def test_cp_needs_a_prefix_as_its_target(pair: str, tmp_path: pathlib.Path) -> None:
    """A folder is not a prefix; a name in the folder is one."""
    (tmp_path / "folder").mkdir()

    assert main(["cp", pair, str(tmp_path / "folder")]) == 2
    assert main(["cp", pair, str(tmp_path / "folder" / "model.ckpt")]) == 0


def test_cp_says_that_the_source_was_moved(
    pair: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The state file names a folder that does not exist any more."""
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/gone/pair"\n')

    assert main(["cp", str(tmp_path), str(tmp_path / "new")]) == 0

    assert "/gone/pair" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["cp", "PAIR", "OUT/ckpt"],
        ["merge", "PAIR", "OUT/ckpt"],
        ["set", "PAIR", "a=NEW", "-o", "OUT/ckpt"],
        ["export", "PAIR", "-o", "OUT/x.safetensors"],
        ["export", "PAIR", "-o", "OUT/x.safetensors", "--shard-size", "1KB"],
        ["export", "PAIR", "-o", "OUT/x.npz"],
        ["export", "PAIR", "-o", "OUT/folder/"],
    ],
    ids=["cp", "merge", "set", "safetensors", "shards", "npz", "folder"],
)
def test_output_in_a_missing_folder_exits_with_2(command: list[str], pair: str, tmp_path: pathlib.Path) -> None:
    """The command does not create the folder; it writes into an existing one."""
    np.save(tmp_path / "a.npy", tfckpt.open(pair)["a"])
    out = tmp_path / "out"
    words = [
        word.replace("PAIR", pair).replace("NEW", str(tmp_path / "a.npy")).replace("OUT", str(out)) for word in command
    ]

    assert main(words) == 2
    assert not out.exists()

    out.mkdir()
    assert main(words) == 0


def test_cp_needs_to_v2_for_a_v1_checkpoint(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Without the option, the exit code is 5."""
    source = str(data / "tensorflow" / "partitioned" / "v1" / "model.ckpt-12")

    assert main(["cp", source, str(tmp_path / "new")]) == 5
    assert main(["cp", source, str(tmp_path / "new"), "--to-v2"]) == 0


def test_merge_with_conflicts_exits_with_1(pair: str, tmp_path: pathlib.Path) -> None:
    """Nothing is written; without conflicts one checkpoint is."""
    tfckpt.save({"b": np.int64(3), "c": np.int64(4)}, tmp_path / "other", checkpoint_state=False)

    assert main(["merge", pair, str(tmp_path / "other"), str(tmp_path / "both")]) == 1
    assert not list(tmp_path.glob("both*"))

    assert main(["cp", str(tmp_path / "other"), str(tmp_path / "c"), "--include", "c"]) == 0
    assert main(["merge", pair, str(tmp_path / "c"), str(tmp_path / "both"), "--shards", "2"]) == 0
    with tfckpt.open(tmp_path / "both") as checkpoint:
        assert list(checkpoint) == ["a", "b", "c"]


def test_set_replaces_a_tensor(pair: str, tmp_path: pathlib.Path) -> None:
    """The new value is the array in a .npy file."""
    np.save(tmp_path / "a.npy", np.array([7, 8], np.float32))

    code = main(["set", pair, f"a={tmp_path / 'a.npy'}", "-o", str(tmp_path / "new")])

    assert code == 0
    with tfckpt.open(tmp_path / "new") as checkpoint:
        assert checkpoint["a"].tolist() == [7, 8]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("a=none.npy", 3),
        ("a=text.npy", 4),
        ("a=pickled.npy", 4),
        ("a=several.npz", 4),
        ("z=right.npy", 3),
        ("a=long.npy", 2),
    ],
    ids=["missing file", "text", "pickle", "npz", "unknown name", "shape"],
)
def test_set_rejects_unsuitable_files(value: str, code: int, pair: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is unpickled and nothing is written; an array of the same dtype and shape is accepted."""
    monkeypatch.chdir(pathlib.Path(pair).parent)
    pathlib.Path("text.npy").write_text("text")
    np.save("pickled.npy", np.array([{}], object), allow_pickle=True)
    np.savez("several.npz", a=np.zeros(2))
    np.save("right.npy", np.zeros(2, np.float32))
    np.save("long.npy", np.zeros(3, np.float32))

    assert main(["set", pair, value, "-o", "new"]) == code
    assert not list(pathlib.Path().glob("new*"))

    assert main(["set", pair, "a=right.npy", "-o", "new"]) == 0


def test_set_changes_dtype_and_shape_with_allow_change(
    pair: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It also adds names; two values for one name are still an error."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.zeros(3, np.int8))

    assert main(["set", pair, "a=x.npy", "z=x.npy", "-o", "new", "--allow-change"]) == 0
    with tfckpt.open("new") as checkpoint:
        assert [info.tf_dtype for info in checkpoint.infos()] == ["DT_INT8", "DT_INT64", "DT_INT8"]

    assert main(["set", pair, "a=x.npy", "a=x.npy", "-o", "newer", "--allow-change"]) == 2
