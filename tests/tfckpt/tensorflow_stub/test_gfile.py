"""`tf.io.gfile` of the stand-in: files and patterns follow TensorFlow's rules."""

from __future__ import annotations

import pathlib

import pytest

from tfckpt.tensorflow_stub import gfile
from tfckpt.train import errors


def test_text_is_utf8_without_translated_line_ends(tmp_path: pathlib.Path) -> None:
    """Only lines lose their carriage returns."""
    path = tmp_path / "text"
    path.write_bytes("aö\r\nb\rc".encode())

    assert gfile.GFile(path).read() == "aö\r\nb\rc"
    assert gfile.GFile(path).readlines() == ["aö\n", "bc"]
    assert gfile.GFile(path, "rb").read() == "aö\r\nb\rc".encode()


def test_positions_count_bytes(tmp_path: pathlib.Path) -> None:
    """They are relative to the start, the current position or the end."""
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


def test_closed_file_can_be_read_again_from_the_start(tmp_path: pathlib.Path) -> None:
    """As in TensorFlow."""
    path = tmp_path / "text"
    path.write_bytes(b"abc")
    with gfile.GFile(path) as file:
        assert file.read(1) == "a"

    assert file.read(1) == "a"
    file.close()


def test_lines_are_iterated(tmp_path: pathlib.Path) -> None:
    """Also with the method `next`."""
    path = tmp_path / "text"
    path.write_bytes(b"a\nb\n")
    file = gfile.GFile(path)

    assert file.next() == "a\n"
    assert list(file) == ["b\n"]
    with pytest.raises(StopIteration):
        file.next()


def test_written_data_reads_back(tmp_path: pathlib.Path) -> None:
    """Text and bytes are written and appended."""
    path = str(tmp_path / "out")
    with gfile.GFile(path, "w") as file:
        file.write("ö")
        file.write(b"x")
        assert file.size() == 3
    with gfile.GFile(path, "ab") as file:
        file.write("y")

    assert gfile.GFile(path).read() == "öxy"
    with pytest.raises(TypeError):
        gfile.GFile(path, "w").write(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(("mode", "call"), [("w", "read"), ("a", "readline"), ("r", "write")])
def test_call_that_the_mode_does_not_allow_is_permission_denied(tmp_path: pathlib.Path, mode: str, call: str) -> None:
    """The file does not change."""
    path = tmp_path / "text"
    path.write_bytes(b"abc")

    with pytest.raises(errors.PermissionDeniedError):
        getattr(gfile.GFile(path, mode), call)(*(["x"] if call == "write" else []))

    assert path.read_bytes() == b"abc"


def test_system_errors_become_errors_of_tensorflow(tmp_path: pathlib.Path) -> None:
    """A missing file, a missing folder, and a folder in place of a file."""
    missing = tmp_path / "missing"

    with pytest.raises(errors.NotFoundError) as no_file:
        gfile.GFile(missing).size()
    with pytest.raises(errors.NotFoundError) as no_folder:
        gfile.GFile(missing / "x", "w").write("a")
    with pytest.raises(errors.FailedPreconditionError) as folder:
        gfile.GFile(tmp_path).read()

    assert [caught.value.path for caught in (no_file, no_folder, folder)] == [
        str(missing),
        str(missing / "x"),
        str(tmp_path),
    ]


@pytest.mark.parametrize("mode", ["z", "", "x", "rw"])
def test_unknown_mode_is_an_invalid_argument(mode: str) -> None:
    """All modes of TensorFlow are valid, also with a `b`."""
    with pytest.raises(errors.InvalidArgumentError):
        gfile.GFile("anything", mode)

    assert gfile.GFile("anything", "r+b").mode == "r+b"


@pytest.fixture
def tree(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Create a few files in the working directory."""
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
    """Hidden files match, two stars are the same as one, and a backslash escapes."""
    assert gfile.glob(pattern) == paths


@pytest.mark.usefixtures("tree")
def test_folder_is_listed() -> None:
    """A file is not found as a folder."""
    assert gfile.listdir("run") == [".hidden.index", "a.index"]
    assert gfile.isdir("run")
    assert not gfile.isdir("run/a.index")
    with pytest.raises(errors.NotFoundError) as caught:
        gfile.listdir("run/a.index")
    assert caught.value.path == "run/a.index"
