"""The state file, the latest checkpoint and the list of a folder's checkpoints."""

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

#: Where TensorFlow warns of a state file that it cannot parse and gives None, this is an error.
UNPARSED = {
    "octal_not_utf8",
    "byte_order_mark",
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
#: What a path means where it is no pattern, and where the folder was moved.
DIFFERENT = {
    "backslash": "folder/back\\slash-1",
    "brackets": "folder/run[1]-1",
    "glob": None,
    "with_index_ending": None,
    "absolute_gone": "folder/ckpt-1",
    "address": "folder/ckpt-1",
}


STATE = b'model_checkpoint_path: "model-7"\n'
#: The magic number that attributes of a file begin with, and the version.
APPLE_DOUBLE = bytes.fromhex("00051607 00020000")

#: protobuf decodes an escape that is none, such as backslash q, with a warning of Python's.
pytestmark = pytest.mark.filterwarnings("ignore:.*invalid escape sequence:DeprecationWarning")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the folder of the recorded table, with its checkpoints and no state file."""
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
    """The folder of the recorded table, in the working directory; state files are taken away after each test."""
    monkeypatch.chdir(checkpoints)
    folder = Path(TABLE["folder"])
    yield folder
    for name in ("checkpoint", "other"):
        (folder / name).unlink(missing_ok=True)


def write_state(folder: Path, text: str) -> None:
    """The state file, with the folder's absolute path in its place and stray bytes as they were."""
    text = text.replace("{folder}", os.path.abspath(folder))
    (folder / "checkpoint").write_bytes(text.encode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("name", [name for name in CASES if name not in UNPARSED])
def test_latest_checkpoint_is_tensorflows(folder: Path, name: str) -> None:
    """Every recorded state file that parses gives what TensorFlow gives, but for the differences listed above."""
    case = CASES[name]
    wanted: Any = DIFFERENT.get(name, case["latest_checkpoint"])
    write_state(folder, case["text"])

    if isinstance(wanted, dict):
        with pytest.raises(ValueError, match="state file"):
            tfckpt.latest_checkpoint(folder)
    else:
        found = tfckpt.latest_checkpoint(folder)
        assert found == (wanted and wanted.replace("{folder}", os.path.abspath(folder)))


@pytest.mark.parametrize("name", sorted(UNPARSED))
def test_state_file_that_does_not_parse_is_corrupt(folder: Path, name: str) -> None:
    """TensorFlow takes it for none; taken so, a training run would start from nothing."""
    if name == "number_octal" and int(google.protobuf.__version__.split(".")[0]) < 6:
        pytest.skip("protobuf before 6 reads octal numbers in text")
    assert CASES[name]["latest_checkpoint"] is None
    write_state(folder, CASES[name]["text"])

    with pytest.raises(CorruptionError, match="does not parse") as caught:
        tfckpt.latest_checkpoint(folder)
    assert caught.value.path == os.path.join("folder", "checkpoint")


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if "model_checkpoint_path" in (case["get_checkpoint_state"] or ())]
)
def test_state_is_tensorflows(folder: Path, name: str) -> None:
    """Paths and timestamps as TensorFlow reads them, before it joins them to the folder."""
    wanted = CASES[name]["get_checkpoint_state"]
    write_state(folder, CASES[name]["text"])

    state = read_state(LocalStorage(), str(folder))

    assert state is not None
    absolute = os.path.abspath(folder)
    join = [os.path.join("folder", path) for path in state.all_model_checkpoint_paths]
    assert join == [path.replace("{folder}", absolute) for path in wanted["all_model_checkpoint_paths"]]
    assert [str(time) for time in state.all_model_checkpoint_timestamps] == wanted["all_model_checkpoint_timestamps"]
    assert str(state.last_preserved_timestamp) == wanted["last_preserved_timestamp"]


def test_latest_checkpoint_of_no_state_file_is_none(folder: Path) -> None:
    """No state file, no folder, a file instead of a folder: TensorFlow's answers."""
    others = TABLE["others"]

    assert tfckpt.latest_checkpoint(folder) is others["no_state_file"]["latest_checkpoint"] is None
    assert tfckpt.latest_checkpoint("missing") is others["no_folder"]["latest_checkpoint"] is None
    assert tfckpt.latest_checkpoint(folder / "old-5") is others["a_file"]["latest_checkpoint"] is None
    assert tfckpt.latest_checkpoint("") is others["empty_name"]["latest_checkpoint"] is None


def test_latest_checkpoint_takes_another_state_files_name(folder: Path) -> None:
    """As the TF1 Saver does; and the folder may be given with a slash at its end."""
    write_state(folder, 'model_checkpoint_path: "ckpt-1"')
    (folder / "other").write_text('model_checkpoint_path: "ckpt-2"')

    assert tfckpt.latest_checkpoint(folder, "other") == "folder/ckpt-2"
    assert tfckpt.latest_checkpoint("folder/", None) == "folder/ckpt-1"


def test_state_file_is_limited(folder: Path) -> None:
    """It is read whole."""
    write_state(folder, 'model_checkpoint_path: "ckpt-1"')
    size = (folder / "checkpoint").stat().st_size

    assert tfckpt.latest_checkpoint(folder, limits=Limits(max_state_bytes=size)) == "folder/ckpt-1"
    with pytest.raises(LimitExceededError, match="max_state_bytes"):
        tfckpt.latest_checkpoint(folder, limits=Limits(max_state_bytes=size - 1))


def test_checkpoints_lists_what_a_manager_kept() -> None:
    """From the oldest to the newest, with the times that were recorded."""
    found = tfckpt.checkpoints(TENSORFLOW / "manager" / "relative")

    assert [os.path.basename(one.prefix) for one in found] == ["ckpt-3", "ckpt-4", "ckpt-5"]
    assert [one.timestamp for one in found] == [1600000300.75, 1600000401.0, 1600000501.25]
    assert [one.is_latest for one in found] == [False, False, True]
    assert all(one.exists and one.in_state_file and one.notes == () for one in found)


def test_checkpoints_of_a_moved_folder_are_found_beside_the_state_file() -> None:
    """Each says where it should have been."""
    found = tfckpt.checkpoints(TENSORFLOW / "manager" / "absolute")

    assert [one.prefix for one in found] == [
        str(TENSORFLOW / "manager" / "absolute" / f"model.ckpt-{number}") for number in (20, 30)
    ]
    assert all(one.exists for one in found)
    assert "/tmp/tensorflow-checkpoints/absolute/model.ckpt-20" in found[0].notes[0]


def test_checkpoints_that_the_state_file_leaves_out_come_first(tmp_path: Path) -> None:
    """By name with numbers as numbers; V1 files and shards are checkpoints too; what is gone is listed as that."""
    for prefix in ("m-9", "m-10", "m-30"):
        Bundle().add("w", INT32, [], bytes(4)).write(tmp_path, prefix)
    V1File().write(tmp_path / "m-2")
    V1File().write(tmp_path / "m-11-00000-of-00001")
    (tmp_path / "checkpoint").write_text(
        'all_model_checkpoint_paths: "m-20" all_model_checkpoint_paths: "./m-30" model_checkpoint_path: "m-10"'
    )

    found = tfckpt.checkpoints(tmp_path)

    assert [(os.path.relpath(one.prefix, tmp_path), one.exists, one.is_latest, one.in_state_file) for one in found] == [
        ("m-2", True, False, False),
        ("m-9", True, False, False),
        ("m-11-?????-of-00001", True, False, False),
        ("m-20", False, False, True),
        ("m-30", True, False, True),
        ("m-10", True, True, True),
    ]


def test_checkpoints_of_an_empty_folder_are_none(tmp_path: Path) -> None:
    """Nothing is there, and nothing is wrong with that."""
    assert tfckpt.checkpoints(tmp_path) == []
    assert tfckpt.checkpoints(tmp_path / "missing") == []


def test_timestamps_that_do_not_count_with_the_paths_are_left_out(tmp_path: Path) -> None:
    """Which belongs to which is not known then."""
    shutil.copytree(TENSORFLOW / "manager" / "relative", tmp_path / "f")
    text = (tmp_path / "f" / "checkpoint").read_text()
    (tmp_path / "f" / "checkpoint").write_text(text + "all_model_checkpoint_timestamps: 1.0\n")

    assert [one.timestamp for one in tfckpt.checkpoints(tmp_path / "f")] == [None, None, None]


def test_checkpoints_of_an_archive_are_those_of_its_one_folder(tmp_path: Path) -> None:
    """What is listed opens as it is."""
    archive = shutil.make_archive(
        str(tmp_path / "weights"), "gztar", root_dir=TENSORFLOW / "manager", base_dir="relative"
    )

    latest = tfckpt.latest_checkpoint(archive)
    found = tfckpt.checkpoints(archive)

    assert latest is not None
    assert latest == found[-1].prefix
    assert [os.path.basename(one.prefix) for one in found] == ["ckpt-3", "ckpt-4", "ckpt-5"]
    with tfckpt.open(latest) as checkpoint:
        assert checkpoint["step"] == 5


def checkpoint_files(folder: Path) -> dict[str, bytes]:
    """One checkpoint, written in a folder of its own, and the state file that names it."""
    folder.mkdir()
    Bundle().add("w", INT32, [], bytes(4)).write(folder, "model-7")
    return {**{path.name: path.read_bytes() for path in folder.iterdir()}, "checkpoint": STATE}


def with_clutter(files: dict[str, bytes], under: str, kind: str) -> dict[str, bytes]:
    """The files below folders, with what macOS adds: attributes in a tree of their own, or next to each file."""
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
def test_files_that_macos_adds_to_an_archive_are_passed_over(
    tmp_path: Path, pack: Callable[[dict[str, bytes]], bytes], under: str, kind: str, with_state: bool
) -> None:
    """Opening, the latest checkpoint and the list find the same checkpoint with and without them."""
    files = checkpoint_files(tmp_path / "files")
    if not with_state:
        del files["checkpoint"]
    archive = tmp_path / "weights"
    archive.write_bytes(pack(with_clutter(files, under, kind)))
    prefix = f"{archive}!{under}model-7"

    with tfckpt.open(archive) as checkpoint:
        assert checkpoint.prefix == prefix
    assert tfckpt.latest_checkpoint(archive) == (prefix if with_state else None)
    known = tfckpt.checkpoints(archive)
    assert [(one.prefix, one.exists, one.is_latest) for one in known] == [(prefix, True, with_state)]


def test_files_that_macos_adds_to_a_folder_are_passed_over(tmp_path: Path) -> None:
    """A folder on a disk that macOS wrote has them too; a checkpoint whose own name begins so is one."""
    write_folder(tmp_path / "cluttered", with_clutter(checkpoint_files(tmp_path / "files"), "", "tar of macOS"))
    (tmp_path / "named").mkdir()
    Bundle().add("w", INT32, [], bytes(4)).write(tmp_path / "named", "._model-7")

    assert [one.prefix for one in tfckpt.checkpoints(tmp_path / "cluttered")] == [str(tmp_path / "cluttered/model-7")]
    assert [one.prefix for one in tfckpt.checkpoints(tmp_path / "named")] == [str(tmp_path / "named/._model-7")]
