"""One process with TensorFlow, whichever is imported first.

Without TensorFlow, messages named like TensorFlow's stand for it in protobuf's default pool.
The comparison with TensorFlow itself runs where the environment variable TFCKPT_TENSORFLOW_PYTHON names an interpreter
that has TensorFlow and the packages that tfckpt needs.
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


def output_of(python: str, program: str, *arguments: str) -> str:
    """What a program prints in a fresh process."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
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


TENSORFLOW = """
import json
def theirs():
    import tensorflow as tf
    reader = tf.train.load_checkpoint(sys.argv[1])
    return {name: reader.get_tensor(name).tolist() for name in sorted(reader.get_variable_to_shape_map())}
"""


@pytest.mark.skipif(TENSORFLOW_PYTHON is None, reason="TFCKPT_TENSORFLOW_PYTHON names no interpreter with TensorFlow")
@pytest.mark.parametrize("order", ["ours first", "theirs first"])
def test_import_before_and_after_tensorflow_keeps_both_message_sets(prefix: pathlib.Path, order: str) -> None:
    """Both read the same values from the same files, and each still does after the other."""
    steps = ["a = read()", "b = theirs()"]
    program = "\n".join([READ, TENSORFLOW, *(steps if order == "ours first" else steps[::-1])])
    program += "\nassert read() == a and theirs() == b\nprint(json.dumps([a, b]))"

    ours, tensorflows = json.loads(output_of(str(TENSORFLOW_PYTHON), program, str(prefix)).splitlines()[-1])

    assert ours == tensorflows == {"part": [1.0, 2.0], "w": [1.0, 2.0]}
