"""The layers of both packages: which room may import which, held against the imports in the source.

A room is a folder of a package, or one of the modules directly in the package; those at the bottom form the ground.
A module imports from its own room or from a room with a lower number.
Imports inside functions and in `if TYPE_CHECKING:` blocks count like all others.
"""

from __future__ import annotations

import ast
import functools
import graphlib
import pathlib
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parents[1]

#: Room -> layer. Rooms with the same number do not import each other.
LAYERS = {
    "tfckpt ground": 0,
    "tfckpt.coding": 1,
    "tfckpt.files": 2,
    "tfckpt.sstable": 2,
    "tfckpt.storage": 2,
    "tfckpt.tensors": 2,
    "tfckpt.bundle": 3,
    "tfckpt.graphs": 3,
    "tfckpt.keras": 3,
    "tfckpt.sinks": 3,
    "tfckpt.v1": 3,
    "tfckpt.finding": 4,
    "tfckpt.checkpoint": 5,
    "tfckpt.checks": 6,
    "tfckpt.train": 6,
    "tfckpt.reporting": 7,
    "tfckpt.writing": 7,
    "tfckpt.tensorflow_stub": 8,
    "tfckpt.jobs": 8,
    "tfckpt": 9,
    "tfckpt.cli": 10,
    "converter ground": 11,
    "converter.model": 12,
    "converter.engine": 13,
    "converter.images": 13,
    "converter.mapping": 13,
    "converter.structure": 13,
    "converter.families": 14,
    "converter.libraries": 14,
    "converter.networks": 14,
    "converter.releases": 15,
    "converter.sources": 15,
    "converter.conversion": 16,
    "converter.formats": 16,
    "converter.loading": 17,
    "converter.preprocessing": 17,
    "converter.reporting": 17,
    "converter.saving": 18,
    "converter.verification": 18,
    "converter.exporting": 19,
    "converter.reverting": 19,
    "converter.jobs": 20,
    "converter.programs": 20,
    "converter": 21,
    "converter.cli": 22,
}

#: Modules directly in a package that all others build on; they may import each other.
GROUND = {
    "tfckpt": {"_threads", "_typing", "_version", "addresses", "errors", "limits", "protos"},
    "converter": {"_typing", "errors"},
}

#: The parts of `tfckpt` that `converter` may use beside the public names.
OPEN_TO_CONVERTER = {
    "tfckpt._threads",
    "tfckpt._typing",
    "tfckpt.addresses",
    "tfckpt.cli",
    "tfckpt.errors",
    "tfckpt.files",
    "tfckpt.finding",
    "tfckpt.graphs",
    "tfckpt.jobs",
    "tfckpt.limits",
    "tfckpt.protos",
    "tfckpt.reporting",
    "tfckpt.sinks",
    "tfckpt.storage",
    "tfckpt.tensors",
}


def source_files(package: str) -> Iterator[tuple[str, pathlib.Path]]:
    """Yield every module of a package by its dotted name."""
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = {
    name: path for name, path in [*source_files("tfckpt"), *source_files("converter")] if path.name != "__main__.py"
}


def imports_of(module: str) -> tuple[str, ...]:
    """List everything a module imports, wherever in its source, by dotted name."""
    path = MODULES[module]
    return imports_in(path, module if path.name == "__init__.py" else module.rpartition(".")[0])


@functools.cache
def parse(path: pathlib.Path) -> ast.Module:
    """Return the tree of a module's source."""
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def imports_in(path: pathlib.Path, package: str) -> tuple[str, ...]:
    """List what the source of a module in this package imports."""
    return tuple(_walk(parse(path), package))


def _walk(tree: ast.Module, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner_module = f"{base}.{alias.name}"
                yield inner_module if inner_module in MODULES else base


def room_of(module: str) -> str:
    """Return the room of a module."""
    package, _, rest = module.partition(".")
    if rest in GROUND[package]:
        return f"{package} ground"
    return ".".join(module.split(".")[:2])


def edges() -> Iterator[tuple[str, str]]:
    """Yield every import of one of our modules by another: (importing, imported)."""
    for module in MODULES:
        for imported in sorted(set(imports_of(module))):
            if imported in MODULES and imported != module:
                yield module, imported


def violations() -> list[str]:
    """List the imports that go up, or sideways to another room."""
    return [
        f"{module} imports {imported}"
        for module, imported in edges()
        if room_of(module) != room_of(imported) and LAYERS[room_of(imported)] >= LAYERS[room_of(module)]
    ]


def test_every_module_has_a_room_and_every_room_a_module() -> None:
    """The table is complete and has no row left over."""
    assert {room_of(module) for module in MODULES} == set(LAYERS)


def test_modules_import_from_their_own_room_or_a_lower_layer() -> None:
    """The direction of imports."""
    assert violations() == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """No circle anywhere, not even for annotations or inside functions."""
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for module, imported in edges():
        if not module.startswith(f"{imported}."):  # a package is loaded before its modules in any case
            graph[module].add(imported)

    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the modules


def test_tfckpt_imports_nothing_of_the_converter() -> None:
    """The reader stands alone."""
    assert [edge for edge in edges() if edge[0].startswith("tfckpt") and edge[1].startswith("converter")] == []


def test_converter_uses_public_names_and_the_listed_rooms_of_tfckpt() -> None:
    """What the converter needs of the reader's inner rooms is a short list."""
    used = {
        room_of(imported) if " " not in room_of(imported) else imported
        for module, imported in edges()
        if module.startswith("converter") and imported.startswith("tfckpt")
    }

    assert used - {"tfckpt"} == OPEN_TO_CONVERTER


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
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Call) and (name := ast.unparse(node.func)) in forbidden | required.keys():
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
        and room_of(module) not in allowed
        and any(name.partition(".")[0] == package for name in imports_of(module))
    ] == []


def test_oracle_shares_no_code_with_what_it_judges() -> None:
    """The same mistake must not be able to sit in both."""
    shared = ("converter.model", "converter.mapping", "converter.families", "converter.conversion")

    assert [edge for edge in edges() if room_of(edge[0]) == "converter.engine" and edge[1].startswith(shared)] == []


def test_model_and_mapping_know_nothing_of_each_others_code() -> None:
    """Both know the records of `model.config`, and the engine of rules knows nothing of the model."""
    rooms = {"converter.model", "converter.mapping"}

    assert [
        (module, imported)
        for module, imported in edges()
        if {room_of(module), room_of(imported)} == rooms and imported != "converter.model.config"
    ] == []


def test_import_of_a_sibling_room_is_found_wherever_it_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    """The rule itself: in a function or for annotations only, an import of a sibling room is a violation."""
    path = tmp_path / "table.py"
    path.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from ..storage.local import LocalStorage\n"
        "from .block import Block\n"
        "def read():\n    from ..bundle import entry\n"
    )
    monkeypatch.setitem(MODULES, "tfckpt.sstable.table", path)

    assert violations() == [
        "tfckpt.sstable.table imports tfckpt.bundle.entry",
        "tfckpt.sstable.table imports tfckpt.storage.local",
    ]
