"""Which module may import which: the numbered table, held against the imports in the source.

A module imports from its own package folder or from a lower number.
`NAME.*` stands for a folder; where several rows fit, the longest name counts.
Steps between the whole numbers are modules that build on one another within a layer.
Imports for annotations only (`if TYPE_CHECKING:`) are left out, imports inside functions are not.
"""

from __future__ import annotations

import ast
import functools
import pathlib
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parents[1]

TABLE: dict[str, float] = {
    "tfckpt._typing": 0,
    "tfckpt._version": 0,
    "tfckpt.errors": 0,
    "tfckpt.limits": 0.1,
    "tfckpt.atomic": 1,
    "tfckpt.coding.*": 1,
    "tfckpt.filling": 1,
    "tfckpt.protos": 1,
    "tfckpt.locking": 1.1,
    "tfckpt.tensors.dtypes": 1,
    "tfckpt.npy_format": 2,
    "tfckpt.safetensors_format": 2,
    "tfckpt.sstable.*": 2,
    "tfckpt.storage.*": 2,
    "tfckpt.tensors.*": 2,
    "tfckpt.reading": 2.1,
    "tfckpt.bundle.*": 3,
    "tfckpt.v1.*": 3,
    "tfckpt.what_is": 3,
    "tfckpt.checkpoint_state": 4,
    "tfckpt.graph": 4,
    "tfckpt.object_graph": 4,
    "tfckpt.saved_objects": 4.05,
    "tfckpt.lookup": 4.1,
    "tfckpt.meta_graph": 4.1,
    "tfckpt.object_graph_building": 4.1,
    "tfckpt.training_state": 4.1,
    "tfckpt.saved_model": 4.2,
    "tfckpt.detect": 4.3,
    "tfckpt.candidates": 4.4,
    "tfckpt.checkpoint_folder": 4.5,
    "tfckpt.opening": 4.5,
    "tfckpt.checkpoint": 5,
    "tfckpt.diagnosis": 6,
    "tfckpt.integrity": 6,
    "tfckpt.train.*": 6,
    "tfckpt.name_changes": 6.1,
    "tfckpt.standing_in.*": 6.1,
    "tfckpt.writing": 6.1,
    "tfckpt.comparing": 6.2,
    "tfckpt.copying": 6.2,
    "tfckpt.exporting": 6.2,
    "tfckpt.summary": 6.2,
    "tfckpt.editing": 6.3,
    "tfckpt": 7,
    "tfckpt.__main__": 7,
    "tfckpt.cli.*": 7,
    "converter._typing": 10,
    "converter.errors": 10,
    "converter.bounded_json": 10.5,
    "converter.pages": 10.5,
    "converter.drawing": 10.6,
    "converter.mapping.layout": 11,
    "converter.mapping.report": 11,
    "converter.model.config": 11,
    "converter.mapping.*": 12,
    "converter.model.*": 12,
    "converter.reference.*": 12,
    "converter.modules": 13,
    "converter.reversal": 13,
    "converter.zoo": 13,
    "converter.conversion": 14,
    "converter.downloads": 14,
    "converter.exporters.*": 15,
    "converter.exporters.folders": 14.5,
    "converter.exporters.tables": 14.5,
    "converter.exporters.targets": 14.5,
    "converter.reporting.*": 15.1,
    "converter.exporting": 15.2,
    "converter.labels": 14.1,
    "converter.loading": 15.1,
    "converter.timing": 15.1,
    "converter.preprocessing": 15.1,
    "converter.state_dicts": 14.7,
    "converter.verification.*": 15.2,
    "converter.reverting": 15.3,
    "converter": 16,
    "converter.__main__": 16,
    "converter.cli.*": 16,
}


def source_files(package: str) -> Iterator[tuple[str, pathlib.Path]]:
    """Every module of a package by its dotted name."""
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict([*source_files("tfckpt"), *source_files("converter")])


def imports_of(module: str) -> tuple[str, ...]:
    """Everything a module imports, wherever in its source, by dotted name."""
    path = MODULES[module]
    return imports_in(path, module if path.name == "__init__.py" else module.rpartition(".")[0])


@functools.cache
def imports_in(path: pathlib.Path, package: str) -> tuple[str, ...]:
    """What the source of a module in this package imports."""
    return tuple(_walk(path, package))


def _walk(path: pathlib.Path, package: str) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_annotations = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in for_annotations:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner_module = f"{base}.{alias.name}"
                yield inner_module if inner_module in MODULES else base


def number_of(module: str) -> float:
    """The number of a module in the table."""
    fitting = [
        name
        for name in TABLE
        if module == name or (name.endswith(".*") and f"{module}.".startswith(name.removesuffix("*")))
    ]
    if not fitting:
        pytest.fail(f"{module} has no number: add it to TABLE in tests/test_layering.py, above what it imports")
    return TABLE[max(fitting, key=len)]


def folder_of(module: str) -> str | None:
    """The package folder below the top one that a module belongs to; None for modules directly in the top one."""
    parts = module.split(".")
    is_folder = MODULES[module].name == "__init__.py"
    return ".".join(parts[:2]) if len(parts) > 2 or (is_folder and len(parts) == 2) else None


@pytest.mark.parametrize("module", sorted(MODULES))
def test_module_imports_from_its_own_folder_or_a_lower_layer(module: str) -> None:
    """The direction of imports, module by module."""
    number = number_of(module)

    wrong = [
        f"{imported} ({number_of(imported):g})"
        for imported in sorted(set(imports_of(module)))
        if imported in MODULES
        and imported != module
        and number_of(imported) >= number
        and (folder_of(imported) is None or folder_of(imported) != folder_of(module))
        # The top layer may use what its package re-exports.
        and not (imported == module.partition(".")[0] and number == TABLE[imported])
        and module not in {"tfckpt.__main__", "converter.__main__"}
    ]

    assert not wrong, f"{module} ({number:g}) imports {', '.join(wrong)}"


@pytest.mark.parametrize("name", sorted(TABLE))
def test_table_has_no_row_without_modules(name: str) -> None:
    """Rows of planned modules are named here; others that nothing fits are left-overs."""
    planned = {"tfckpt.export", "converter.zoo"}
    prefix = name.removesuffix("*")

    found = [module for module in MODULES if module == name or (name.endswith("*") and f"{module}.".startswith(prefix))]

    assert found or name in planned


def test_tfckpt_imports_nothing_of_the_converter() -> None:
    """The reader stands alone."""
    assert [
        module
        for module in MODULES
        if module.partition(".")[0] == "tfckpt"
        and any(imported.partition(".")[0] == "converter" for imported in imports_of(module))
    ] == []


@pytest.mark.parametrize("package", ["tensorflow", "tf_keras", "keras", "marshal", "shelve", "dill"])
def test_nothing_imports_tensorflow_or_what_runs_stored_code(package: str) -> None:
    """Neither needed nor trusted."""
    assert [module for module in MODULES if any(name.partition(".")[0] == package for name in imports_of(module))] == []


def test_nothing_is_unpickled_or_evaluated() -> None:
    """`torch.load` takes weights only, NumPy's files hold no objects, and no text becomes code."""
    forbidden = {"eval", "exec", "compile", "pickle.load", "pickle.loads", "pickle.Unpickler", "builtins.eval"}
    required = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}
    wrong = []
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                if name in forbidden:
                    wrong.append(f"{module}:{node.lineno} calls {name}")
                if name in required and keywords.get(required[name][0]) != str(required[name][1]):
                    wrong.append(f"{module}:{node.lineno} calls {name} without {required[name][0]}={required[name][1]}")

    assert wrong == []


@pytest.mark.parametrize("package", ["torch", "safetensors", "rich", "timm", "torchvision", "transformers"])
def test_tfckpt_imports_no_package_of_the_converter(package: str) -> None:
    """Not even inside a function; the progress bars of the command line excepted."""
    allowed = {"rich": {"tfckpt.cli"}}.get(package, set())

    assert [
        module
        for module in MODULES
        if module.startswith("tfckpt")
        and folder_of(module) not in allowed
        and any(name.partition(".")[0] == package for name in imports_of(module))
    ] == []


def test_oracle_shares_no_code_with_what_it_judges() -> None:
    """The same mistake must not be able to sit in both."""
    assert [
        (module, imported)
        for module in MODULES
        if module.startswith("converter.reference")
        for imported in imports_of(module)
        if imported.startswith(("converter.model", "converter.mapping", "converter.conversion"))
    ] == []


def test_model_and_mapping_know_nothing_of_each_others_code() -> None:
    """Both know the records of `model.config` and nothing else of the other."""
    assert [
        (module, imported)
        for module in MODULES
        for imported in imports_of(module)
        if (module.startswith("converter.mapping") and imported.startswith("converter.model"))
        or (module.startswith("converter.model") and imported.startswith("converter.mapping"))
        if imported != "converter.model.config"
    ] == []


def test_source_of_a_sibling_layer_is_told_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    """The rule itself: a table that imports a storage is found, an annotation is not."""
    path = tmp_path / "table.py"
    path.write_text(
        "from typing import TYPE_CHECKING\n"
        "from ..storage.local import LocalStorage\n"
        "if TYPE_CHECKING:\n    from ..checkpoint import Checkpoint\n"
        "def read():\n    from .block import Block\n"
    )
    monkeypatch.setitem(MODULES, "tfckpt.sstable.table", path)

    assert sorted(imports_of("tfckpt.sstable.table")) == ["tfckpt.sstable.block", "tfckpt.storage.local", "typing"]
    with pytest.raises(AssertionError, match=r"sstable.table \(2\) imports tfckpt.storage.local \(2\)"):
        test_module_imports_from_its_own_folder_or_a_lower_layer("tfckpt.sstable.table")
