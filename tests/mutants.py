"""Change one operator or number of a module at a time, and see whether its tests notice.

    python -m tests.mutants --count 100 --seed 1 tfckpt/sstable/block.py -- tests/tfckpt/test_sstable_block.py

Works on a copy of the packages in a temporary folder.
Prints each mutant that survived, with its line before and after, and closes with the counts.
"""

from __future__ import annotations

import argparse
import ast
import copy
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parents[1]
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
SECONDS = 120


def places(tree: ast.AST) -> Iterator[int]:
    """Numbers of the nodes, in the order of a walk, that can be changed."""
    return (number for number, node in enumerate(ast.walk(tree)) if can_change(node))


def can_change(node: ast.AST) -> bool:
    """Whether `change` knows what to do with a node."""
    if isinstance(node, ast.Return):
        return node.value is not None
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.Not)
    if isinstance(node, ast.Compare):
        return type(node.ops[0]) in COMPARISONS
    if isinstance(node, ast.BinOp):
        return type(node.op) in OPERATORS
    return isinstance(node, ast.BoolOp) or (isinstance(node, ast.Constant) and type(node.value) is int)


def change(node: ast.AST) -> None:
    """Change a node in place."""
    if isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.UnaryOp):
        node.op = ast.UAdd()  # `+flag` counts as the flag
    elif isinstance(node, ast.Return):
        node.value = ast.Constant(None)
    elif isinstance(node, ast.Compare):
        node.ops[0] = COMPARISONS[type(node.ops[0])]()
    elif isinstance(node, ast.BinOp):
        node.op = OPERATORS[type(node.op)]()
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        node.value += 1


def main() -> int:
    """Try mutants of the modules with the tests after `--`."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="mutants of all modules together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("modules", nargs="+")
    given = sys.argv[1:]
    cut = given.index("--")
    options, tests = parser.parse_args(given[:cut]), given[cut + 1 :]
    trees = {module: ast.parse((ROOT / module).read_text(encoding="utf-8")) for module in options.modules}
    mutants = [(module, number) for module, tree in trees.items() for number in places(tree)]
    chosen = random.Random(options.seed).sample(mutants, min(options.count, len(mutants)))
    survived = 0
    with tempfile.TemporaryDirectory() as temporary:
        copied = pathlib.Path(temporary)
        for name in ("tfckpt", "converter", "tests", "setup.cfg", "examples"):
            path = ROOT / name
            (shutil.copytree if path.is_dir() else shutil.copy)(path, copied / name)
        for module, number in chosen:
            tree = copy.deepcopy(trees[module])
            node = list(ast.walk(tree))[number]
            before = ast.unparse(node)
            change(node)
            (copied / module).write_text(ast.unparse(ast.fix_missing_locations(tree)), encoding="utf-8")
            command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
            try:
                done = subprocess.run(command, cwd=copied, check=False, capture_output=True, timeout=SECONDS)
                alive = done.returncode == 0
            except subprocess.TimeoutExpired:
                alive = False
            if alive:
                survived += 1
                line = getattr(node, "lineno", 0)
                print(f"{module}:{line}: {before}  ->  {ast.unparse(node)}", flush=True)
            shutil.copy(ROOT / module, copied / module)
    print(f"{len(chosen)} of {len(mutants)} mutants tried, {survived} survived")
    return 0


if __name__ == "__main__":
    sys.exit(main())
