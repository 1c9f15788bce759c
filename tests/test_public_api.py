"""What users can see of both packages is what they list, and every name of it is documented."""

from __future__ import annotations

import ast
import importlib
import inspect
import pathlib
import subprocess
import sys
from types import ModuleType

import pytest

import converter
import tfckpt

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES: list[ModuleType] = [tfckpt, converter]
package_ids = [package.__name__ for package in PACKAGES]
NAMES = [(package, name) for package in PACKAGES for name in package.__all__ if name != "__version__"]


def imported_for_annotations(package: ModuleType) -> set[str]:
    """The names in the package's `if TYPE_CHECKING:` block."""
    tree = ast.parse(pathlib.Path(package.__file__ or "").read_text(encoding="utf-8"))
    return {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in ast.walk(node)
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }


@pytest.mark.parametrize("package", PACKAGES, ids=package_ids)
def test_all_is_sorted_and_has_no_name_twice(package: ModuleType) -> None:
    """A list that people read."""
    assert list(package.__all__) == sorted(set(package.__all__))


@pytest.mark.parametrize("package", PACKAGES, ids=package_ids)
def test_type_checkers_see_the_names_that_running_programs_see(package: ModuleType) -> None:
    """Names that are imported when first used are also imported for annotations."""
    eager = {name for name, value in vars(package).items() if getattr(value, "__module__", None) != package.__name__}

    assert set(package.__all__) >= imported_for_annotations(package)
    assert set(package.__all__) - imported_for_annotations(package) <= eager


@pytest.mark.parametrize("package", PACKAGES, ids=package_ids)
def test_star_import_in_a_fresh_process_gives_exactly_what_is_listed(package: ModuleType) -> None:
    """Nothing is there only because another module was imported before."""
    if package is converter:
        pytest.importorskip("torch", reason="some of the names are PyTorch classes")
    program = f"from {package.__name__} import *; print(*sorted(name for name in dir() if name not in before))"

    done = subprocess.run(
        [sys.executable, "-c", f"before = {{*dir(), 'before'}}; {program}"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )

    assert done.stdout.split() == list(package.__all__)


@pytest.mark.parametrize(("package", "name"), NAMES, ids=[f"{package.__name__}.{name}" for package, name in NAMES])
def test_public_name_has_a_docstring(package: ModuleType, name: str) -> None:
    """Classes, functions and modules say what they are; methods and properties too, unless Python says it for them."""
    try:
        value = getattr(package, name)
    except tfckpt.MissingDependencyError as error:
        pytest.skip(f"the name needs {error.package}")
    if not (inspect.isclass(value) or callable(value) or inspect.ismodule(value)):
        return  # a table of data, documented in its module

    assert (inspect.getdoc(value) or "").strip()
    if inspect.isclass(value):
        for member, attribute in vars(value).items():
            if not member.startswith("_") and (callable(attribute) or isinstance(attribute, property)):
                own = attribute.__doc__
                assert own and own.strip(), f"{name}.{member} has no docstring"


@pytest.mark.parametrize("package", PACKAGES, ids=package_ids)
def test_dir_lists_public_names_before_they_are_loaded(package: ModuleType) -> None:
    """Completion in a shell offers them."""
    assert set(dir(package)) >= set(package.__all__)


@pytest.mark.parametrize("package", PACKAGES, ids=package_ids)
def test_unknown_attribute_is_an_attribute_error(package: ModuleType) -> None:
    """As for any module, so that `hasattr` works."""
    assert not hasattr(package, "no_such_name")
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = package.no_such_name


@pytest.mark.parametrize("package", PACKAGES, ids=package_ids)
def test_no_submodule_hides_a_public_function(package: ModuleType) -> None:
    """Importing a module binds its name in the package; it must not be the name of something else."""
    folder = pathlib.Path(package.__file__ or "").parent
    modules = {path.stem for path in folder.glob("*.py")} | {path.name for path in folder.iterdir() if path.is_dir()}

    for name in modules & set(package.__all__):
        assert inspect.ismodule(getattr(package, name))
        assert getattr(package, name) is importlib.import_module(f"{package.__name__}.{name}")


@pytest.mark.parametrize("name", ["EfficientNet", "GraphModule", "graph_module", "load_graph"])
def test_public_name_that_needs_torch_names_the_extra_where_there_is_none(name: str) -> None:
    """As every missing package does; the names beside it are there."""
    program = (
        "import sys, tfckpt, converter\n"
        "sys.modules['torch'] = None\n"
        "converter.convert, converter.CONFIGS\n"
        f"try: converter.{name}\n"
        "except tfckpt.MissingDependencyError as error: print(error)\n"
    )

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)

    assert done.stdout.endswith(" needs the package torch; install it with: pip install 'tfckpt[torch]'\n")


def test_version_is_that_of_the_distribution() -> None:
    """One place says it."""
    assert tfckpt.__version__.count(".") == 2
    assert all(part.isdigit() for part in tfckpt.__version__.split("."))
