"""SavedModel directories: one of TF1's builder, named by variable, and one of TF2, an object graph with signatures."""

from __future__ import annotations

import contextlib
import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.tools import saved_model_cli

from regenerate.objects import object_based
from regenerate.recording import Record, checkpoint, restored, write_expected

VOCABULARY = "zero\none\ntwo\n"


def make_tf1() -> None:
    """A name-based SavedModel of the TF1 builder: two signatures, two tag sets, an asset."""
    Path("vocabulary.txt").write_text(VOCABULARY, encoding="ascii")
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        image = v1.placeholder(tf.float32, [None, 3], name="image")
        generator = np.random.default_rng(30)
        kernel = v1.get_variable("dense/kernel", initializer=generator.normal(size=(3, 2)).astype(np.float32))
        bias = v1.get_variable("dense/bias", initializer=np.ones(2, np.float32), use_resource=True)
        logits = tf.add(tf.matmul(image, kernel), bias, name="logits")
        best = tf.argmax(logits, axis=1, name="best")
        vocabulary = tf.constant("vocabulary.txt", name="vocabulary")
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, vocabulary)
        session.run(v1.global_variables_initializer())
        predict = v1.saved_model.predict_signature_def({"image": image}, {"logits": logits, "best": best})
        info = v1.saved_model.build_tensor_info
        classify = v1.saved_model.build_signature_def(
            {"inputs": info(image)}, {"scores": info(logits)}, v1.saved_model.signature_constants.CLASSIFY_METHOD_NAME
        )
        builder = v1.saved_model.Builder("model")
        assets = v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS)
        signatures = {"serving_default": predict, "classify": classify}
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map=signatures, assets_collection=assets)
        builder.add_meta_graph(
            ["serve", "gpu"], signature_def_map={"serving_default": predict}, assets_collection=assets
        )
        builder.save()
    Path("vocabulary.txt").unlink()
    flatten("model")
    prefix = "variables/variables"
    entry = checkpoint(prefix, restored(prefix), list_variables=tf.train.list_variables(prefix))
    write_expected([entry], **description())


class Network(tf.Module):
    """A module with two exported functions, one variable that is not trained, and an asset."""

    def __init__(self) -> None:
        super().__init__(name="network")
        generator = np.random.default_rng(31)
        self.kernel = tf.Variable(generator.normal(size=(3, 2)).astype(np.float32), name="dense/kernel")
        self.bias = tf.Variable([0.5, -0.5], name="dense/bias")
        self.calls = tf.Variable(7, dtype=tf.int64, trainable=False, name="calls")
        self.table = tf.lookup.StaticVocabularyTable(
            tf.lookup.TextFileInitializer(
                tf.constant("vocabulary.txt"),
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            num_oov_buckets=1,
        )

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="image")])
    def predict(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Logits of images."""
        return {"logits": image @ self.kernel + self.bias, "best": tf.argmax(image @ self.kernel, axis=1)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="word")])
    def look_up(self, word: tf.Tensor) -> tf.Tensor:
        """Numbers of words."""
        return self.table.lookup(word)


def make_tf2() -> None:
    """An object-based SavedModel of TF2 with two signatures and an asset."""
    Path("vocabulary.txt").write_text(VOCABULARY, encoding="ascii")
    network = Network()
    signatures = {"serving_default": network.predict, "look_up": network.look_up}
    tf.saved_model.save(network, "model", signatures=signatures)
    Path("vocabulary.txt").unlink()
    flatten("model")
    loaded = tf.saved_model.load(".")
    structured = {
        name: {
            "inputs": {key: str(spec) for key, spec in function.structured_input_signature[1].items()},
            "outputs": {key: str(spec) for key, spec in function.structured_outputs.items()},
        }
        for name, function in sorted(loaded.signatures.items())
    }
    image = np.array([[1.0, 2.0, 3.0]], np.float32)
    result = loaded.signatures["serving_default"](tf.constant(image))["logits"].numpy().tolist()
    write_expected(
        [object_based("variables/variables")],
        **description(),
        structured_signatures=structured,
        example={"image": image.tolist(), "logits": result},
    )


def flatten(folder: str) -> None:
    """Move what a folder holds to the working directory."""
    for path in sorted(Path(folder).iterdir()):
        shutil.move(path, path.name)
    Path(folder).rmdir()


def description() -> dict[str, Any]:
    """Tags and signatures of every meta graph, and the text `saved_model_cli show --all` prints."""
    model = saved_model_pb2.SavedModel.FromString(Path("saved_model.pb").read_bytes())
    graphs: list[Record] = []
    for graph in model.meta_graphs:
        graphs.append(
            {
                "tags": list(graph.meta_info_def.tags),
                "signatures": {
                    name: {
                        "method_name": signature.method_name,
                        "inputs": {key: tensor_info(item) for key, item in sorted(signature.inputs.items())},
                        "outputs": {key: tensor_info(item) for key, item in sorted(signature.outputs.items())},
                    }
                    for name, signature in sorted(graph.signature_def.items())
                },
                "assets": [
                    {"tensor": asset.tensor_info.name, "filename": asset.filename} for asset in graph.asset_file_def
                ],
            }
        )
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        saved_model_cli._show_all(".")
    return {"meta_graphs": graphs, "saved_model_cli": printed.getvalue().splitlines()}


def tensor_info(info: Any) -> Record:
    """Name, dtype and shape of a signature's tensor; an unknown dimension is -1, an unknown rank null.

    An operation without a result, such as the initializer, stands there as a tensor of dtype `invalid`.
    """
    unknown = info.tensor_shape.unknown_rank
    return {
        "name": info.name,
        "dtype": tf.as_dtype(info.dtype).name if info.dtype else "invalid",
        "shape": None if unknown else [dim.size for dim in info.tensor_shape.dim],
    }
