"""`tf.io.gfile` of the stand-in: files and patterns by TensorFlow's rules."""

from __future__ import annotations

import pathlib

import pytest

from tfckpt.tensorflow_stub import gfile
from tfckpt.train import errors


def test_text_is_utf8_without_translated_line_ends(tmp_path: pathlib.Path) -> None:
    """Read whole it is as it stands; lines lose their carriage returns."""
    path = tmp_path / "text"
    path.write_bytes("aö\r\nb\rc".encode())

    assert gfile.GFile(path).read() == "aö\r\nb\rc"
    assert gfile.GFile(path).readlines() == ["aö\n", "bc"]
    assert gfile.GFile(path, "rb").read() == "aö\r\nb\rc".encode()


def test_positions_count_bytes(tmp_path: pathlib.Path) -> None:
    """From the start, from here and from the end."""
    path = tmp_path / "text"
    path.write_bytes(b"abcdef")
    file = gfile.GFile(str(path))

    assert (file.tell(), file.read(2), file.tell()) == (0, "ab", 2)
    file.seek(1)
    assert file.read(1) == "b"
    file.seek(1, 1)
    assert file.read(1) == "d"
    file.seek(-1, 2)
    assert (file.read(), file.read(), file.readline()) == ("f", "", "")


def test_file_that_was_closed_begins_anew(tmp_path: pathlib.Path) -> None:
    """As in TensorFlow, closing is no end."""
    path = tmp_path / "text"
    path.write_bytes(b"abc")
    with gfile.GFile(path) as file:
        assert file.read(1) == "a"

    assert file.read(1) == "a"
    file.close()


def test_lines_come_one_by_one(tmp_path: pathlib.Path) -> None:
    """By iteration and by `next`."""
    path = tmp_path / "text"
    path.write_bytes(b"a\nb\n")
    file = gfile.GFile(path)

    assert file.next() == "a\n"
    assert list(file) == ["b\n"]
    with pytest.raises(StopIteration):
        file.next()


def test_what_is_written_is_there(tmp_path: pathlib.Path) -> None:
    """Converters write their results so: text, bytes, and more at the end."""
    path = str(tmp_path / "out")
    with gfile.GFile(path, "w") as file:
        file.write("ö")
        file.write(b"x")
        assert file.size() == 3
    with gfile.GFile(path, "ab") as file:
        file.write("y")

    assert gfile.GFile(path).read() == "öxy"
    with pytest.raises(TypeError, match="Expected binary or unicode string, got 5"):
        gfile.GFile(path, "w").write(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mode", "call", "message"),
    [
        ("w", "read", "File isn't open for reading"),
        ("a", "readline", "File isn't open for reading"),
        ("r", "write", "File isn't open for writing"),
    ],
)
def test_mode_that_does_not_allow_it_is_permission_denied(
    tmp_path: pathlib.Path, mode: str, call: str, message: str
) -> None:
    """Nothing is read or written."""
    path = tmp_path / "text"
    path.write_bytes(b"abc")

    with pytest.raises(errors.PermissionDeniedError, match=message):
        getattr(gfile.GFile(path, mode), call)(*(["x"] if call == "write" else []))

    assert path.read_bytes() == b"abc"


def test_faults_of_the_system_are_tensorflows_errors(tmp_path: pathlib.Path) -> None:
    """No file, no folder to write to, a folder instead of a file."""
    missing = tmp_path / "missing"

    with pytest.raises(errors.NotFoundError, match="missing; No such file or directory"):
        gfile.GFile(missing).size()
    with pytest.raises(errors.NotFoundError, match="missing/x; No such file or directory"):
        gfile.GFile(missing / "x", "w").write("a")
    with pytest.raises(errors.FailedPreconditionError, match="; Is a directory"):
        gfile.GFile(tmp_path).read()


@pytest.mark.parametrize("mode", ["z", "", "x", "rw"])
def test_unknown_mode_is_an_invalid_argument(mode: str) -> None:
    """The modes that there are stand in the message."""
    with pytest.raises(errors.InvalidArgumentError, match="mode is not 'r' or 'w' or 'a' or "):
        gfile.GFile("anything", mode)

    assert gfile.GFile("anything", "r+b").mode == "r+b"


@pytest.fixture
def tree(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few files below the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("run/a.index", "run/.hidden.index", "run[1]/b.index", "other/deep/c.index", "star*"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("run/*.index", ["run/.hidden.index", "run/a.index"]),
        ("run/[!.]*", ["run/a.index"]),
        ("run*", ["./run", "./run[1]"]),
        ("run[1]/b.index", []),
        ("run\\[1\\]/b.index", ["./run[1]/b.index"]),
        ("*/*/c.*", ["./other/deep/c.index"]),
        ("**/c.index", []),
        ("other/*/c.index", ["other/deep/c.index"]),
        ("st?r\\*", ["./star*"]),
        ("run/a.index", ["run/a.index"]),
        ("run/", ["run/"]),
        ("run/a.index/*", []),
        ("", []),
    ],
)
@pytest.mark.usefixtures("tree")
def test_pattern_matches_by_tensorflows_rules(pattern: str, paths: list[str]) -> None:
    """Hidden files count, two stars are one, a backslash quotes."""
    assert gfile.glob(pattern) == paths


@pytest.mark.usefixtures("tree")
def test_folder_lists_its_names_and_a_file_has_none() -> None:
    """What is no folder is not found."""
    assert gfile.listdir("run") == [".hidden.index", "a.index"]
    assert gfile.isdir("run")
    assert not gfile.isdir("run/a.index")
    with pytest.raises(errors.NotFoundError, match=r"Could not find directory run/a\.index"):
        gfile.listdir("run/a.index")
