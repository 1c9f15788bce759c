"""What several test modules share: the option `--all`, the committed test data, and copies to damage."""

from __future__ import annotations

import os
import pathlib
import shutil
import sys
import traceback
import warnings
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
from typing import Any, TypeVar

import hypothesis
import ml_dtypes
import pytest

# The networks of the tests are small: handing their parts to several threads takes longer than computing them.
# Set before anything imports torch, and inherited by the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Some systems forbid it: then each of the hundreds of processes would compile our packages again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A busy machine is no defect, so examples have no deadline; continuous integration tries the same ones every time.
_CI = bool(os.environ.get("CI"))
hypothesis.settings.register_profile("quick", deadline=None, derandomize=_CI, max_examples=30)
hypothesis.settings.register_profile("all", deadline=None, derandomize=_CI, max_examples=200)
hypothesis.settings.load_profile("quick")

DATA = pathlib.Path(__file__).parent / "data"
_T = TypeVar("_T")
#: Picks one point of each kind.
Choose = Callable[[Iterable[_T], Callable[[_T], Hashable]], list[_T]]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--all`, which `make test-all` gives."""
    parser.addoption("--all", action="store_true", help="also run tests marked slow, and all points of the others")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker that belongs to `--all`, which also tries more examples of each property."""
    if config.getoption("--all"):
        hypothesis.settings.load_profile("all")
    config.addinivalue_line("markers", "slow: runs only with --all; a quicker test covers the same kind of thing")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the slow tests unless all are asked for."""
    if not config.getoption("--all"):
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, None]:
    """Skip a test that meets a type of TensorFlow that an old ml_dtypes does not have; a recent one has them all."""
    outcome = yield
    if not hasattr(ml_dtypes, "int2") and outcome.excinfo is not None:
        message = str(outcome.excinfo[1])
        if "needs a newer ml_dtypes" in message or "'ml_dtypes' has no attribute" in message:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                traceback.clear_frames(outcome.excinfo[2])  # closes what the test has open
            outcome.force_exception(pytest.skip.Exception("the installed ml_dtypes lacks one of TensorFlow's types"))


def slow(*values: object) -> object:
    """Parameters of a case that only `--all` runs."""
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.fixture(scope="module", autouse=True)
def few_open_files(request: pytest.FixtureRequest) -> Iterator[None]:
    """The tests of the reader run with 256 open files at most, a limit that some systems have by default."""
    reader = ("tests.tfckpt", "tests.contracts", "tests.hostile")
    if not request.module.__name__.startswith(reader) or os.name == "nt":
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="session")
def run_all(request: pytest.FixtureRequest) -> bool:
    """Whether `--all` was given."""
    return bool(request.config.getoption("--all"))


@pytest.fixture(scope="session")
def choose(run_all: bool) -> Choose[_T]:
    """Picks the first point of each kind, or keeps every point with `--all`."""

    def pick(points: Iterable[_T], kind: Callable[[_T], Hashable]) -> list[_T]:
        points = list(points)
        return points if run_all else list({kind(point): point for point in reversed(points)}.values())[::-1]

    return pick


@pytest.fixture
def data() -> pathlib.Path:
    """The folder of committed test data."""
    return DATA


@pytest.fixture
def digits() -> pathlib.Path:
    """Prefix of the small EfficientNetV2 that was trained on digits, as a release is saved."""
    return DATA / "digits" / "efficientnetv2-digits" / "model.ckpt-322"


@pytest.fixture
def copied(tmp_path: pathlib.Path) -> Callable[[pathlib.Path], pathlib.Path]:
    """Copy the files of a prefix into a folder of the test's own; gives the prefix of the copy."""

    def copy(prefix: pathlib.Path) -> pathlib.Path:
        for path in prefix.parent.glob(prefix.name + ".*"):
            shutil.copy(path, tmp_path)
        return tmp_path / prefix.name

    return copy
