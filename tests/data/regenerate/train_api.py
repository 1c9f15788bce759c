"""How TensorFlow's functions for reading checkpoints behave, as expressions and what they give.

An expression is Python source; `tf`, `np` and `pathlib` are what it may use, and tests/data/tensorflow is the working
directory it expects.
An answer says the type and the value, or the class, its bases and the message of what was raised.
"""

from __future__ import annotations

import inspect
import os
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from regenerate.recording import Record, digest, write_json
from regenerate.values import DTYPES, STORABLE

LOAD = "tf.train.load_checkpoint"

OPENING = [
    f"{LOAD}('dtypes/ckpt')",
    f"{LOAD}(b'dtypes/ckpt')",
    f"{LOAD}(pathlib.Path('dtypes/ckpt'))",
    f"{LOAD}('dtypes/../dtypes//ckpt')",
    f"{LOAD}('manager/relative').get_tensor('step/.ATTRIBUTES/VARIABLE_VALUE')",
    f"{LOAD}('manager/relative/').get_tensor('step/.ATTRIBUTES/VARIABLE_VALUE')",
    f"{LOAD}('manager/relative/ckpt-3').get_tensor('step/.ATTRIBUTES/VARIABLE_VALUE')",
    f"{LOAD}(pathlib.Path('manager/relative')).get_tensor('step/.ATTRIBUTES/VARIABLE_VALUE')",
    f"{LOAD}('manager/absolute')",
    f"{LOAD}('manager')",
    f"{LOAD}('nowhere')",
    f"{LOAD}('dtypes/nothing')",
    f"{LOAD}('dtypes')",
    f"{LOAD}('')",
    f"{LOAD}(None)",
    f"{LOAD}(5)",
    f"{LOAD}('dtypes/ckpt.index').get_variable_to_shape_map()",
    f"{LOAD}('dtypes/ckpt.index').get_tensor('float32/scalar')",
    f"{LOAD}('dtypes/ckpt.data-00000-of-00001')",
    f"{LOAD}('dtypes/expected.json')",
    f"{LOAD}('dtypes/ck*').get_variable_to_shape_map()",
    f"{LOAD}('dtypes/ckp')",
    f"{LOAD}('dtypes/ckpt/')",
    f"{LOAD}('v1/types')",
    f"{LOAD}('v1/spread-?????-of-00003')",
    f"{LOAD}('v1/spread-00000-of-00003').get_variable_to_shape_map()",
    f"{LOAD}('v1/spread')",
    f"{LOAD}('v1/saver').get_variable_to_shape_map()",
    f"{LOAD}('sharded-saver/v1').get_variable_to_shape_map()",
    f"{LOAD}('sharded-saver/v2').get_variable_to_shape_map()",
    f"{LOAD}('savedmodel-tf2')",
    f"{LOAD}('savedmodel-tf2/variables')",
    f"{LOAD}('savedmodel-tf2/variables/variables')",
    "tf.compat.v1.train.NewCheckpointReader('sharded/three')",
    "tf.compat.v1.train.NewCheckpointReader(b'sharded/three').has_tensor('text')",
    "tf.compat.v1.train.NewCheckpointReader('sharded')",
    "tf.compat.v1.train.NewCheckpointReader('manager/relative')",
    "tf.compat.v1.train.NewCheckpointReader('nowhere/ckpt')",
    "tf.compat.v1.train.NewCheckpointReader(pathlib.Path('sharded/three'))",
    "tf.compat.v1.train.NewCheckpointReader(None)",
    "tf.compat.v1.train.NewCheckpointReader('dtypes/expected.json')",
    "tf.train.NewCheckpointReader('sharded/three')",
    "tf.compat.v1.train.load_checkpoint is tf.train.load_checkpoint",
    "tf.compat.v1.train.list_variables is tf.train.list_variables",
    "tf.compat.v1.train.load_variable is tf.train.load_variable",
    "tf.compat.v1.train.latest_checkpoint is tf.train.latest_checkpoint",
    "tf.compat.v1.train.get_checkpoint_state is tf.train.get_checkpoint_state",
    "tf.compat.v1.train.checkpoint_exists('sharded/three')",
    "tf.pywrap_tensorflow",
    "tf.contrib",
]

THREE = f"{LOAD}('sharded/three')"

READING = [
    f"{THREE}.get_tensor('b/kernel')",
    f"{THREE}.get_tensor(b'b/kernel')",
    f"{THREE}.get_tensor(np.str_('b/kernel'))",
    f"{THREE}.get_tensor(tensor_str='b/kernel')",
    f"{THREE}.get_tensor('split')",
    f"{THREE}.get_tensor('text')",
    f"{THREE}.get_tensor('counter')",
    f"{THREE}.get_tensor('counter:0')",
    f"{THREE}.get_tensor('missing')",
    f"{THREE}.get_tensor('')",
    f"{THREE}.get_tensor(None)",
    f"{THREE}.get_tensor(5)",
    f"{THREE}.get_tensor(pathlib.Path('b/kernel'))",
    f"{THREE}.get_tensor('missing/größe')",
    f"{THREE}.get_tensor(b'\\xff')",
    f"{THREE}.has_tensor('b/kernel')",
    f"{THREE}.has_tensor(b'b/kernel')",
    f"{THREE}.has_tensor('split')",
    f"{THREE}.has_tensor('missing')",
    f"{THREE}.has_tensor('b/kernel:0')",
    f"{THREE}.has_tensor('')",
    f"{THREE}.has_tensor(None)",
    f"{THREE}.has_tensor(5)",
    f"{THREE}.has_tensor(b'\\x00split\\x00\\x01\\x01\\x02\\x80\\x82\\x80\\x7f')",
    f"{THREE}.get_tensor(b'\\x00split\\x00\\x01\\x01\\x02\\x80\\x82\\x80\\x7f')",
    f"{THREE}.get_variable_to_shape_map()",
    f"{THREE}.get_variable_to_dtype_map()",
    f"{THREE}.debug_string()",
    f"{THREE}['counter']",
    f"len({THREE})",
    f"'counter' in {THREE}",
    f"{THREE}.close()",
    f"sorted(n for n in dir({THREE}) if not n.startswith('_'))",
    f"list({THREE}.get_variable_to_shape_map()) == sorted({THREE}.get_variable_to_shape_map())",
    f"{LOAD}('objects-more/legacy_optimizer/ckpt-1').get_tensor('_CHECKPOINTABLE_OBJECT_GRAPH')",
    f"{LOAD}('dtypes/ckpt').debug_string()",
    f"{LOAD}('slices/ckpt').debug_string()",
    f"{LOAD}('partitioned').debug_string()",
    f"{LOAD}('variant/ckpt').debug_string()",
    f"{LOAD}('variant/ckpt').get_tensor('variant/list')",
    f"{LOAD}('variant/ckpt').get_variable_to_dtype_map()",
    f"sorted({LOAD}('v1/types').debug_string().splitlines())",
    f"sorted({LOAD}('v1/sliced').debug_string().splitlines())",
    f"sorted({LOAD}('v1/spread-?????-of-00003').debug_string().splitlines())",
    f"{LOAD}('v1/spread-?????-of-00003').get_tensor('split')",
    f"{LOAD}('v1/spread-?????-of-00003').get_tensor('own_2')",
    f"{LOAD}('v1/sliced').get_tensor('float32')",
    f"{LOAD}('v1/types').get_tensor('missing')",
    f"{LOAD}('v1/types').has_tensor('missing')",
    f"{LOAD}('v1/types').has_tensor('float32/grid')",
    f"{LOAD}('v1/saver').get_variable_to_dtype_map()",
    f"{LOAD}('names/ckpt').get_tensor('emoji/🐍🧪')",
    f"{LOAD}('names/ckpt').get_tensor('null\\x00inside')",
    f"{LOAD}('names/ckpt').debug_string()[:60]",
    f"{LOAD}('non-utf8-name/ckpt').get_variable_to_shape_map()",
    f"{LOAD}('non-utf8-name/ckpt').get_variable_to_dtype_map()",
    f"{LOAD}('non-utf8-name/ckpt').get_tensor(b'latin\\xe91')",
    f"{LOAD}('non-utf8-name/ckpt').has_tensor(b'latin\\xe91')",
    f"{LOAD}('non-utf8-name/ckpt').debug_string()",
    f"{LOAD}('bigendian/ckpt').get_tensor('int32/grid')",
    f"{LOAD}('bigendian/ckpt').get_tensor('int4/grid')",
]

SHORTCUTS = [
    "tf.train.list_variables('sharded/three')",
    "tf.train.list_variables('manager/relative')",
    "tf.train.list_variables('manager/relative/ckpt-4')",
    "tf.train.list_variables('v1/saver')",
    "tf.train.list_variables('v1/spread-?????-of-00003')",
    "tf.train.list_variables('partitioned')",
    "tf.train.list_variables('names/ckpt')[:6]",
    "tf.train.list_variables('nowhere')",
    "tf.train.list_variables('dtypes')",
    "tf.train.list_variables(pathlib.Path('manager/relative'))",
    "tf.train.load_variable('sharded/three', 'counter')",
    "tf.train.load_variable('sharded/three', 'counter:0')",
    "tf.train.load_variable('sharded/three', 'counter:1')",
    "tf.train.load_variable('sharded/three', b'counter')",
    "tf.train.load_variable('sharded/three', 'missing')",
    "tf.train.load_variable('manager/relative', 'value/.ATTRIBUTES/VARIABLE_VALUE')",
    "tf.train.load_variable('nowhere', 'counter')",
    "tf.train.load_variable('dtypes/ckpt', 'string/scalar')",
    "tf.train.latest_checkpoint('manager/relative')",
    "tf.train.latest_checkpoint('manager/relative/')",
    "tf.train.latest_checkpoint(pathlib.Path('manager/relative'))",
    "tf.train.latest_checkpoint(b'manager/relative')",
    "tf.train.latest_checkpoint('manager/absolute')",
    "tf.train.latest_checkpoint('sharded-saver/v1')",
    "tf.train.latest_checkpoint('v1/saver')",
    "tf.train.latest_checkpoint('partitioned')",
    "tf.train.latest_checkpoint('dtypes')",
    "tf.train.latest_checkpoint('nowhere')",
    "tf.train.latest_checkpoint('manager/relative', 'other')",
    "tf.train.latest_checkpoint(None)",
    "tf.train.get_checkpoint_state('manager/relative')",
    "str(tf.train.get_checkpoint_state('manager/relative'))",
    "tf.train.get_checkpoint_state('manager/relative').model_checkpoint_path",
    "list(tf.train.get_checkpoint_state('manager/relative').all_model_checkpoint_paths)",
    "list(tf.train.get_checkpoint_state('manager/relative').all_model_checkpoint_timestamps)",
    "tf.train.get_checkpoint_state('manager/absolute').model_checkpoint_path",
    "tf.train.get_checkpoint_state(pathlib.Path('manager/relative')).model_checkpoint_path",
    "tf.train.get_checkpoint_state('nowhere')",
    "tf.train.get_checkpoint_state(None)",
    "tf.train.CheckpointManager",
    "tf.compat.v1.train.checkpoint_exists('dtypes/ckpt')",
    "tf.compat.v1.train.checkpoint_exists(b'dtypes/ckpt')",
    "tf.compat.v1.train.checkpoint_exists(pathlib.Path('dtypes/ckpt'))",
    "tf.compat.v1.train.checkpoint_exists('dtypes/ckpt.index')",
    "tf.compat.v1.train.checkpoint_exists('dtypes/ckpt.data-00000-of-00001')",
    "tf.compat.v1.train.checkpoint_exists('dtypes/nothing')",
    "tf.compat.v1.train.checkpoint_exists('dtypes')",
    "tf.compat.v1.train.checkpoint_exists('nowhere/ckpt')",
    "tf.compat.v1.train.checkpoint_exists('v1/types')",
    "tf.compat.v1.train.checkpoint_exists('v1/spread-?????-of-00003')",
    "tf.compat.v1.train.checkpoint_exists('v1/spread')",
    "tf.compat.v1.train.checkpoint_exists('dtypes/ck*')",
    "tf.train.checkpoint_exists('dtypes/ckpt')",
    "tf.train.checkpoints_iterator",
    "tf.train.get_checkpoint_mtimes",
]

DTYPE_EXPRESSIONS = [
    "tf.float32 == tf.float32",
    "tf.float32 == 'float32'",
    "tf.float32 == 'float'",
    "tf.float32 == np.float32",
    "tf.float32 == np.dtype('float32')",
    "tf.float32 == np.dtype('>f4')",
    "tf.float32 == 1",
    "tf.float32 == 2",
    "tf.float32 == float",
    "tf.float32 == None",
    "tf.float32 == 'nonsense'",
    "tf.float32 == object()",
    "tf.float32 != tf.float64",
    "tf.float32 != 'float32'",
    "tf.string == bytes",
    "tf.string == str",
    "tf.string == object",
    "tf.string == 'string'",
    "tf.int64 == int",
    "tf.bool == bool",
    "tf.float16 is tf.half",
    "tf.float64 is tf.double",
    f"{THREE}.get_variable_to_dtype_map()['b/kernel'] is tf.float32",
    f"{THREE}.get_variable_to_dtype_map()['b/kernel'] == tf.float32",
    f"{THREE}.get_variable_to_dtype_map()['b/kernel'] in (tf.float32, tf.float64)",
    f"{THREE}.get_variable_to_dtype_map()['b/kernel'] in {{tf.float32: 1}}",
    "hash(tf.float32) == hash(tf.as_dtype('float32'))",
    "hash(tf.float32)",
    "str(tf.float32)",
    "repr(tf.float32)",
    "f'{tf.float32}'",
    "'%s' % tf.float32",
    "tf.float32.name",
    "tf.half.name",
    "tf.DType is tf.dtypes.DType",
    "isinstance(tf.float32, tf.DType)",
    "tf.float32 < tf.float64",
    "sorted([tf.float64, tf.float32], key=str)",
    "tf.float32.is_compatible_with('float32')",
    "tf.float32.is_compatible_with(tf.float64)",
    "tf.as_dtype('float32')",
    "tf.as_dtype('half')",
    "tf.as_dtype('float')",
    "tf.as_dtype('double')",
    "tf.as_dtype('bfloat16')",
    "tf.as_dtype('string')",
    "tf.as_dtype('int4')",
    "tf.as_dtype('float8_e5m2')",
    "tf.as_dtype('float32_ref')",
    "tf.as_dtype('DT_FLOAT')",
    "tf.as_dtype(np.float32)",
    "tf.as_dtype(np.dtype('<i4'))",
    "tf.as_dtype(np.dtype('S5'))",
    "tf.as_dtype(np.dtype('U5'))",
    "tf.as_dtype(np.dtype('O'))",
    "tf.as_dtype(float)",
    "tf.as_dtype(int)",
    "tf.as_dtype(bool)",
    "tf.as_dtype(str)",
    "tf.as_dtype(bytes)",
    "tf.as_dtype(1)",
    "tf.as_dtype(101)",
    "tf.as_dtype(0)",
    "tf.as_dtype(34)",
    "tf.as_dtype('nonsense')",
    "tf.as_dtype(None)",
    "tf.dtypes.as_dtype is tf.as_dtype",
    "tf.float32()",
    "tf.float32.itemsize",
    "tf.float32.nonsense",
    "np.dtype(tf.float32)",
    "np.zeros(2, tf.float32)",
    "np.zeros(2, tf.float32.as_numpy_dtype).dtype",
    "__import__('pickle').loads(__import__('pickle').dumps(tf.float32)) is tf.float32",
    "__import__('copy').deepcopy(tf.float32) is tf.float32",
    "tf.dtypes.float32 is tf.float32",
    "tf.float8_e5m2",
    "tf.int4",
    "tf.dtypes.experimental.float8_e5m2",
    "tf.dtypes.experimental.int4",
]

FILES = [
    "tf.io.gfile.exists('dtypes/ckpt.index')",
    "tf.io.gfile.exists('dtypes/ckpt')",
    "tf.io.gfile.exists('dtypes')",
    "tf.io.gfile.exists('dtypes/')",
    "tf.io.gfile.exists(pathlib.Path('dtypes'))",
    "tf.io.gfile.exists(b'dtypes')",
    "tf.io.gfile.exists('')",
    "tf.io.gfile.exists(None)",
    "tf.io.gfile.isdir('dtypes')",
    "tf.io.gfile.isdir('dtypes/ckpt.index')",
    "tf.io.gfile.isdir('nowhere')",
    "sorted(tf.io.gfile.glob('sharded/three*'))",
    "sorted(tf.io.gfile.glob('sharded/th?ee.data-*'))",
    "sorted(tf.io.gfile.glob('*dtypes/ckpt.index'))",
    "sorted(tf.io.gfile.glob('**/types'))",
    "sorted(tf.io.gfile.glob('sharded/{three,twelve}.index'))",
    "sorted(tf.io.gfile.glob('sharded/[t]h*.index'))",
    "sorted(tf.io.gfile.glob('nowhere/*'))",
    "sorted(tf.io.gfile.glob('sharded/three.index'))",
    "sorted(tf.io.gfile.glob('sharded/nothing'))",
    "sorted(tf.io.gfile.glob(['sharded/three.index', 'dtypes/*.index', 'sharded/th*.index']))",
    "tf.io.gfile.glob(pathlib.Path('sharded/three.index'))",
    "tf.io.gfile.glob(b'sharded/three.index')",
    "sorted(tf.io.gfile.listdir('v1'))",
    "sorted(tf.io.gfile.listdir('v1/'))",
    "tf.io.gfile.listdir('nowhere')",
    "tf.io.gfile.listdir('dtypes/ckpt.index')",
    "tf.io.gfile.GFile('manager/relative/checkpoint').read()",
    "tf.io.gfile.GFile('manager/relative/checkpoint').readline()",
    "tf.io.gfile.GFile('manager/relative/checkpoint').readlines()",
    "list(tf.io.gfile.GFile('manager/relative/checkpoint'))[:2]",
    "tf.io.gfile.GFile('manager/relative/checkpoint', 'rb').read(10)",
    "tf.io.gfile.GFile('manager/relative/checkpoint', 'r').read(10)",
    "tf.io.gfile.GFile('manager/relative/checkpoint', mode='rb').readline()",
    "tf.io.gfile.GFile('manager/relative/checkpoint').size()",
    "tf.io.gfile.GFile('manager/relative/checkpoint').name",
    "tf.io.gfile.GFile('manager/relative/checkpoint').mode",
    "tf.io.gfile.GFile('manager/relative/checkpoint').tell()",
    "tf.io.gfile.GFile('manager/relative/checkpoint').seekable()",
    "tf.io.gfile.GFile('manager/relative/checkpoint').__enter__().readline()",
    "tf.io.gfile.GFile('nowhere')",
    "tf.io.gfile.GFile('nowhere').read()",
    "tf.io.gfile.GFile('dtypes').read()",
    "tf.io.gfile.GFile('dtypes/expected.json', 'q').read()",
    "tf.io.gfile.GFile('dtypes/ckpt.data-00000-of-00001').read()",
    "tf.io.gfile.GFile(pathlib.Path('manager/relative/checkpoint')).readline()",
    "sorted(n for n in dir(tf.io.gfile.GFile) if not n.startswith('_'))",
    "sorted(n for n in dir(tf.io.gfile) if not n.startswith('_'))",
    "tf.gfile",
    "tf.compat.v1.gfile.GFile('manager/relative/checkpoint').readline()",
    "tf.compat.v1.gfile.Exists('dtypes')",
    "sorted(tf.compat.v1.gfile.Glob('sharded/three*'))",
    "tf.__version__",
    "tf.version.VERSION",
    "tf.compat.v1.__version__",
]

ATTRIBUTES = [
    "name",
    "as_datatype_enum",
    "as_numpy_dtype",
    "size",
    "base_dtype",
    "real_dtype",
    "is_bool",
    "is_complex",
    "is_floating",
    "is_integer",
    "is_numeric",
    "is_numpy_compatible",
    "is_quantized",
    "is_unsigned",
    "min",
    "max",
    "limits",
]


def make_train_api() -> None:
    """The table, made from the folder that holds all cases."""
    os.chdir("..")
    tensors = [
        f"{LOAD}('dtypes/ckpt').get_tensor('{name}/{kind}')"
        for name in [*STORABLE, "string"]
        for kind in ("scalar", "grid", "none", "hollow")
    ]
    old = [
        f"{LOAD}('v1/types').get_tensor('{name}/{kind}')"
        for name in ["float32", "int32", "bool", "string", "float16", "complex64", "qint8", "uint16", "int8"]
        for kind in ("scalar", "grid", "none")
    ]
    sliced = [
        f"{LOAD}('slices/ckpt').get_tensor('{name}')" for name in ["grid", "int4", "exact/float16", "partial/hole"]
    ]
    write_json(
        "train-api/expected.json",
        {
            "tensorflow": tf.__version__,
            "numpy": np.__version__,
            "opening": answers(OPENING),
            "reading": answers(READING),
            "tensors": answers(tensors + old + sliced),
            "shortcuts": answers(SHORTCUTS),
            "dtype_expressions": answers(DTYPE_EXPRESSIONS),
            "dtypes": {name: attributes(dtype) for name, dtype in DTYPES.items()},
            "files": answers(FILES),
            "signatures": signatures(),
            "names": {
                "tf.train": public(tf.train),
                "tf.compat.v1.train": public(tf.compat.v1.train),
                "tf.dtypes": public(tf.dtypes),
                "tf.errors": public(tf.errors),
            },
        },
    )


def answers(expressions: Iterable[str]) -> list[Record]:
    """Every expression with what it gives."""
    return [{"expression": expression, **evaluate(expression)} for expression in expressions]


def evaluate(expression: str) -> Record:
    """What an expression gives or raises."""
    try:
        return {"gives": describe(eval(expression, {"tf": tf, "np": np, "pathlib": pathlib}))}
    except Exception as error:
        found: Record = {
            "raises": type(error).__name__,
            "bases": [base.__name__ for base in type(error).__mro__[1:-1]],
            "message": str(error),
        }
        if isinstance(error, tf.errors.OpError):
            found |= {"error_code": error.error_code, "op_message": error.message}
        return found


def describe(value: Any) -> Any:
    """An answer: text, numbers, truth values and None as they are, everything else as a record of type and value.

    The items of a dictionary stand in the order of their keys; TensorFlow's own order is that of a hash table.
    """
    kind = type(value).__name__
    if isinstance(value, np.ndarray | np.generic):
        return describe_array(value)
    if isinstance(value, bool | int | str | None):
        return value
    if isinstance(value, tf.DType):
        return {"type": "DType", "repr": repr(value)}
    if isinstance(value, bytes):
        return {"type": kind, "hex": value.hex()}
    if isinstance(value, dict):
        return {"type": kind, "items": [[describe(key), describe(item)] for key, item in sorted(value.items())]}
    if isinstance(value, list | tuple):
        return {"type": kind, "items": [describe(item) for item in value]}
    if isinstance(value, float):
        return {"type": kind, "repr": repr(value)}
    return {"type": kind}


def describe_array(value: Any) -> Record:
    """The type, dtype, shape and digest of an array or a NumPy scalar, and whether an array may be written to."""
    array = np.asarray(value)
    entry: Record = {"type": f"numpy.{type(value).__name__}", "dtype": str(array.dtype), "shape": list(array.shape)}
    if array.dtype == object:
        entry["elements"] = sorted({type(item).__name__ for item in array.ravel().tolist()})
    if isinstance(value, np.ndarray):
        entry |= {"writeable": value.flags.writeable, "owns_data": value.flags.owndata}
    return entry | {"sha256": digest(array)}


def attributes(dtype: tf.DType) -> dict[str, str]:
    """What every attribute of a dtype gives, as text."""
    found = {"str": str(dtype), "repr": repr(dtype)}
    for name in ATTRIBUTES:
        try:
            found[name] = repr(getattr(dtype, name))
        except Exception as error:
            found[name] = f"raises {type(error).__name__}: {error}"
    return found


def signatures() -> dict[str, str]:
    """The parameters of the functions, as `inspect` tells them."""
    functions = {
        "tf.train.load_checkpoint": tf.train.load_checkpoint,
        "tf.train.load_variable": tf.train.load_variable,
        "tf.train.list_variables": tf.train.list_variables,
        "tf.train.latest_checkpoint": tf.train.latest_checkpoint,
        "tf.train.get_checkpoint_state": tf.train.get_checkpoint_state,
        "tf.train.checkpoints_iterator": tf.train.checkpoints_iterator,
        "tf.compat.v1.train.NewCheckpointReader": tf.compat.v1.train.NewCheckpointReader,
        "tf.compat.v1.train.checkpoint_exists": tf.compat.v1.train.checkpoint_exists,
        "tf.io.gfile.exists": tf.io.gfile.exists,
        "tf.io.gfile.isdir": tf.io.gfile.isdir,
        "tf.io.gfile.glob": tf.io.gfile.glob,
        "tf.io.gfile.listdir": tf.io.gfile.listdir,
        "tf.io.gfile.GFile": tf.io.gfile.GFile,
        "tf.as_dtype": tf.as_dtype,
    }
    return {name: str(inspect.signature(function)) for name, function in functions.items()}


def public(module: Any) -> list[str]:
    """The names of a module that do not begin with an underscore."""
    return sorted(name for name in dir(module) if not name.startswith("_"))
