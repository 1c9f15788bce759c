"""What each module of the stand-in offers: the names of TensorFlow 2.21, and those of TF1 that older scripts use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import train
from ..train import dtypes, errors
from ..train.paths import as_bytes
from . import (
    arrays,
    file_changes,
    gfile,
    graph_functions,
    inspect_checkpoint,
    messages,
    preamble,
    saved_models,
    savers,
    sessions,
    state,
    symbols,
    variables,
)
from .flags import FlagsModule, run
from .modules import NAME, StandInModule
from .shapes import Dimension, TensorShape, TensorSpec

#: The release whose behaviour the stand-in has.
VERSION = "2.21.0"
#: Types at the top level in addition to the numeric ones; those of ml_dtypes are only in `dtypes.experimental`.
_OTHER_DTYPES = ("bool", "resource", "string", "variant")


def as_str(bytes_or_text: Any, encoding: str = "utf-8") -> str:
    """Return text, or bytes as text."""
    return as_bytes(bytes_or_text).decode(encoding)


def as_str_any(value: Any, encoding: str = "utf-8") -> str:
    """Return text, bytes as text, or the text of any other object."""
    return as_str(value, encoding) if isinstance(value, bytes) else str(value)


def _renamed(function: Callable[..., Any], *arguments: str) -> Callable[..., Any]:
    """Return the function with its first arguments under the names that they have in TF1."""

    def call(*positional: Any, **named: Any) -> Any:
        for name in arguments[len(positional) :]:
            if name in named:
                positional = (*positional, named.pop(name))
        return function(*positional, **named)

    call.__name__ = call.__qualname__ = function.__name__
    call.__doc__ = function.__doc__
    return call


READING: dict[str, Any] = {
    "get_checkpoint_state": train.get_checkpoint_state,
    "latest_checkpoint": train.latest_checkpoint,
    "list_variables": train.list_variables,
    "load_checkpoint": train.load_checkpoint,
    "load_variable": train.load_variable,
}
OLDER_READING = {"NewCheckpointReader": train.NewCheckpointReader, "checkpoint_exists": train.checkpoint_exists}
SAVING = {"Saver": savers.Saver, "import_meta_graph": savers.import_meta_graph}

FILES: dict[str, Any] = {
    "GFile": gfile.GFile,
    "copy": file_changes.copy,
    "exists": gfile.exists,
    "glob": gfile.glob,
    "isdir": gfile.isdir,
    "join": file_changes.join,
    "listdir": gfile.listdir,
    "makedirs": file_changes.makedirs,
    "mkdir": file_changes.mkdir,
    "remove": file_changes.remove,
    "rename": file_changes.rename,
    "rmtree": file_changes.rmtree,
    "stat": file_changes.stat,
    "walk": file_changes.walk,
}
FILES_V1: dict[str, Any] = {
    "Copy": _renamed(file_changes.copy, "oldpath", "newpath"),
    "DeleteRecursively": _renamed(file_changes.rmtree, "dirname"),
    "Exists": _renamed(gfile.exists, "filename"),
    "FastGFile": gfile.GFile,
    "GFile": gfile.GFile,
    "Glob": _renamed(gfile.glob, "filename"),
    "IsDirectory": _renamed(gfile.isdir, "dirname"),
    "ListDirectory": _renamed(gfile.listdir, "dirname"),
    "MakeDirs": _renamed(file_changes.makedirs, "dirname"),
    "MkDir": _renamed(file_changes.mkdir, "dirname"),
    "Open": gfile.GFile,
    "Remove": _renamed(file_changes.remove, "filename"),
    "Rename": _renamed(file_changes.rename, "oldname", "newname"),
    "Stat": _renamed(file_changes.stat, "filename"),
    "Walk": _renamed(file_changes.walk, "top", "in_order"),
}
FILE_IO: dict[str, Any] = {
    "FileIO": gfile.GFile,
    "copy": FILES_V1["Copy"],
    "create_dir": FILES_V1["MkDir"],
    "delete_file": FILES_V1["Remove"],
    "delete_recursively": FILES_V1["DeleteRecursively"],
    "file_exists": FILES_V1["Exists"],
    "get_matching_files": FILES_V1["Glob"],
    "is_directory": FILES_V1["IsDirectory"],
    "join": file_changes.join,
    "list_directory": FILES_V1["ListDirectory"],
    "read_file_to_string": file_changes.read_file_to_string,
    "recursive_create_dir": FILES_V1["MakeDirs"],
    "rename": FILES_V1["Rename"],
    "stat": FILES_V1["Stat"],
    "walk": FILES_V1["Walk"],
    "write_string_to_file": file_changes.write_string_to_file,
}
_numeric = {name: kind for name, kind in dtypes.DTYPES.items() if kind.is_numeric or name in _OTHER_DTYPES}
DTYPES: dict[str, Any] = {
    "DType": train.DType,
    "as_dtype": train.as_dtype,
    **_numeric,
    "half": dtypes.as_dtype("half"),
    "double": dtypes.as_dtype("double"),
}
ERRORS: dict[str, Any] = {**{kind.__name__: kind for kind in errors.CLASSES}, **errors.CODES}
COMPAT: dict[str, Any] = {
    "as_bytes": as_bytes,
    "as_str": as_str,
    "as_str_any": as_str_any,
    "as_text": as_str,
    "path_to_str": file_changes.path_to_str,
}

TOP: dict[str, Any] = {
    "__version__": VERSION,
    "Graph": symbols.Graph,
    "Operation": symbols.Operation,
    "Tensor": arrays.Tensor,
    "TensorShape": TensorShape,
    "TensorSpec": TensorSpec,
    "Variable": variables.Variable,
    "device": preamble.device,
    "executing_eagerly": state.executing_eagerly,
    "get_logger": preamble.get_logger,
    "group": graph_functions.group,
    "import_graph_def": graph_functions.import_graph_def,
    "is_tensor": arrays.is_tensor,
    "make_ndarray": messages.make_ndarray,
    "name_scope": graph_functions.name_scope,
    "no_op": graph_functions.no_op,
    "zeros_initializer": variables.zeros_initializer,
    **graph_functions.VALUES,
    **DTYPES,
}
#: Names that TF1 has at the top level; TensorFlow 2 has them in `tf.compat.v1`.
TOP_V1: dict[str, Any] = {
    "AUTO_REUSE": variables.AUTO_REUSE,
    "ConfigProto": preamble.Options,
    "Dimension": Dimension,
    "GPUOptions": preamble.Options,
    "GraphKeys": graph_functions.GraphKeys,
    "GraphOptions": preamble.Options,
    "InteractiveSession": sessions.InteractiveSession,
    "OptimizerOptions": preamble.Options,
    "RunMetadata": preamble.Options,
    "RunOptions": preamble.Options,
    "Session": sessions.Session,
    "add_to_collection": graph_functions.add_to_collection,
    "all_variables": graph_functions.global_variables,
    "assign": variables.assign,
    "disable_eager_execution": state.disable_eager_execution,
    "disable_resource_variables": preamble.nothing,
    "disable_v2_behavior": state.disable_eager_execution,
    "disable_v2_tensorshape": preamble.nothing,
    "enable_eager_execution": state.enable_eager_execution,
    "enable_resource_variables": preamble.nothing,
    "enable_v2_behavior": state.enable_eager_execution,
    "enable_v2_tensorshape": preamble.nothing,
    "get_collection": graph_functions.get_collection,
    "get_collection_ref": graph_functions.get_collection_ref,
    "get_default_graph": graph_functions.get_default_graph,
    "get_default_session": graph_functions.get_default_session,
    "get_variable": variables.get_variable,
    "get_variable_scope": variables.get_variable_scope,
    "global_variables": graph_functions.global_variables,
    "global_variables_initializer": graph_functions.global_variables_initializer,
    "initialize_all_variables": graph_functions.global_variables_initializer,
    "is_variable_initialized": graph_functions.is_variable_initialized,
    "local_variables": graph_functions.local_variables,
    "local_variables_initializer": graph_functions.local_variables_initializer,
    "model_variables": graph_functions.model_variables,
    "placeholder": graph_functions.placeholder,
    "reset_default_graph": symbols.reset_default_graph,
    "set_random_seed": preamble.nothing,
    "tables_initializer": graph_functions.tables_initializer,
    "trainable_variables": graph_functions.trainable_variables,
    "variable_scope": variables.variable_scope,
    "variables_initializer": graph_functions.variables_initializer,
}
_TESTS: dict[str, Any] = {
    "gpu_device_name": preamble.no_name,
    "is_built_with_cuda": preamble.no,
    "is_built_with_gpu_support": preamble.no,
    "is_gpu_available": preamble.no,
}
_TAGS = {"SERVING": saved_models.SERVE, "TRAINING": "train", "GPU": "gpu", "TPU": "tpu"}
_LOADER = {
    "load": saved_models.load_into_session,
    "maybe_saved_model_directory": saved_models.contains_saved_model,
}

#: Modules that are the same in TensorFlow 2, in `tf.compat.v1` and in `tf.compat.v2`.
_SHARED: dict[str, dict[str, Any]] = {
    "dtypes": {**DTYPES, "cast": graph_functions.VALUES["cast"]},
    "dtypes.experimental": {name: kind for name, kind in dtypes.DTYPES.items() if name not in DTYPES},
    "errors": ERRORS,
    "io": {},
    "io.gfile": FILES,
    "random": {"set_seed": preamble.nothing},
    "test": _TESTS,
    "version": {"VERSION": VERSION},
    **preamble.CONFIG,
}
_ONLY_V1: dict[str, dict[str, Any]] = {
    "flags": {},
    "app": {},
    "gfile": FILES_V1,
    "logging": preamble.LOGGING,
    "initializers": {"zeros": variables.zeros_initializer},
}


def list_contents() -> dict[str, dict[str, Any]]:
    """Return the contents of each module by its name below `tensorflow`."""
    graph_messages = {
        "GraphDef": messages.contents("core.framework.graph_pb2")["GraphDef"],
        "MetaGraphDef": messages.contents("core.protobuf.meta_graph_pb2")["MetaGraphDef"],
        "NodeDef": messages.contents("core.framework.node_def_pb2")["NodeDef"],
    }
    top_v1 = {**TOP, **TOP_V1, **graph_messages}
    training_v1 = {**READING, **OLDER_READING, **SAVING}
    saved_v1: dict[str, dict[str, Any]] = {
        "saved_model": {
            "contains_saved_model": saved_models.contains_saved_model,
            "load": saved_models.load_into_session,
            "maybe_saved_model_directory": saved_models.contains_saved_model,
        },
        "saved_model.loader": _LOADER,
        "saved_model.tag_constants": _TAGS,
        "saved_model.signature_constants": {"DEFAULT_SERVING_SIGNATURE_DEF_KEY": "serving_default"},
    }
    saved_v2: dict[str, dict[str, Any]] = {
        "saved_model": {"contains_saved_model": saved_models.contains_saved_model, "load": saved_models.load},
    }
    reader = {"NewCheckpointReader": train.NewCheckpointReader}
    contents: dict[str, dict[str, Any]] = {
        # The top level serves scripts of TF1 too, which never mention `compat.v1`.
        "": top_v1,
        "train": training_v1,
        **_SHARED,
        **_ONLY_V1,
        **saved_v1,
        **saved_v2,
        "compat": COMPAT,
        "compat.v1": top_v1,
        "compat.v1.compat": COMPAT,
        "compat.v1.train": training_v1,
        **{f"compat.v1.{name}": offered for name, offered in {**_SHARED, **_ONLY_V1, **saved_v1}.items()},
        "compat.v2": TOP,
        "compat.v2.compat": COMPAT,
        "compat.v2.train": READING,
        **{f"compat.v2.{name}": offered for name, offered in {**_SHARED, **saved_v2}.items()},
        "contrib": {},
        "contrib.framework": READING,
        "contrib.framework.python": {},
        "contrib.framework.python.framework": {},
        "contrib.framework.python.framework.checkpoint_utils": READING,
        "core": {},
        "core.framework": {},
        "core.protobuf": {},
        "core.util": {},
        "pywrap_tensorflow": reader,
        "python": {},
        "python.client": {},
        "python.client.session": {"InteractiveSession": sessions.InteractiveSession, "Session": sessions.Session},
        "python.framework": {},
        "python.framework.dtypes": {**DTYPES, "QUANTIZED_DTYPES": _quantized()},
        "python.framework.errors": ERRORS,
        "python.framework.errors_impl": ERRORS,
        "python.framework.meta_graph": {"read_meta_graph_file": savers.read_meta_graph_file},
        "python.framework.ops": {
            key: top_v1[key]
            for key in ("Graph", "GraphKeys", "Operation", "Tensor", "get_collection", "get_default_graph",
                        "get_default_session", "reset_default_graph")
        },
        "python.framework.tensor_shape": {"Dimension": Dimension, "TensorShape": TensorShape},
        "python.framework.tensor_util": {
            "MakeNdarray": messages.make_ndarray,
            "constant_value": arrays.constant_value,
            "is_tensor": arrays.is_tensor,
        },
        "python.lib": {},
        "python.lib.io": {},
        "python.lib.io.file_io": FILE_IO,
        "python.platform": {},
        "python.platform.app": {},
        "python.platform.flags": {},
        "python.platform.gfile": {**FILES_V1, **FILES},
        "python.platform.tf_logging": preamble.LOGGING,
        "python.pywrap_tensorflow": reader,
        "python.saved_model": {},
        "python.saved_model.loader": _LOADER,
        "python.saved_model.tag_constants": _TAGS,
        "python.tools": {},
        "python.tools.inspect_checkpoint": {
            "print_tensors_in_checkpoint_file": inspect_checkpoint.print_tensors_in_checkpoint_file
        },
        "python.training": {},
        "python.training.checkpoint_management": {
            name: {**READING, **OLDER_READING}[name]
            for name in ("checkpoint_exists", "get_checkpoint_state", "latest_checkpoint")
        },
        "python.training.checkpoint_utils": READING,
        "python.training.py_checkpoint_reader": reader,
        "python.training.saver": {**SAVING, "latest_checkpoint": train.latest_checkpoint},
        "python.util": {},
        "python.util.compat": COMPAT,
        **{name: messages.contents(name) for name in (*messages.MODULES, messages.TYPES_MODULE)},
    }  # fmt: skip
    return contents


def build_modules() -> dict[str, StandInModule]:
    """Return all modules by full name; each is also an attribute of its parent."""
    modules: dict[str, StandInModule] = {}
    for name, offered in list_contents().items():
        full_name = f"{NAME}.{name}" if name else NAME
        kind = FlagsModule if name.endswith("flags") else StandInModule
        modules[full_name] = kind(full_name, {"run": run, "flags": None} if name.endswith("app") else offered)
    for name, module in modules.items():
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(modules[parent], last, module)
        if last == "app":
            setattr(module, "flags", modules[f"{parent}.flags"])  # noqa: B010 a module's attribute
    return modules


def _quantized() -> frozenset[Any]:
    return frozenset(kind for kind in dtypes.DTYPES.values() if kind.is_quantized)
