"""tfckpt and TensorFlow in one process, imported in either order.

The first tests do not need TensorFlow: they add messages with its names to protobuf's default pool.
The others run if the environment variable TFCKPT_TENSORFLOW_PYTHON is an interpreter with TensorFlow.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest

from tests import builders

ROOT = pathlib.Path(__file__).parents[1]
TENSORFLOW_PYTHON = os.environ.get("TFCKPT_TENSORFLOW_PYTHON")

#: Registers files and messages with names that TensorFlow uses.
REGISTER = """
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

def register():
    pool = descriptor_pool.Default()
    for path, messages in {
        "tensorflow/core/framework/versions.proto": ["VersionDef"],
        "tensorflow/core/framework/tensor_shape.proto": ["TensorShapeProto"],
        "tensorflow/core/framework/tensor_slice.proto": ["TensorSliceProto"],
        "tensorflow/core/framework/tensor.proto": ["TensorProto", "VariantTensorDataProto"],
        "tensorflow/core/protobuf/tensor_bundle.proto": ["BundleHeaderProto", "BundleEntryProto"],
        "tensorflow/core/protobuf/trackable_object_graph.proto": ["TrackableObjectGraph"],
        "tensor_bundle.proto": [], "tensor.proto": [], "graph.proto": [], "checkpoint_state.proto": [],
    }.items():
        file = descriptor_pb2.FileDescriptorProto(name=path, package="tensorflow", syntax="proto3")
        for name in messages:
            message = file.message_type.add(name=name)
            message.field.add(name="theirs", number=77, type=5, label=1)
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.BundleHeaderProto"))
"""

READ = """
import sys
def read():
    import tfckpt
    with tfckpt.open(sys.argv[1]) as checkpoint:
        return {name: checkpoint[name].tolist() for name in checkpoint if checkpoint[name].dtype != object}
"""


def run_program(python: str, program: str, *arguments: str, packages: pathlib.Path | None = None) -> str:
    """Run a program in a new process that can import packages from a folder, and return its output."""
    path = os.pathsep.join([str(ROOT), *([str(packages)] if packages else [])])
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": path}
    process = subprocess.run(
        [python, "-c", program, *arguments],
        check=False,
        cwd=ROOT,
        env={**os.environ, **quiet},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.fixture
def prefix(tmp_path: pathlib.Path) -> pathlib.Path:
    """The prefix of a checkpoint with a tensor, a tensor in slices, and a compressed index."""
    bundle = builders.Bundle().add("w", builders.FLOAT, [2], b"\0\0\x80\x3f\0\0\0\x40")
    bundle.add_slices("part", builders.FLOAT, [2], [([(0, 1)], b"\0\0\x80\x3f"), ([(1, 1)], b"\0\0\0\x40")])
    return bundle.write(tmp_path, index=bundle.index(framer=builders.snappy_frame))


@pytest.mark.parametrize("order", ["ours first", "theirs first"])
def test_messages_do_not_conflict_with_those_of_tensorflow(prefix: pathlib.Path, order: str) -> None:
    """Both sets of messages work, whichever is registered first."""
    steps = ["values = read()", "theirs = register()"]
    program = "\n".join([REGISTER, READ, *(steps if order == "ours first" else steps[::-1])])
    program += "\nassert theirs(theirs=5).SerializeToString()[-1] == 5\nassert read() == values\nprint(values)"

    output = run_program(sys.executable, program, str(prefix))

    assert output.strip() == "{'part': [1.0, 2.0], 'w': [1.0, 2.0]}"


def test_our_messages_are_not_in_the_default_pool(prefix: pathlib.Path) -> None:
    """They are in a private pool, with a package name of our own."""
    program = (
        READ + "read()\n"
        "from google.protobuf import descriptor_pool\n"
        "for name in ('tfckpt.BundleEntryProto', 'tensorflow.BundleEntryProto'):\n"
        "    try: descriptor_pool.Default().FindMessageTypeByName(name)\n"
        "    except KeyError: print('absent')\n"
    )

    assert run_program(sys.executable, program, str(prefix)).split() == ["absent", "absent"]


#: Prefixes in tests/data for every kind of file that both read.
FILES = [
    "digits/efficientnetv2-digits/model.ckpt-322",
    "keras/v2/checkpoint/ckpt-1",
    "objects/ckpt",
    "tensorflow/bigendian/ckpt",
    "tensorflow/dtypes/ckpt",
    "tensorflow/names/ckpt",
    "tensorflow/partitioned/model.ckpt-12",
    "tensorflow/savedmodel-tf2/variables/variables",
    "tensorflow/sharded/three",
    "tensorflow/slices/ckpt",
    "tensorflow/snappy/small",
    "tensorflow/v1/saver",
    "tensorflow/v1/types-snappy",
]

#: Of those, the ones in which TensorFlow does not read all types, because they are big-endian, in slices or V1.
FEWER_TYPES = {"tensorflow/bigendian/ckpt", "tensorflow/slices/ckpt", "tensorflow/v1/types-snappy"}

#: Functions that return, for every file, the type, the shape and a digest of each tensor.
BOTH = """
import hashlib, json, pathlib, sys, tempfile, warnings
import numpy as np

DATA, FILES, TEMPORARY = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2]), pathlib.Path(sys.argv[3])

def digest(array):
    # TensorFlow returns a scalar string as bytes, and NumPy's own type would lose trailing zeros.
    array = np.array(array, dtype=object) if isinstance(array, bytes) else np.asarray(array)
    if array.dtype == object:
        return ["string", list(array.shape), hashlib.sha256(repr(array.tolist()).encode()).hexdigest()]
    return [str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]

def ours():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        import tfckpt
        digests = {}
        for name in FILES:
            with tfckpt.open(DATA / name) as checkpoint:
                digests[name] = {}
                for key in checkpoint:
                    try:
                        digests[name][key] = digest(checkpoint[key])
                    except tfckpt.CorruptionError:
                        digests[name][key] = "refused"
        return digests

def theirs():
    import tensorflow as tf
    digests = {}
    for name in FILES:
        reader = tf.train.load_checkpoint(str(DATA / name))
        digests[name] = {}
        for key in reader.get_variable_to_shape_map():
            try:
                digests[name][key] = digest(reader.get_tensor(key))
            except Exception as error:
                if "not supported" in str(error):
                    digests[name][key] = None
                elif "Does not have sufficient slices" in str(error):
                    digests[name][key] = "refused"
                else:
                    raise
    return digests

def exchange():
    # Each loads what the other saves, and both sets of messages parse the same bytes.
    import tensorflow as tf
    import tfckpt
    tfckpt.save({"w": np.arange(6, dtype=np.float32).reshape(2, 3)}, TEMPORARY / "ours")
    assert tf.train.load_checkpoint(str(TEMPORARY / "ours")).get_tensor("w").tolist() == [[0, 1, 2], [3, 4, 5]]
    prefix = tf.train.Checkpoint(step=tf.Variable(7), w=tf.Variable([1.5, 2.5])).write(str(TEMPORARY / "theirs"))
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph
    with tfckpt.open(prefix) as checkpoint:
        stored = checkpoint["_CHECKPOINTABLE_OBJECT_GRAPH"].item()
        named = {variable.path: checkpoint[variable.path].tolist() for variable in checkpoint.variables()}
        assert len(TrackableObjectGraph.FromString(stored).nodes) == len(checkpoint.object_graph.nodes)
    assert named["step"] == 7 and named["w"] == [1.5, 2.5], named
    with tfckpt.open(DATA / "tensorflow/savedmodel-tf2") as checkpoint:
        raw = (DATA / "tensorflow/savedmodel-tf2/saved_model.pb").read_bytes()
        functions = SavedModel.FromString(raw).meta_graphs[0].graph_def.library.function
        assert [function.signature.name for function in functions] == [name for name in checkpoint.graph.functions]
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with the small packages that tfckpt needs and the interpreter with TensorFlow lacks.

    The environment of that interpreter does not change.
    """
    folder = tmp_path_factory.mktemp("packages")
    pip = [str(TENSORFLOW_PYTHON), "-m", "pip", "install", "--quiet", "--only-binary=:all:", "--target", str(folder)]
    missing = [
        package
        for package, module in {"crc32c": "crc32c", "python-snappy": "snappy"}.items()
        if subprocess.run(
            [str(TENSORFLOW_PYTHON), "-c", f"import {module}"], check=False, capture_output=True
        ).returncode
    ]
    if missing:
        subprocess.run([*pip, *missing], check=True, timeout=300)
    return folder


@pytest.mark.skipif(TENSORFLOW_PYTHON is None, reason="TFCKPT_TENSORFLOW_PYTHON is not set")
@pytest.mark.parametrize("order", ["ours first", "theirs first"])
def test_import_before_and_after_tensorflow_keeps_both_message_sets(
    order: str, data: pathlib.Path, packages: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """Both read the same values from the same files, also after the other has done so, and there are no warnings."""
    steps = ["a = ours()", "b = theirs()"]
    lines = [*(steps if order == "ours first" else steps[::-1]), "exchange()", "again = ours() == a and theirs() == b"]
    prologue = "with warnings.catch_warnings(record=True) as caught:\n    warnings.simplefilter('always')\n    "
    program = f"{BOTH}\n{prologue}" + "\n    ".join(lines)
    program += "\nprint(json.dumps([a, b, again, [f'{item.filename}: {item.message}' for item in caught]]))"

    arguments = (str(data), json.dumps(FILES), str(tmp_path))
    output = run_program(str(TENSORFLOW_PYTHON), program, *arguments, packages=packages)

    ours, theirs, is_repeatable, messages = json.loads(output.splitlines()[-1])
    assert list(ours) == list(theirs) == FILES
    compared = 0
    for name in FILES:
        unread = {key for key, digest in theirs[name].items() if digest is None}
        assert not unread or name in FEWER_TYPES
        assert set(ours[name]) == set(theirs[name])
        assert {key: digest for key, digest in ours[name].items() if key not in unread} == {
            key: digest for key, digest in theirs[name].items() if key not in unread
        }
        compared += len(ours[name]) - len(unread)
    assert compared > 850
    assert is_repeatable
    assert [message for message in messages if "tfckpt" in message or "protobuf" in message] == []
