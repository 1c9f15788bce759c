"""`tf.saved_model.load`: the variables and objects of a SavedModel, and its signatures, which an engine runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from .._typing import Array, PathLike
from ..checkpoint import Checkpoint
from ..checkpoint import open as open_checkpoint
from ..errors import CorruptionError
from ..graphs.meta_graph import MetaGraph, Signature, SignatureTensor, decode_meta_graph, read_message
from ..graphs.saved_model import FILE_NAME, INIT_SIGNATURE, VARIABLES
from ..graphs.saved_objects import SavedObjects
from ..limits import DEFAULT_LIMITS
from ..storage.base import Storage
from ..train.dtypes import DType, as_dtype
from ..train.errors import as_tensorflow
from ..train.paths import as_text, resolve_path
from .arrays import Tensor, convert_to_tensor
from .engines import find_engine
from .errors import NotComputedError
from .savers import Saver, add_meta, saved_variables
from .sessions import Session
from .shapes import TensorShape, TensorSpec, from_stored

SERVE = "serve"


class LoadedVariable:
    """A variable of a SavedModel; its value is read when it is needed."""

    is_symbolic = True

    def __init__(self, name: str, dtype: str, shape: tuple[int, ...] | None, trainable: bool, read: Callable[[], Any]):
        self.name = f"{name}:0"
        self.trainable = trainable
        self._dtype, self._shape, self._read = as_dtype(dtype), from_stored(shape), read

    @property
    def dtype(self) -> DType:
        """The data type."""
        return self._dtype

    @property
    def shape(self) -> TensorShape:
        """The shape."""
        return self._shape

    def numpy(self) -> Any:
        """Return the value as an array, or as a NumPy scalar."""
        return self._read()

    def value(self) -> Tensor:
        """Return the value as a tensor."""
        return Tensor(np.asarray(self._read()), self._dtype)

    read_value = value

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self._read(), dtype=dtype)

    def __repr__(self) -> str:
        return f"<tf.Variable {self.name!r} shape={self.shape} dtype={self._dtype.name}, numpy={self.numpy()!r}>"


class LoadedSignature:
    """A signature; calling it with arrays by name returns tensors by name."""

    def __init__(
        self, name: str, signature: Signature, run: Callable[[list[str], dict[str, Any]], list[Array]]
    ) -> None:
        self.name = name
        self._signature = signature
        self._run = run

    @property
    def structured_input_signature(self) -> tuple[tuple[()], dict[str, TensorSpec]]:
        """No positional arguments, and the arguments by name."""
        return (), _specifications(self._signature.inputs)

    @property
    def structured_outputs(self) -> dict[str, TensorSpec]:
        """The outputs by name."""
        return _specifications(self._signature.outputs)

    def __call__(self, *args: Any, **inputs: Any) -> dict[str, Tensor]:
        """Run the graph in the installed engine."""
        known = self._signature.inputs
        if args and (len(args) != 1 or len(known) != 1 or inputs):
            raise TypeError(f"signature {self.name} takes keyword arguments only: {', '.join(known)}")
        given = dict.fromkeys(known, args[0]) if args else inputs
        if set(given) != set(known):
            raise TypeError(f"signature {self.name} takes the arguments {', '.join(known) or 'none'}")
        feeds = {known[name].name: _feed(known[name].dtype, value) for name, value in given.items()}
        outputs = self._signature.outputs
        values = self._run([output.name for output in outputs.values()], feeds)
        return {
            name: Tensor(np.asarray(value), as_dtype(output.dtype))
            for (name, output), value in zip(outputs.items(), values, strict=True)
        }


class LoadedObject:
    """An object of a SavedModel; its children are attributes, and items if it is a list or a dict."""

    def __init__(self, model: _Model, number: int) -> None:
        self._model, self._number = model, number

    def __getattr__(self, name: str) -> Any:
        children = self._model.objects.children[self._number]
        if name.startswith("__") or name not in children:
            raise AttributeError(f"the object of the SavedModel has no child {name!r}; it has {', '.join(children)}")
        return self._model.object(children[name])

    def __getitem__(self, key: Any) -> Any:
        children = self._model.objects.children[self._number]
        if isinstance(key, int):
            key = str(key + len(self) if key < 0 else key)
        if key not in children:
            raise (IndexError if key.lstrip("-").isdecimal() else KeyError)(key)
        return self._model.object(children[key])

    def __len__(self) -> int:
        return sum(name.isdecimal() for name in self._model.objects.children[self._number])

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def __bool__(self) -> bool:
        return True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotComputedError("a call of the model", advice="call one of its signatures")

    @property
    def signatures(self) -> Mapping[str, LoadedSignature]:
        """The signatures by name."""
        return self._model.signatures()


class LoadedGraph:
    """A SavedModel of TensorFlow 1, which has no objects."""

    def __init__(self, model: _Model, variables: list[LoadedVariable]) -> None:
        self._model, self.variables = model, variables

    @property
    def signatures(self) -> Mapping[str, LoadedSignature]:
        """The signatures by name."""
        return self._model.signatures()


class _Model:
    def __init__(self, storage: Storage, folder: str, path: str, meta: MetaGraph) -> None:
        self._path, self._meta = path, meta
        self._prefix = storage.join(folder, *VARIABLES)
        self._checkpoint: Checkpoint | None = None
        self._run: Any = None
        self._keys: dict[int, str] | None = None
        self._loaded: dict[int, Any] = {}

    @property
    def objects(self) -> SavedObjects:
        assert self._meta.objects is not None, "only models with objects have a root"
        return self._meta.objects

    def checkpoint(self) -> Checkpoint:
        if self._checkpoint is None:
            with as_tensorflow():
                self._checkpoint = open_checkpoint(f"{self._path.rstrip('/')}/{'/'.join(VARIABLES)}", writable=True)
        return self._checkpoint

    def read(self, key: str) -> Any:
        with as_tensorflow():
            array = self.checkpoint()[key]
        return array[()] if array.ndim == 0 else array

    def object(self, number: int) -> Any:
        if number not in self._loaded:
            described = self.objects.variables.get(number)
            self._loaded[number] = LoadedObject(self, number) if described is None else self._variable(number)
        return self._loaded[number]

    def _variable(self, number: int) -> LoadedVariable:
        described = self.objects.variables[number]
        if self._keys is None:
            graph = self.checkpoint().object_graph
            if graph is None:
                raise CorruptionError("the checkpoint of the SavedModel has no object graph", path=self._path)
            self._keys = self.objects.checkpoint_keys(graph)
        key = self._keys.get(number)
        if key is None:
            raise CorruptionError(f"the variable {described.name} is not in the checkpoint", path=self._path)
        return LoadedVariable(
            described.name, described.dtype, described.shape, described.trainable, lambda: self.read(key)
        )

    def graph_variables(self) -> list[LoadedVariable]:
        """Return the variables in the collection of all variables."""
        return [
            LoadedVariable(
                variable.name, str(node.attributes["dtype"]), node.attributes.get("shape"),  # type: ignore[arg-type]
                variable.trainable, lambda name=variable.full_name: self.read(name),  # type: ignore[misc]
            )
            for variable in self._meta.variables
            if "variables" in variable.collections and (node := self._meta.graph[variable.name])
        ]  # fmt: skip

    def signatures(self) -> dict[str, LoadedSignature]:
        return {
            name: LoadedSignature(name, signature, self.run)
            for name, signature in self._meta.signatures.items()
            if name != INIT_SIGNATURE
        }

    def run(self, names: list[str], feeds: dict[str, Any]) -> list[Array]:
        if self._run is None:
            self._run = find_engine("running a signature").run_saved_model(self._path, self._meta.tags)
        values: list[Array] = self._run(names, feeds)
        return values


def load(export_dir: PathLike, tags: Any = None, options: object = None) -> Any:
    """Return a SavedModel: the objects of TensorFlow 2, or the variables and signatures of TensorFlow 1.

    Raises `OSError` if there is none, and `ValueError` if none of its graphs has the tags.
    """
    storage, folder, path = _locate(export_dir)
    metas, _ = _read(storage, folder, path)
    if tags is None and len(metas) > 1:
        raise ValueError(f"the SavedModel {path} has {len(metas)} graphs, so `tags` must be passed: {_tags(metas)}")
    number = 0 if tags is None else _find(metas, tags)
    if number is None:
        raise ValueError(f"no graph of the SavedModel {path} has the tags {tags!r}; it has {_tags(metas)}")
    meta = metas[number]
    model = _Model(storage, folder, path, meta)
    return LoadedGraph(model, model.graph_variables()) if meta.objects is None else LoadedObject(model, 0)


def load_into_session(
    sess: Session, tags: Any, export_dir: PathLike, import_scope: str | None = None, **unused: object
) -> Any:
    """Add the graph of a SavedModel to a session's graph, restore its variables, and return its MetaGraphDef."""
    storage, folder, path = _locate(export_dir)
    metas, messages = _read(storage, folder, path)
    number = _find(metas, tags)
    if number is None:
        raise RuntimeError(f"no graph of the SavedModel {path} has the tags {tags!r}; it has {_tags(metas)}")
    message = messages[number]
    imported = add_meta(sess.graph, metas[number], message, path, import_scope)
    variables = saved_variables(sess.graph, imported)
    if variables:
        Saver.of_import(variables).restore(sess, f"{path.rstrip('/')}/{'/'.join(VARIABLES)}")
    return message


def contains_saved_model(export_dir: PathLike) -> bool:
    """Return whether a folder has a SavedModel file."""
    storage, folder = resolve_path(as_text(export_dir, or_path=True))
    return storage.is_file(storage.join(folder, FILE_NAME))


def _locate(export_dir: PathLike) -> tuple[Storage, str, str]:
    path = as_text(export_dir, or_path=True)
    storage, folder = resolve_path(path)
    if not storage.is_file(storage.join(folder, FILE_NAME)):
        raise OSError(f"SavedModel file does not exist at: {path}/{FILE_NAME}")
    return storage, folder, path


def _read(storage: Storage, folder: str, path: str) -> tuple[list[MetaGraph], Any]:
    """Return the graphs of a SavedModel, and their messages."""
    with as_tensorflow():
        file = storage.open(storage.join(folder, FILE_NAME))
        try:
            message = read_message(file, "SavedModel", DEFAULT_LIMITS)
        finally:
            file.close()
        if not message.meta_graphs:
            raise CorruptionError("the SavedModel has no meta graph", path=path)
        return [decode_meta_graph(item) for item in message.meta_graphs], message.meta_graphs


def _find(metas: list[MetaGraph], tags: Any) -> int | None:
    """Return the number of the graph with exactly these tags, or None."""
    wanted = {tags} if isinstance(tags, str) else set(tags)
    return next((number for number, meta in enumerate(metas) if set(meta.tags) == wanted), None)


def _tags(metas: list[MetaGraph]) -> str:
    return "; ".join(", ".join(meta.tags) or "no tags" for meta in metas)


def _specifications(tensors: Mapping[str, SignatureTensor]) -> dict[str, TensorSpec]:
    return {name: TensorSpec(from_stored(item.shape), as_dtype(item.dtype), name) for name, item in tensors.items()}


def _feed(dtype: str, value: Any) -> Array:
    return np.asarray(convert_to_tensor(value, None if isinstance(value, Tensor | np.ndarray) else dtype))
