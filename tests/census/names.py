"""The names of TensorFlow in the source of a script, found without running it.

A name is the longest chain of attributes that begins at an import: after `import tensorflow.compat.v1 as tf`, the
expression `tf.train.Saver().restore` needs `tensorflow.compat.v1.train.Saver`.
Methods of objects are not names.
What is imported in a `try` block with a handler is optional, so it does not count; nor does `hasattr(tf, "name")`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

ROOT = "tensorflow"
#: Packages that cannot be imported without the real TensorFlow.
BUILT_ON_IT = {
    "dopamine",
    "keras",
    "keras_nlp",
    "mesh_tensorflow",
    "official",
    "sonnet",
    "tensor2tensor",
    "tensorflow_addons",
    "tensorflow_datasets",
    "tensorflow_estimator",
    "tensorflow_hub",
    "tensorflow_probability",
    "tensorflow_text",
    "tf_keras",
    "tf_slim",
    "tfds",
    "trfl",
}
_PACKAGES = BUILT_ON_IT | {ROOT}


def find_names(source: str) -> set[str]:
    """Return the full names that a script needs; `SyntaxError` if it is not Python 3."""
    tree = ast.parse(source)
    optional = {
        id(node)
        for handled in ast.walk(tree)
        if isinstance(handled, ast.Try) and handled.handlers
        for statement in handled.body
        for node in ast.walk(statement)
    }
    aliases: dict[str, str] = {}
    names: set[str] = set()
    for node in ast.walk(tree):
        for alias, name in _imports(node):
            aliases[alias] = name
            if id(node) not in optional:
                names.add(name)
        if isinstance(node, ast.Import) and id(node) not in optional:
            names.update(alias.name for alias in node.names if alias.name.partition(".")[0] in _PACKAGES)
    for chain in _chains(tree):
        first, *rest = chain.split(".")
        if first in aliases:
            names.add(".".join([aliases[first], *rest]))
    return {name for name in names if not any(other.startswith(f"{name}.") for other in names)}


def _imports(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield the local and the full name of what a statement imports of TensorFlow and of packages built on it."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name.partition(".")[0] in _PACKAGES:
                top = alias.name.partition(".")[0]
                yield alias.asname or top, alias.name if alias.asname else top
    elif isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").partition(".")[0] in _PACKAGES:
        for alias in node.names:
            yield alias.asname or alias.name, f"{node.module}.{alias.name}" if alias.name != "*" else str(node.module)


def _chains(tree: ast.AST) -> Iterator[str]:
    """Yield every longest chain of attributes that begins with a name."""
    inner: set[int] = set()
    for node in ast.walk(tree):  # outer nodes come first
        if isinstance(node, ast.Attribute) and id(node) not in inner:
            parts: list[str] = []
            part: ast.expr = node
            while isinstance(part, ast.Attribute):
                inner.add(id(part))
                parts.append(part.attr)
                part = part.value
            if isinstance(part, ast.Name):
                yield ".".join([part.id, *reversed(parts)])
