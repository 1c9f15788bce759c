"""`tf.compat.v1.train.Saver`: restoring the variables of a session from a checkpoint, and saving them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from .. import protos
from .._typing import Array
from ..errors import CorruptionError
from ..graphs.graph import Graph as StoredGraph
from ..graphs.meta_graph import MetaGraph, decode_meta_graph, read_message
from ..limits import DEFAULT_LIMITS
from ..train.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, as_tensorflow
from ..train.paths import as_text, resolve_path
from ..train.reader import CheckpointReader, NewCheckpointReader, read_part
from ..train.state import checkpoint_exists
from ..writing.writer import Writer
from .file_changes import makedirs
from .sessions import Session
from .symbols import GLOBAL, Graph, Imported, default_graph
from .variables import Variable

_SAVES = {"SaveV2": 3, "SaveSlices": 3}
_PASS_THROUGH = ("Identity", "ReadVariableOp", "Snapshot")
_COLLECTIONS = ("variables", "trainable_variables", "model_variables", "local_variables", "metric_variables",
    "moving_average_variables")  # fmt: skip
_MOST_LINKS = 100


class Saver:
    """Restores variables by name, and writes checkpoints in the V2 format, without a `.meta` file."""

    def __init__(
        self,
        var_list: Any = None,
        reshape: bool = False,
        sharded: bool = False,
        max_to_keep: int | None = 5,
        **unused: object,
    ) -> None:
        """Save all variables of the default graph, or those of a list, or of a dict by name in the checkpoint."""
        if var_list is None:
            graph = default_graph()
            var_list = [*graph.get_collection(GLOBAL), *graph.get_collection("saveable_objects")]
            if not var_list:
                raise ValueError("No variables to save")
        self._reshape = reshape
        self._variables = _by_name(var_list)
        self._saved: list[str] = []

    @classmethod
    def of_import(cls, variables: Mapping[str, Variable]) -> Saver:
        """Return the saver of an imported graph, which knows the names in the checkpoint."""
        saver = cls.__new__(cls)
        saver._reshape, saver._variables, saver._saved = False, dict(variables), []
        return saver

    @property
    def last_checkpoints(self) -> list[str]:
        """The prefixes that this object wrote, oldest first."""
        return list(self._saved)

    def restore(self, sess: Session, save_path: Any) -> None:
        """Give variables the values of a checkpoint, which are read when they are needed.

        Raises `ValueError` if there is no checkpoint, `NotFoundError` if it lacks a variable, and
        `InvalidArgumentError` if a shape differs.
        """
        if save_path is None:
            raise ValueError("Can't load save_path when it is None.")
        path = as_text(save_path, or_path=True)
        if not checkpoint_exists(path):
            raise ValueError(f"The passed save_path is not a valid checkpoint: {path}")
        reader = NewCheckpointReader(path)
        shapes = reader.get_variable_to_shape_map()
        values: list[tuple[Variable, Callable[[], Array]]] = []
        for key, variable in self._variables.items():
            name = (
                key
                if variable.described is None or variable.described.part_shape is None
                else variable.described.full_name
            )
            if name not in shapes:
                raise NotFoundError(None, None, f"Key {name} not found in checkpoint {path}", path=path, tensor=name)
            values.append((variable, self._reading(reader, name, variable, shapes[name])))
        for variable, read in values:
            sess.set_lazy_value(variable, read)

    def _reading(
        self, reader: CheckpointReader, name: str, variable: Variable, shape: list[int]
    ) -> Callable[[], Array]:
        described = variable.described
        if described is not None and described.part_offset is not None and described.part_shape is not None:
            ranks = {len(described.part_offset), len(described.part_shape), len(shape)}
            if list(described.full_shape or ()) != shape or len(ranks) != 1:
                raise _other_shape(name, shape, described.full_shape)
            index = tuple(
                slice(start, start + size)
                for start, size in zip(described.part_offset, described.part_shape, strict=True)
            )
            return lambda: read_part(reader, name, index)
        if not variable.shape.is_compatible_with(shape):
            if not self._reshape or variable.shape.num_elements() != int(np.prod(shape)):
                raise _other_shape(name, shape, variable.shape.as_list())
            return lambda: np.asarray(reader.get_tensor(name)).reshape(variable.shape.as_list())
        return lambda: np.asarray(reader.get_tensor(name))

    def save(
        self,
        sess: Session,
        save_path: Any,
        global_step: Any = None,
        latest_filename: str | None = None,
        meta_graph_suffix: str = "meta",
        write_meta_graph: bool = True,
        write_state: bool = True,
        **unused: object,
    ) -> str:
        """Write the values of a session as a V2 checkpoint, and return its prefix.

        There is no `.meta` file. Older checkpoints stay; the state file names those that this object wrote.
        """
        path = as_text(save_path, or_path=True)
        if global_step is not None:
            step = global_step if isinstance(global_step, int | np.integer) else np.asarray(sess.run(global_step))
            path = f"{path}-{int(step)}"
        folder = os.path.dirname(path)
        if folder:
            makedirs(folder)
        values = {key: sess.value_of(variable) for key, variable in self._variables.items()}
        if any(
            variable.described is not None and variable.described.part_shape for variable in self._variables.values()
        ):
            raise FailedPreconditionError(None, None, f"{path}; partitioned variables are not written", path=path)
        with (
            as_tensorflow(),
            Writer(
                path,
                checkpoint_state=("keep" if self._saved else True) if write_state else False,
                durable=False,
                overwrite=True,
            ) as writer,
        ):
            for name in sorted(values):
                writer.add(name, values[name], tf_dtype=self._variables[name].dtype.base_dtype.name)
        self._saved.append(path)
        return path


def import_meta_graph(
    meta_graph_or_file: Any, clear_devices: bool = False, import_scope: str | None = None, **unused: object
) -> Saver | None:
    """Add the graph of a `.meta` file or a MetaGraphDef to the default graph, and return its saver.

    Returns None if the graph has no variables to save. Raises `OSError` if the file does not exist.
    """
    graph = default_graph()
    imported = add_meta_graph(graph, meta_graph_or_file, import_scope)
    variables = saved_variables(graph, imported)
    return Saver.of_import(variables) if variables else None


def add_meta_graph(graph: Graph, source: Any, scope: str | None) -> Imported:
    """Add a meta graph, and its variables to the collections."""
    path = "a MetaGraphDef"
    if hasattr(source, "SerializeToString"):
        message = protos.parse("MetaGraphDef", source.SerializeToString())
    else:
        path = as_text(source, or_path=True)
        message = read_meta_graph_file(path)
    with as_tensorflow():
        return add_meta(graph, decode_meta_graph(message), message, path, scope)


def read_meta_graph_file(filename: Any) -> Any:
    """Return the MetaGraphDef message in a file; `OSError` if the file does not exist."""
    path = as_text(filename, or_path=True)
    storage, place = resolve_path(path)
    if not storage.is_file(place):
        raise OSError(f"File {path} does not exist.")
    with as_tensorflow():
        file = storage.open(place)
        try:
            return read_message(file, "MetaGraphDef", DEFAULT_LIMITS)
        finally:
            file.close()


def add_meta(graph: Graph, meta: MetaGraph, message: Any, path: str, scope: str | None) -> Imported:
    """Add a decoded meta graph, and its variables to the collections."""
    prefix = f"{scope.rstrip('/')}/" if scope else ""
    clash = next((node.name for node in meta.graph if graph.has_operation(prefix + node.name)), None)
    if clash is not None:
        raise ValueError(f"the default graph already has an operation {prefix + clash}; import into an empty graph")
    imported = Imported(meta, message, path, prefix)
    graph.imported.append(imported)
    for described in meta.variables:
        if described.name not in meta.graph:
            raise CorruptionError(f"the variable {described.name} has no node", path=path)
        variable = Variable.imported(graph, prefix, meta.graph[described.name], described)
        for collection in described.collections:
            graph.add_to_collection(collection, variable)
    for name, values in meta.collections.items():
        if name not in _COLLECTIONS:
            for value in values:
                graph.add_to_collection(name, _element(graph, prefix, value))
    return imported


def saved_variables(graph: Graph, imported: Imported) -> dict[str, Variable]:
    """Return the variables that the saver of a meta graph restores, by their names in the checkpoint."""
    saver = imported.message.saver_def
    scope = saver.restore_op_name.rpartition("/")[0]
    found: dict[str, Variable] = {}
    for node in imported.meta.graph:
        is_complete = node.op in _SAVES and len(node.inputs) >= _SAVES[node.op]
        if is_complete and node.name.rpartition("/")[0] == scope and saver.restore_op_name:
            names = _strings(imported.meta.graph, node.inputs[1])
            for name, source in zip(names, node.inputs[_SAVES[node.op] :], strict=False):
                variable = graph.variables.get(imported.prefix + _trace_back(imported.meta.graph, source))
                if variable is not None:
                    found[_unique_key(found, name, variable)] = variable
    if found:
        return found
    return _by_name(
        variable for name, variable in graph.variables.items()
        if name.startswith(imported.prefix) and variable in graph.get_collection(GLOBAL)
    )  # fmt: skip


def _unique_key(found: Mapping[str, Variable], name: str, variable: Variable) -> str:
    """Return the name in the checkpoint; the parts of a partitioned variable share theirs, so a part's own is added."""
    return name if name not in found else f"{name}/{variable.op.name}"


def _by_name(variables: Any) -> dict[str, Variable]:
    if isinstance(variables, Mapping):
        return {str(name): variable for name, variable in variables.items()}
    found: dict[str, Variable] = {}
    for variable in variables:
        if not isinstance(variable, Variable):
            raise TypeError(f"Can only save/restore ResourceVariables when eager execution is enabled: {variable!r}")
        name = variable.full_name
        if name in found and variable.described is None:
            raise ValueError(f"At least two variables have the same name: {name}")
        found[_unique_key(found, name, variable)] = variable
    return found


def _element(graph: Graph, prefix: str, value: object) -> Any:
    """Return the tensor or operation that a collection names, or its value."""
    if isinstance(value, str):
        try:
            return graph.as_graph_element(prefix + value)
        except (KeyError, ValueError):
            return value
    return value


def _strings(graph: StoredGraph, name: str) -> list[str]:
    source = _trace_back(graph, name)
    value = graph[source].attributes.get("value") if source in graph else None
    return [
        item.decode("utf-8", "surrogateescape")
        for item in np.asarray(value).ravel().tolist()
        if isinstance(item, bytes)
    ]


def _trace_back(graph: StoredGraph, name: str) -> str:
    """Return the node that a tensor comes from, through nodes that pass it on."""
    source = name.partition(":")[0]
    for _ in range(_MOST_LINKS):
        if source not in graph or graph[source].op not in _PASS_THROUGH or not graph[source].inputs:
            break
        source = graph[source].inputs[0].partition(":")[0]
    return source


def _other_shape(name: str, stored: Iterable[int], expected: Any) -> InvalidArgumentError:
    return InvalidArgumentError(
        None,
        None,
        f"{name} has the shape {list(stored)} in the checkpoint, but the variable {list(expected or ())}",
        tensor=name,
    )
