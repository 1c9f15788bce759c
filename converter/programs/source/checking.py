"""What source may contain: definitions, assignments and calls of torch, and nothing that reaches outside it.

The text is parsed and never executed here. What it computes is checked afterwards, in a process of its own.
"""

from __future__ import annotations

import ast

from converter.errors import GraphError

#: Modules that may be imported, with the names that may be taken from them; None for the module itself.
_IMPORTS = {
    ("torch", None),
    ("torch.nn.functional", None),
    ("torch", "nn"),
    ("safetensors.torch", "load_file"),
}
_FUNCTIONS = {"super", "max", "min", "int", "float", "load_file"}
_NODES = (
    ast.Module, ast.Import, ast.ImportFrom, ast.alias, ast.ClassDef, ast.FunctionDef, ast.arguments, ast.arg,
    ast.Expr, ast.Assign, ast.AugAssign, ast.Return, ast.For, ast.If, ast.Call, ast.keyword, ast.Attribute, ast.Name,
    ast.Load, ast.Store, ast.Constant, ast.Tuple, ast.List, ast.Dict, ast.Subscript, ast.Slice, ast.BinOp,
    ast.UnaryOp, ast.Compare, ast.operator, ast.unaryop, ast.cmpop,
)  # fmt: skip
#: Attributes of torch that read or write files, run code or load libraries.
_FORBIDDEN = {
    "classes", "compile", "cuda", "distributed", "fx", "hub", "jit", "library", "load", "load_library",
    "multiprocessing", "package", "save", "serialization", "storage", "utils", "export", "onnx", "from_file",
}  # fmt: skip


def check_text(text: str) -> None:
    """Raise `GraphError` unless a module imports torch only and calls nothing but torch and itself."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise GraphError(f"the source is not valid Python: {error}") from error
    own = {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    for node in ast.walk(tree):
        problem = _find_problem(node, own)
        if problem is not None:
            raise GraphError(f"the source contains {problem}, line {getattr(node, 'lineno', 1)}")


def _find_problem(node: ast.AST, own: set[str]) -> str | None:
    if not isinstance(node, _NODES):
        return f"a {type(node).__name__}"
    if isinstance(node, ast.Import) and any((alias.name, None) not in _IMPORTS for alias in node.names):
        return "an import of a module other than torch"
    if isinstance(node, ast.ImportFrom) and (
        node.level or any((node.module, alias.name) not in _IMPORTS for alias in node.names)
    ):
        return "an import of a module other than torch"
    if isinstance(node, ast.FunctionDef) and node.decorator_list:
        return "a decorator"
    if isinstance(node, ast.Attribute):
        is_operation = ast.unparse(node.value) == "torch.ops.aten" and not node.attr.startswith("__")
        if node.attr.startswith("_") and node.attr != "__init__" and not is_operation:
            return f"the attribute {node.attr}"
        if node.attr in _FORBIDDEN and ast.unparse(node.value).partition(".")[0] == "torch":
            return f"torch.{node.attr}"
    if isinstance(node, ast.Name) and node.id.startswith("_"):
        return f"the name {node.id}"
    if isinstance(node, ast.Call):
        called = node.func
        if isinstance(called, ast.Name) and called.id not in _FUNCTIONS | own:
            return f"a call of {called.id}"
        if not isinstance(called, ast.Name | ast.Attribute):
            return "a call of a computed function"
    return None
