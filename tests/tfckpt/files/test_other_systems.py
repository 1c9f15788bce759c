"""What Windows and macOS do differently, as far as stand-ins can show it on any system."""

from __future__ import annotations

import errno
import ntpath
import os
import signal
import sys
import types
from pathlib import Path

import pytest

from tfckpt.cli.sigterm import Stopped, stoppable
from tfckpt.errors import WriteError
from tfckpt.files import atomic, lock
from tfckpt.files.atomic import atomic_file, strip_separators
from tfckpt.storage.local import LocalStorage


@pytest.mark.parametrize(
    ("path", "stripped"),
    [
        ("a\\b\\", "a\\b"),
        ("a/b/", "a/b"),
        ("a\\b/\\", "a\\b"),
        ("C:\\", "C:\\"),
        ("C:\\a\\", "C:\\a"),
        ("/", "/"),
        ("", ""),
    ],
)
def test_windows_has_two_separators(monkeypatch: pytest.MonkeyPatch, path: str, stripped: str) -> None:
    """Both may end the name of a folder."""
    monkeypatch.setattr(atomic, "os", types.SimpleNamespace(sep="\\", altsep="/", path=ntpath))

    assert strip_separators(path) == stripped


@pytest.mark.parametrize(("path", "stripped"), [("a/b//", "a/b"), ("/", "/"), ("a\\", "a\\"), ("", "")])
def test_posix_has_one_separator(path: str, stripped: str) -> None:
    """A backslash belongs to the name there."""
    assert strip_separators(path) == stripped


@pytest.mark.parametrize("winerror", [5, 32, 1224])
def test_file_in_use_is_not_replaced_on_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, winerror: int) -> None:
    """The old file is unchanged, no temporary file remains, and the message says what to do."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    mapped = LocalStorage().open(str(path))

    def refuse(source: str, target: str) -> None:
        error = PermissionError(errno.EACCES, "Access is denied", target)
        error.winerror = winerror  # type: ignore[attr-defined]  # an attribute on Windows only
        raise error

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(WriteError, match="in use") as caught, atomic_file(path, overwrite=True) as file:
        file.write(b"new")

    assert caught.value.path == str(path)
    assert bytes(mapped.read(0, 3)) == b"old"
    assert [other.name for other in tmp_path.iterdir()] == ["file"]


class FakeLocks(types.ModuleType):
    """The locks of Windows, within one process: one for each file, which another descriptor cannot get."""

    LK_NBLCK = 2

    def __init__(self, code: int = errno.EACCES) -> None:
        super().__init__("msvcrt")
        self.code = code
        self.owners: dict[tuple[int, int], int] = {}

    def locking(self, descriptor: int, mode: int, nbytes: int) -> None:
        """Lock a file, or raise as the C library does."""
        status = os.fstat(descriptor)
        owner = self.owners.setdefault((status.st_dev, status.st_ino), descriptor)
        if owner != descriptor or self.code == errno.EINVAL:
            raise OSError(self.code, "locked")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EDEADLK])
def test_lock_of_windows_is_exclusive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """A second writer gets an error, and the lock file is removed in the end."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "msvcrt", FakeLocks(code))
    path = tmp_path / "lock"

    with lock.FileLock(str(path), path="model", busy="busy") as first:
        assert first.is_exclusive
        with pytest.raises(WriteError, match="busy"):
            lock.FileLock(str(path), path="model", busy="busy")

    assert not path.exists()


def test_file_system_of_windows_without_locks_lets_everyone_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network drives have none; then nothing is removed as a leftover."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "msvcrt", FakeLocks(errno.EINVAL))

    with lock.FileLock(str(tmp_path / "lock"), path="model", busy="busy") as held:
        assert not held.is_exclusive


def test_ctrl_break_of_windows_stops_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM is not delivered there."""
    before = signal.getsignal(signal.SIGUSR1)
    monkeypatch.setattr(signal, "SIGBREAK", signal.SIGUSR1, raising=False)

    with pytest.raises(Stopped), stoppable():
        signal.raise_signal(signal.SIGUSR1)

    assert signal.getsignal(signal.SIGUSR1) == before


def test_handler_that_is_not_from_python_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that embeds Python may have set one; Python cannot set it again."""
    restored: list[object] = []

    def set_signal(number: int, handler: object) -> None:
        restored.append(handler)

    monkeypatch.setattr(signal, "signal", set_signal)
    with stoppable():
        pass

    assert restored[-1] is signal.SIG_DFL
