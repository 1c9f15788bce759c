"""One process with TensorFlow, whichever is imported first.

Without TensorFlow, messages named like TensorFlow's stand for it in protobuf's default pool.
The comparison with TensorFlow itself runs where the environment variable TFCKPT_TENSORFLOW_PYTHON names an interpreter
that has TensorFlow; the two packages of ours that it may lack are put beside it for the test.
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

#: Files and messages with the names that TensorFlow registers.
STAND_IN = """
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


def output_of(python: str, program: str, *arguments: str, beside: pathlib.Path | None = None) -> str:
    """What a program prints in a fresh process that also finds the packages in a folder."""
    path = os.pathsep.join([str(ROOT), *([str(beside)] if beside else [])])
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": path}
    done = subprocess.run(
        [python, "-c", program, *arguments],
        check=False,
        cwd=ROOT,
        env={**os.environ, **quiet},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def prefix(tmp_path: pathlib.Path) -> pathlib.Path:
    """A checkpoint of floats in one piece and in slices, behind a compressed index."""
    bundle = builders.Bundle().add("w", builders.FLOAT, [2], b"\0\0\x80\x3f\0\0\0\x40")
    bundle.add_slices("part", builders.FLOAT, [2], [([(0, 1)], b"\0\0\x80\x3f"), ([(1, 1)], b"\0\0\0\x40")])
    return bundle.write(tmp_path, index=bundle.index(framer=builders.snappy_frame))


@pytest.mark.parametrize("order", ["ours first", "theirs first"])
def test_messages_named_like_tensorflows_stay_apart(prefix: pathlib.Path, order: str) -> None:
    """Both sets of messages work after either was registered first."""
    steps = ["values = read()", "theirs = register()"]
    program = "\n".join([STAND_IN, READ, *(steps if order == "ours first" else steps[::-1])])
    program += "\nassert theirs(theirs=5).SerializeToString()[-1] == 5\nassert read() == values\nprint(values)"

    printed = output_of(sys.executable, program, str(prefix))

    assert printed.strip() == "{'part': [1.0, 2.0], 'w': [1.0, 2.0]}"


def test_nothing_of_ours_is_in_the_default_pool(prefix: pathlib.Path) -> None:
    """A private pool holds our messages under a package name of our own."""
    program = (
        READ + "read()\n"
        "from google.protobuf import descriptor_pool\n"
        "for name in ('tfckpt.BundleEntryProto', 'tensorflow.BundleEntryProto'):\n"
        "    try: descriptor_pool.Default().FindMessageTypeByName(name)\n"
        "    except KeyError: print('absent')\n"
    )

    assert output_of(sys.executable, program, str(prefix)).split() == ["absent", "absent"]


#: Every kind of file that both read: name of a prefix below tests/data.
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

#: Of those, what is big-endian, in slices or V1: TensorFlow does not read all types in them; we do.
FEWER_TYPES = {"tensorflow/bigendian/ckpt", "tensorflow/slices/ckpt", "tensorflow/v1/types-snappy"}

#: Both sides give, for every file, a digest of each tensor with its type and shape.
BOTH = """
import hashlib, json, pathlib, sys, tempfile, warnings
import numpy as np

DATA, FILES, TEMPORARY = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2]), pathlib.Path(sys.argv[3])

def digest(array):
    # TensorFlow gives a scalar string as bytes, of which NumPy's own type would lose zeros at the end.
    array = np.array(array, dtype=object) if isinstance(array, bytes) else np.asarray(array)
    if array.dtype == object:
        return ["string", list(array.shape), hashlib.sha256(repr(array.tolist()).encode()).hexdigest()]
    return [str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]

def ours():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        import tfckpt
        found = {}
        for name in FILES:
            with tfckpt.open(DATA / name) as checkpoint:
                found[name] = {}
                for key in checkpoint:
                    try:
                        found[name][key] = digest(checkpoint[key])
                    except tfckpt.CorruptionError:
                        found[name][key] = "refused"
        return found

def theirs():
    import tensorflow as tf
    found = {}
    for name in FILES:
        reader = tf.train.load_checkpoint(str(DATA / name))
        found[name] = {}
        for key in reader.get_variable_to_shape_map():
            try:
                found[name][key] = digest(reader.get_tensor(key))
            except Exception as error:
                if "not supported" in str(error):
                    found[name][key] = None
                elif "Does not have sufficient slices" in str(error):
                    found[name][key] = "refused"
                else:
                    raise
    return found

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
def beside(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with the small packages that tfckpt needs and TensorFlow does not, for TensorFlow's interpreter.

    They are installed beside its environment, which stays as it is.
    """
    folder = tmp_path_factory.mktemp("beside")
    pip = [str(TENSORFLOW_PYTHON), "-m", "pip", "install", "--quiet", "--only-binary=:all:", "--target", str(folder)]
    lacking = [
        package
        for package, module in {"crc32c": "crc32c", "python-snappy": "snappy"}.items()
        if subprocess.run(
            [str(TENSORFLOW_PYTHON), "-c", f"import {module}"], check=False, capture_output=True
        ).returncode
    ]
    if lacking:
        subprocess.run([*pip, *lacking], check=True, timeout=300)
    return folder


@pytest.mark.skipif(TENSORFLOW_PYTHON is None, reason="TFCKPT_TENSORFLOW_PYTHON names no interpreter with TensorFlow")
@pytest.mark.parametrize("order", ["ours first", "theirs first"])
def test_import_before_and_after_tensorflow_keeps_both_message_sets(
    order: str, data: pathlib.Path, beside: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """Both read the same bytes from the same files, each still does after the other, and nobody warns of the other."""
    steps = ["a = ours()", "b = theirs()"]
    lines = [*(steps if order == "ours first" else steps[::-1]), "exchange()", "again = ours() == a and theirs() == b"]
    recorded = "with warnings.catch_warnings(record=True) as said:\n    warnings.simplefilter('always')\n    "
    program = f"{BOTH}\n{recorded}" + "\n    ".join(lines)
    program += "\nprint(json.dumps([a, b, again, [f'{item.filename}: {item.message}' for item in said]]))"

    printed = output_of(str(TENSORFLOW_PYTHON), program, str(data), json.dumps(FILES), str(tmp_path), beside=beside)

    ours, theirs, again, said = json.loads(printed.splitlines()[-1])
    assert list(ours) == list(theirs) == FILES
    compared = 0
    for name in FILES:
        unread = {key for key, found in theirs[name].items() if found is None}
        assert not unread or name in FEWER_TYPES
        assert set(ours[name]) == set(theirs[name])
        assert {key: found for key, found in ours[name].items() if key not in unread} == {
            key: found for key, found in theirs[name].items() if key not in unread
        }
        compared += len(ours[name]) - len(unread)
    assert compared > 850
    assert again
    assert [line for line in said if "tfckpt" in line or "protobuf" in line] == []
