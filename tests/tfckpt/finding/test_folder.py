"""The state file, the latest checkpoint, and the list of a folder's checkpoints."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import google.protobuf
import pytest

import tfckpt
from tests.builders import INT32, Bundle
from tests.contracts.places import tar_of, write_folder, zip_of
from tests.tfckpt.recorded import TENSORFLOW, Record, expected
from tests.tfckpt.v1.v1_files import V1File
from tfckpt.errors import CorruptionError, LimitExceededError
from tfckpt.finding.state_file import read_state
from tfckpt.limits import Limits
from tfckpt.storage.local import LocalStorage

TABLE = expected("statefile")
CASES: dict[str, Record] = {case["name"]: case for case in TABLE["cases"]}

#: State files that do not parse. TensorFlow warns and returns None; here they raise an error.
UNPARSED = {
    "octal_not_utf8",
    "number_hexadecimal",
    "number_octal",
    "number_spaced_minus",
    "number_is_string",
    "string_is_number",
    "string_is_bare",
    "field_number",
    "unknown_field",
    "no_colon",
    "unterminated",
    "newline_in_string",
    "json",
    "braces",
    "two_commas",
    "comma_first",
    "extension",
}
#: Results that differ from TensorFlow's, because a path is not a pattern and because the folder may have been moved.
DIFFERENT = {
    "backslash": "folder/back\\slash-1",
    "brackets": "folder/run[1]-1",
    "glob": None,
    "with_index_ending": None,
    "absolute_gone": "folder/ckpt-1",
    "address": "folder/ckpt-1",
    "byte_order_mark": "folder/ckpt-1",
}


STATE = b'model_checkpoint_path: "model-7"\n'
#: The magic number and version of an AppleDouble file, which contains the attributes of another file.
APPLE_DOUBLE = bytes.fromhex("00051607 00020000")

#: For an invalid escape, such as backslash q, protobuf causes a warning of Python.
pytestmark = pytest.mark.filterwarnings("ignore:.*invalid escape sequence:DeprecationWarning")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that contains the folder of the recorded table, with its checkpoints but no state file."""
    above = tmp_path_factory.mktemp("statefile")
    folder = above / TABLE["folder"]
    (folder / "sub").mkdir(parents=True)
    for prefix in TABLE["v2_prefixes"]:
        Bundle().add("w", INT32, [], bytes(4)).write(folder, prefix)
    for name in TABLE["v1_files"]:
        V1File().add(b"w", INT32, [], [0]).write(folder / name)
    return above


@pytest.fixture
def folder(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the recorded table, relative to the working directory; state files are removed after each test."""
    monkeypatch.chdir(checkpoints)
    folder = Path(TABLE["folder"])
    yield folder
    for name in ("checkpoint", "other"):
        (folder / name).unlink(missing_ok=True)


def write_state(folder: Path, text: str) -> None:
    """Write a state file with the folder's absolute path filled in; bytes that are not UTF-8 are kept."""
    text = text.replace("{folder}", os.path.abspath(folder))
    (folder / "checkpoint").write_bytes(text.encode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("name", [name for name in CASES if name not in UNPARSED])
def test_latest_checkpoint_agrees_with_tensorflow(folder: Path, name: str) -> None:
    """Every recorded state file that parses has TensorFlow's result, except for the differences listed above."""
    case = CASES[name]
    wanted: Any = DIFFERENT.get(name, case["latest_checkpoint"])
    write_state(folder, case["text"])

    if isinstance(wanted, dict):
        with pytest.raises(CorruptionError) as caught:
            tfckpt.latest_checkpoint(folder)
        assert caught.value.path == os.path.join("folder", "checkpoint")
    else:
        latest = tfckpt.latest_checkpoint(folder)
        assert latest == (wanted and wanted.replace("{folder}", os.path.abspath(folder)))


@pytest.mark.parametrize("name", sorted(UNPARSED))
def test_state_file_that_does_not_parse_is_corrupt(folder: Path, name: str) -> None:
    """TensorFlow treats it as missing; a training run would then start from scratch."""
    if name == "number_octal" and int(google.protobuf.__version__.split(".")[0]) < 6:
        pytest.skip("protobuf before 6 reads octal numbers in text")
    assert CASES[name]["latest_checkpoint"] is None
    write_state(folder, CASES[name]["text"])

    with pytest.raises(CorruptionError) as caught:
        tfckpt.latest_checkpoint(folder)
    assert caught.value.path == os.path.join("folder", "checkpoint")


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if "model_checkpoint_path" in (case["get_checkpoint_state"] or ())]
)
def test_state_agrees_with_tensorflow(folder: Path, name: str) -> None:
    """Paths and timestamps are as TensorFlow reads them, before it joins them to the folder."""
    wanted = CASES[name]["get_checkpoint_state"]
    write_state(folder, CASES[name]["text"])

    state = read_state(LocalStorage(), str(folder))

    assert state is not None
    absolute = os.path.abspath(folder)
    join = [os.path.join("folder", path) for path in state.all_model_checkpoint_paths]
    assert join == [path.replace("{folder}", absolute) for path in wanted["all_model_checkpoint_paths"]]
    assert [str(time) for time in state.all_model_checkpoint_timestamps] == wanted["all_model_checkpoint_timestamps"]
    assert str(state.last_preserved_timestamp) == wanted["last_preserved_timestamp"]


def test_latest_checkpoint_without_a_state_file_is_none(folder: Path) -> None:
    """As in TensorFlow, for a folder without a state file, a missing folder, a file, and an empty name."""
    others = TABLE["others"]

    assert tfckpt.latest_checkpoint(folder) is others["no_state_file"]["latest_checkpoint"] is None
    assert tfckpt.latest_checkpoint("missing") is others["no_folder"]["latest_checkpoint"] is None
    assert tfckpt.latest_checkpoint(folder / "old-5") is others["a_file"]["latest_checkpoint"] is None
    assert tfckpt.latest_checkpoint("") is others["empty_name"]["latest_checkpoint"] is None


def test_latest_checkpoint_accepts_another_name_of_the_state_file(folder: Path) -> None:
    """The TF1 Saver allows that; the folder may end in a slash."""
    write_state(folder, 'model_checkpoint_path: "ckpt-1"')
    (folder / "other").write_text('model_checkpoint_path: "ckpt-2"')

    assert tfckpt.latest_checkpoint(folder, "other") == "folder/ckpt-2"
    assert tfckpt.latest_checkpoint("folder/", None) == "folder/ckpt-1"


def test_size_of_the_state_file_has_a_limit(folder: Path) -> None:
    """It is read whole."""
    write_state(folder, 'model_checkpoint_path: "ckpt-1"')
    size = (folder / "checkpoint").stat().st_size

    assert tfckpt.latest_checkpoint(folder, limits=Limits(max_state_bytes=size)) == "folder/ckpt-1"
    with pytest.raises(LimitExceededError) as caught:
        tfckpt.latest_checkpoint(folder, limits=Limits(max_state_bytes=size - 1))
    assert (caught.value.limit, caught.value.claimed) == ("max_state_bytes", size)


def test_checkpoints_of_a_manager_are_listed() -> None:
    """They are in order from the oldest to the newest, with the recorded times."""
    known = tfckpt.checkpoints(TENSORFLOW / "manager" / "relative")

    assert [os.path.basename(checkpoint.prefix) for checkpoint in known] == ["ckpt-3", "ckpt-4", "ckpt-5"]
    assert [checkpoint.timestamp for checkpoint in known] == [1600000300.75, 1600000401.0, 1600000501.25]
    assert [checkpoint.is_latest for checkpoint in known] == [False, False, True]
    assert all(checkpoint.exists and checkpoint.in_state_file and checkpoint.notes == () for checkpoint in known)


def test_checkpoints_of_a_moved_folder_are_found_next_to_the_state_file() -> None:
    """A note has the path in the state file."""
    known = tfckpt.checkpoints(TENSORFLOW / "manager" / "absolute")

    assert [checkpoint.prefix for checkpoint in known] == [
        str(TENSORFLOW / "manager" / "absolute" / f"model.ckpt-{number}") for number in (20, 30)
    ]
    assert all(checkpoint.exists for checkpoint in known)
    assert "/tmp/tensorflow-checkpoints/absolute/model.ckpt-20" in known[0].notes[0]


def test_checkpoints_missing_from_the_state_file_come_first(tmp_path: Path) -> None:
    """They are sorted by name with numbers as numbers, V1 files and shards included; deleted ones are marked."""
    for prefix in ("m-9", "m-10", "m-30"):
        Bundle().add("w", INT32, [], bytes(4)).write(tmp_path, prefix)
    V1File().write(tmp_path / "m-2")
    V1File().write(tmp_path / "m-11-00000-of-00001")
    (tmp_path / "checkpoint").write_text(
        'all_model_checkpoint_paths: "m-20" all_model_checkpoint_paths: "./m-30" model_checkpoint_path: "m-10"'
    )

    known = tfckpt.checkpoints(tmp_path)

    assert [
        (
            os.path.relpath(checkpoint.prefix, tmp_path),
            checkpoint.exists,
            checkpoint.is_latest,
            checkpoint.in_state_file,
        )
        for checkpoint in known
    ] == [
        ("m-2", True, False, False),
        ("m-9", True, False, False),
        ("m-11-?????-of-00001", True, False, False),
        ("m-20", False, False, True),
        ("m-30", True, False, True),
        ("m-10", True, True, True),
    ]


def test_empty_folder_has_no_checkpoints(tmp_path: Path) -> None:
    """This is not an error."""
    assert tfckpt.checkpoints(tmp_path) == []
    assert tfckpt.checkpoints(tmp_path / "missing") == []


def test_timestamps_are_ignored_if_their_number_differs(tmp_path: Path) -> None:
    """It is not known which belongs to which path."""
    shutil.copytree(TENSORFLOW / "manager" / "relative", tmp_path / "f")
    text = (tmp_path / "f" / "checkpoint").read_text()
    (tmp_path / "f" / "checkpoint").write_text(text + "all_model_checkpoint_timestamps: 1.0\n")

    assert [checkpoint.timestamp for checkpoint in tfckpt.checkpoints(tmp_path / "f")] == [None, None, None]


def test_checkpoints_of_an_archive_are_those_of_its_only_folder(tmp_path: Path) -> None:
    """The listed prefixes can be opened."""
    archive = shutil.make_archive(
        str(tmp_path / "weights"), "gztar", root_dir=TENSORFLOW / "manager", base_dir="relative"
    )

    latest = tfckpt.latest_checkpoint(archive)
    known = tfckpt.checkpoints(archive)

    assert latest is not None
    assert latest == known[-1].prefix
    assert [os.path.basename(checkpoint.prefix) for checkpoint in known] == ["ckpt-3", "ckpt-4", "ckpt-5"]
    with tfckpt.open(latest) as checkpoint:
        assert checkpoint["step"] == 5


def checkpoint_files(folder: Path) -> dict[str, bytes]:
    """Write one checkpoint in a new folder; return its files and a state file that names it."""
    folder.mkdir()
    Bundle().add("w", INT32, [], bytes(4)).write(folder, "model-7")
    return {**{path.name: path.read_bytes() for path in folder.iterdir()}, "checkpoint": STATE}


def add_clutter(files: dict[str, bytes], under: str, kind: str) -> dict[str, bytes]:
    """Return the files in folders, with those that macOS adds: attributes in a separate tree, or next to each file."""
    plain = {f"{under}{name}": data for name, data in files.items()}
    if kind == "none":
        return plain
    above = [under[: at + 1] for at, letter in enumerate(under) if letter == "/"]
    store = {f"{folder}.DS_Store": b"\0\0\0\1Bud1" for folder in ["", *above]}
    if kind == "finder":
        attributes = {f"__MACOSX/{under}._{name}": APPLE_DOUBLE for name in files}
        return {**plain, **attributes, **{f"__MACOSX/{name}": APPLE_DOUBLE for name in store}, **store}
    attributes = {f"{under}._{name}": APPLE_DOUBLE for name in files}
    for folder in above:
        parent, _, name = folder.rstrip("/").rpartition("/")
        attributes[f"{parent}/._{name}" if parent else f"._{name}"] = APPLE_DOUBLE
    return {**attributes, **plain, **store}


@pytest.mark.parametrize("with_state", [True, False], ids=["state file", "no state file"])
@pytest.mark.parametrize("kind", ["none", "finder", "tar of macOS"])
@pytest.mark.parametrize("under", ["", "run/", "weights/run/"], ids=["at the root", "one folder", "nested folders"])
@pytest.mark.parametrize("pack", [zip_of, tar_of], ids=["zip", "tar"])
def test_files_that_macos_adds_to_an_archive_are_ignored(
    tmp_path: Path, pack: Callable[[dict[str, bytes]], bytes], under: str, kind: str, with_state: bool
) -> None:
    """Opening, the latest checkpoint and the list are the same with and without them."""
    files = checkpoint_files(tmp_path / "files")
    if not with_state:
        del files["checkpoint"]
    archive = tmp_path / "weights"
    archive.write_bytes(pack(add_clutter(files, under, kind)))
    prefix = f"{archive}!{under}model-7"

    with tfckpt.open(archive) as checkpoint:
        assert checkpoint.prefix == prefix
    assert tfckpt.latest_checkpoint(archive) == (prefix if with_state else None)
    known = tfckpt.checkpoints(archive)
    assert [(checkpoint.prefix, checkpoint.exists, checkpoint.is_latest) for checkpoint in known] == [
        (prefix, True, with_state)
    ]


def test_files_that_macos_adds_to_a_folder_are_ignored(tmp_path: Path) -> None:
    """macOS also adds them to folders; a checkpoint whose own name starts with `._` is still checkpoint."""
    write_folder(tmp_path / "cluttered", add_clutter(checkpoint_files(tmp_path / "files"), "", "tar of macOS"))
    (tmp_path / "named").mkdir()
    Bundle().add("w", INT32, [], bytes(4)).write(tmp_path / "named", "._model-7")

    assert [checkpoint.prefix for checkpoint in tfckpt.checkpoints(tmp_path / "cluttered")] == [
        str(tmp_path / "cluttered/model-7")
    ]
    assert [checkpoint.prefix for checkpoint in tfckpt.checkpoints(tmp_path / "named")] == [
        str(tmp_path / "named/._model-7")
    ]
