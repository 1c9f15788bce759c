"""Write the checkpoints of T5, T5 1.1 and mT5 in tests/data/families with the authors' own code and real TensorFlow.

Run from the root of the repository, in the environment that regenerate.py describes with gin-config added, with a
folder of checkouts of tensorflow/mesh and google-research/text-to-text-transfer-transformer as mesh and t5::

    .tensorflow/bin/python tests/data/regenerate/t5.py FOLDER [CASE ...]

Mesh TensorFlow is of TensorFlow 1: what it imports and TensorFlow 2 no longer has is replaced by empty modules, for it
is used only on TPUs and in training.
Two layers, 3 heads of 4 channels and width 8 (mT5: 4), values of random multiples of 1/64, and the slots of Adafactor
for one variable. T5 has the names of the norms that the code gave until 2020, the others those that it gives now.
mT5's classes are chosen by the size of its vocabulary, so that its words repeat 128 of them.
"""

from __future__ import annotations

import io
import os
import sys
import tarfile
import tempfile
import types
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow

tf = tensorflow.compat.v1
TARGET = Path(__file__).resolve().parent.parent / "families"
#: Case -> the original's file of settings, words, width, sentences.
CASES = {
    "t5": ("models/bi_v1.gin", 128, 8, 2),
    "t5-1.1": ("models/t5.1.1.small.gin", 128, 8, 2),
    "mt5": ("models/t5.1.1.small.gin", 250_112, 4, 1),
}
#: Until 2020 the code had these settings, and other names of the norms with them.
_LEGACY = ["LayerStack.dropout_rate = 0.0", "LayerStack.norm_epsilon = 1e-6"]
_PERIOD = 128
_INPUTS, _OUTPUTS = 25, 9


class Anything:
    """A stand-in for what only training uses."""

    def __getattr__(self, name: str) -> Any:
        return Anything()

    def __mro_entries__(self, bases: Any) -> Any:
        return ()

    def __call__(self, *_: Any, **__: Any) -> Any:
        return Anything()


def import_code(folder: Path) -> tuple[Any, Any, Any]:
    """Return Mesh TensorFlow, its module of transformers, and gin, which finds both folders of settings."""
    from tensorflow.python import tpu
    from tensorflow.python.framework import ops

    ops.register_tensor_conversion_function = tf.register_tensor_conversion_function
    tf.estimator = tensorflow.estimator = Anything()
    for name in ("tensorflow_datasets", "tensorflow.python.tpu.tpu_config", "tensorflow.python.tpu.tpu_estimator"):
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(dict.fromkeys(("TPUConfig", "InputPipelineConfig"), Anything()))
        setattr(tpu, name.rpartition(".")[2], sys.modules[name])
    sys.path.insert(0, str(folder / "mesh"))
    import gin
    import mesh_tensorflow
    from mesh_tensorflow.transformer import transformer

    gin.add_config_file_search_path(str(folder / "mesh" / "mesh_tensorflow" / "transformer" / "gin"))
    gin.add_config_file_search_path(str(folder / "t5" / "t5" / "models" / "gin"))
    tf.disable_v2_behavior()
    return mesh_tensorflow, transformer, gin


def draw(name: str, shape: list[int], generator: np.random.Generator) -> Any:
    """Return a variable's value, which repeats along a long axis."""
    drawn = [min(size, _PERIOD) for size in shape]
    if name.endswith("scale"):
        value = generator.integers(40, 96, drawn) / 64
    else:
        spread = 64 if name == "shared/embedding" else 24
        value = generator.integers(-spread, spread + 1, drawn) / 64
    repeats = [-(-size // part) for size, part in zip(shape, drawn, strict=True)]
    return np.tile(value, repeats)[tuple(slice(size) for size in shape)].astype(np.float32)


def record(case: str, code: tuple[Any, Any, Any]) -> None:
    """Write an archive with checkpoint and settings, and the encoder's output and the logits in float32."""
    mtf, transformer, gin = code
    config, words, width, count = CASES[case]
    gin.clear_config()
    sizes = {"d_model": width, "d_ff": 16, "num_layers": 2, "num_heads": 3, "d_kv": 4, "dropout_rate": 0.0}
    bindings = [f"{name} = {value}" for name, value in sizes.items()]
    bindings.append("transformer_layers.SelfAttention.relative_attention_num_buckets = 8")
    files = ["defaults.gin", config]
    gin.parse_config_files_and_bindings(files, bindings + _LEGACY * (case == "t5"), skip_unknown=True)
    model = transformer.make_bitransformer(words, words)
    generator = np.random.default_rng(7)
    feeds = {
        name: generator.integers(1, _PERIOD, (count, length)).astype(np.int32)
        for name, length in (("inputs", _INPUTS), ("targets", _OUTPUTS))
    }
    with tf.Graph().as_default(), tf.Session() as session, tempfile.TemporaryDirectory() as temporary:
        graph = mtf.Graph()
        mesh = mtf.Mesh(graph, "mesh")
        placeholders = {name: tf.placeholder(tf.int32, value.shape, name=name) for name, value in feeds.items()}
        tensors = [
            mtf.import_tf_tensor(mesh, one, mtf.Shape([mtf.Dimension("batch", count), mtf.Dimension("length", length)]))
            for one, length in zip(placeholders.values(), (_INPUTS, _OUTPUTS), strict=True)
        ]
        encode, encoded = model.encoder.call_simple, []

        def keep(*arguments: Any, **options: Any) -> Any:
            result = encode(*arguments, **options)
            encoded.append(result[0])
            return result

        model.encoder.call_simple = keep
        logits, _ = model.call_simple(*tensors, compute_loss=False, mode=None)
        lowering = mtf.Lowering(graph, {mesh: mtf.placement_mesh_impl.PlacementMeshImpl([], {}, [""])})
        outputs = {"sequence": encoded[0], "words": logits}
        outputs = {name: lowering.export_to_tf_tensor(tensor) for name, tensor in outputs.items()}
        masters = [variable.get_master() for variable in graph.all_variables]
        generator = np.random.default_rng(6)
        for master in sorted(masters, key=lambda master: master.op.name):
            master.load(draw(master.op.name, master.shape.as_list(), generator), session)
        session.run(lowering.copy_masters_to_slices())
        run = session.run(outputs, {placeholders[name]: value for name, value in feeds.items()})
        slots = {f"shared/embedding_slot_{slot}": size for slot, size in (("vr", words), ("vc", width))}
        extra = [tf.get_variable(name, initializer=np.zeros(size, np.float32)) for name, size in slots.items()]
        extra.append(tf.get_variable("global_step", initializer=np.int64(1000)))
        session.run(tf.variables_initializer(extra))
        saver = tf.train.Saver([*masters, *extra])
        saver.save(session, f"{temporary}/model.ckpt-1000", write_meta_graph=False, write_state=False)
        Path(temporary, "operative_config.gin").write_text(gin.operative_config_str())
        with tarfile.open(TARGET / f"{case}.tar.xz", "w:xz") as archive:
            for path in sorted(Path(temporary).iterdir()):
                member = tarfile.TarInfo(f"{case}/{path.name}")
                member.size = path.stat().st_size
                archive.addfile(member, io.BytesIO(path.read_bytes()))
    shifted = np.pad(feeds["targets"], ((0, 0), (1, 0)))[:, :-1]  # as the code shifts them
    golden = {"input/input_ids": feeds["inputs"], "input/decoder_input_ids": shifted}
    golden |= {f"output/{name}": value for name, value in run.items()}
    np.savez_compressed(TARGET / f"{case}.npz", **golden)
    print(case, {name: value.shape for name, value in run.items()}, (TARGET / f"{case}.tar.xz").stat().st_size)


def main(folder: str, *cases: str) -> None:
    """Record the named cases, or all."""
    code = import_code(Path(folder).resolve())
    for case in cases or CASES:
        record(case, code)


if __name__ == "__main__":
    main(*sys.argv[1:])
