"""Write the checkpoints of tests/data/families with the authors' own model code and real TensorFlow.

Run from the root of the repository, in the environment that regenerate.py describes, with a folder of checkouts of
google-research/bert, google-research/albert, google-research/electra, openai/gpt-2 and google-research/tf-slim under
their own names, and research/slim/nets of tensorflow/models as slim/nets::

    TF_USE_LEGACY_KERAS=1 .tensorflow/bin/python tests/data/regenerate/ready_families.py FOLDER [CASE ...]

README.md in tests/data/families says what every case is.
Values are random multiples of 1/64, which compress well, of a size that keeps activations near one.
The code is of TensorFlow 1: it runs with `tensorflow.compat.v1` under the name of tensorflow, and with a layer norm and
hyperparameters in the places of tf.contrib.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
import tarfile
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow

tf = tensorflow.compat.v1
TARGET = Path(__file__).resolve().parent.parent / "families"
WORDS, LENGTH = 30, 12
ENCODER = {
    "vocab_size": WORDS,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": LENGTH,
    "type_vocab_size": 2,
    "initializer_range": 0.02,
}

Tensors = dict[str, Any]


def install_contrib() -> None:
    """Put TensorFlow 1's interface under the name of tensorflow, with the few parts of tf.contrib that are needed."""

    def layer_norm(inputs: Any, begin_norm_axis: int = -1, begin_params_axis: int = -1, scope: Any = None) -> Any:
        """Normalize over the last axis, as tf.contrib.layers.layer_norm does by default here."""
        with tf.variable_scope(scope, "LayerNorm"):
            width = inputs.shape[-1:]
            beta = tf.get_variable("beta", width, initializer=tf.zeros_initializer())
            gamma = tf.get_variable("gamma", width, initializer=tf.ones_initializer())
            mean, variance = tf.nn.moments(inputs, [-1], keep_dims=True)
            return tf.nn.batch_normalization(inputs, mean, variance, beta, gamma, 1e-12)

    class Hyperparameters(types.SimpleNamespace):
        def __init__(self, **values: Any) -> None:
            super().__init__(**values)

    class Anything:
        def __getattr__(self, name: str) -> Any:
            return Anything()

        def __mro_entries__(self, bases: Any) -> Any:
            return ()

        def __call__(self, *_: Any, **__: Any) -> Any:
            return Anything()

    contrib = types.ModuleType("tensorflow.contrib")
    parts = {
        "layers": types.SimpleNamespace(layer_norm=layer_norm),
        "training": types.SimpleNamespace(HParams=Hyperparameters),
        "cluster_resolver": Anything(),
        "tpu": Anything(),
        "framework": Anything(),
    }
    for name, part in parts.items():
        setattr(contrib, name, part)
    contrib.__path__ = []  # type: ignore[attr-defined]
    training = types.ModuleType("tensorflow.contrib.training")
    training.HParams = Hyperparameters  # type: ignore[attr-defined]
    sys.modules["tensorflow.contrib.training"] = training
    tf.estimator = Anything()
    shim = types.ModuleType("tensorflow")
    shim.__dict__.update({name: getattr(tf, name) for name in dir(tf)})
    shim.__path__ = tensorflow.__path__  # type: ignore[attr-defined]
    shim.contrib = contrib  # type: ignore[attr-defined]
    shim.compat = tensorflow.compat  # type: ignore[attr-defined]
    sys.modules["tensorflow"] = shim
    sys.modules["tensorflow.contrib"] = contrib
    # gpt-2 asks sizes for their value, as in TensorFlow 1
    tf.disable_v2_tensorshape()


def import_from(folder: Path, name: str) -> Any:
    """Import a module of a checkout; modules of other checkouts with the same names are forgotten."""
    for known in (
        "modeling",
        "optimization",
        "tokenization",
        "run_pretraining",
        "run_classifier",
        "run_squad",
        "model",
        "util",
        "pretrain",
        "configure_pretraining",
    ):
        for loaded in [key for key in sys.modules if key == known or key.startswith(known + ".")]:
            for flag in list(tf.flags.FLAGS.flags_by_module_dict().get(loaded, ())):
                delattr(tf.flags.FLAGS, flag.name)
            del sys.modules[loaded]
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))


def feed_sentences() -> Tensors:
    """Placeholders of the encoders."""
    return {
        name: tf.placeholder(tf.int32, [None, LENGTH], name=name) for name in ("input_ids", "input_mask", "segment_ids")
    }


def make_sentences() -> dict[str, Any]:
    """Token ids, a mask that hides the end of one sentence, and segments."""
    generator = np.random.default_rng(4)
    mask = np.ones((2, LENGTH), np.int32)
    mask[1, 9:] = 0
    segments = np.zeros((2, LENGTH), np.int32)
    segments[:, 5:] = 1
    return {
        "input_ids": generator.integers(0, WORDS, (2, LENGTH)).astype(np.int32),
        "input_mask": mask,
        "segment_ids": segments,
    }


def token_logits(sequence: Any, table: Any) -> Any:
    """Name the logits of every position, which the code of the original computes only for the masked ones."""
    return sequence


def bert(folder: Path, *, train: bool = False) -> tuple[Tensors, Tensors, dict[str, Any], dict[str, str]]:
    """BERT with both heads of pretraining."""
    code = import_from(folder / "bert", "run_pretraining")
    config = code.modeling.BertConfig(**ENCODER)
    inputs = feed_sentences()
    model = code.modeling.BertModel(config, train, *inputs.values(), use_one_hot_embeddings=False)
    positions = tf.tile(tf.range(LENGTH)[None], [2, 1])
    dummy = tf.zeros([2 * LENGTH], tf.int32)
    _, _, words = code.get_masked_lm_output(
        config, model.get_sequence_output(), model.get_embedding_table(), positions, dummy, tf.ones([2 * LENGTH])
    )
    _, _, sentences = code.get_next_sentence_output(config, model.get_pooled_output(), tf.zeros([2], tf.int32))
    outputs = {"sequence": model.get_sequence_output(), "pooled": model.get_pooled_output()}
    outputs |= {"words": words.op.inputs[0], "sentences": sentences.op.inputs[0]}
    return inputs, outputs, make_sentences(), {"bert_config.json": json.dumps(ENCODER), "vocab.txt": make_vocabulary()}


def bert_classifier(folder: Path) -> tuple[Tensors, Tensors, dict[str, Any], dict[str, str]]:
    """BERT with a classifier of 3 classes; also applied to every token, as its comment says and others' code does."""
    code = import_from(folder / "bert", "run_classifier")
    config = code.modeling.BertConfig(**ENCODER)
    inputs = feed_sentences()
    labels = tf.zeros([2], tf.int32)
    _, _, logits, _ = code.create_model(config, False, *inputs.values(), labels, 3, use_one_hot_embeddings=False)
    variables = {variable.op.name: variable for variable in tf.global_variables()}
    sequence = tf.get_default_graph().get_tensor_by_name("bert/encoder/Reshape_3:0")
    tokens = tf.matmul(tf.reshape(sequence, [-1, 16]), variables["output_weights"], transpose_b=True)
    tokens = tf.reshape(tf.nn.bias_add(tokens, variables["output_bias"]), [-1, LENGTH, 3])
    outputs = {"classes": logits, "token_classes": tokens}
    return inputs, outputs, make_sentences(), {"bert_config.json": json.dumps(ENCODER), "vocab.txt": make_vocabulary()}


def bert_questions(folder: Path) -> tuple[Tensors, Tensors, dict[str, Any], dict[str, str]]:
    """BERT that finds the answer to a question in a text."""
    code = import_from(folder / "bert", "run_squad")
    config = code.modeling.BertConfig(**ENCODER)
    inputs = feed_sentences()
    start, end = code.create_model(config, False, *inputs.values(), use_one_hot_embeddings=False)
    files = {"bert_config.json": json.dumps(ENCODER), "vocab.txt": make_vocabulary()}
    return inputs, {"start": start, "end": end}, make_sentences(), files


def albert(folder: Path) -> tuple[Tensors, Tensors, dict[str, Any], dict[str, str]]:
    """ALBERT with both heads of pretraining; embeddings are narrower than layers, which share their weights."""
    code = import_from(folder, "albert.modeling")
    extra = {"embedding_size": 8, "num_hidden_groups": 1, "inner_group_num": 1, "net_structure_type": 0, "gap_size": 0}
    extra |= {"num_memory_blocks": 0, "down_scale_factor": 1}
    values = {**ENCODER, **extra, "hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0}
    config = code.AlbertConfig.from_dict(values)
    inputs = feed_sentences()
    model = code.AlbertModel(config, False, *inputs.values(), use_one_hot_embeddings=False)
    pretraining = importlib.import_module("albert.run_pretraining")
    positions = tf.tile(tf.range(LENGTH)[None], [2, 1])
    dummy = tf.zeros([2 * LENGTH], tf.int32)
    _, _, words = pretraining.get_masked_lm_output(
        config, model.get_sequence_output(), model.get_embedding_table(), positions, dummy, tf.ones([2 * LENGTH])
    )
    _, _, sentences = pretraining.get_sentence_order_output(config, model.get_pooled_output(), tf.zeros([2], tf.int32))
    outputs = {"sequence": model.get_sequence_output(), "pooled": model.get_pooled_output()}
    outputs |= {"words": words.op.inputs[0], "sentences": sentences.op.inputs[0]}
    return inputs, outputs, make_sentences(), {"albert_config.json": json.dumps(values)}


def electra(
    folder: Path, *, own: bool = False, shared: bool = False
) -> tuple[Tensors, Tensors, dict[str, Any], dict[str, str]]:
    """ELECTRA: a discriminator of width 128, a generator of width 64, and the embeddings that they share.

    With `own` the generator has embeddings of its own, as wide as its layers, and with `shared` it is the discriminator
    with another head, of width 64.
    """
    code = import_from(folder / "electra", "run_pretraining")
    values = {**ENCODER, "hidden_size": 128, "num_attention_heads": 2, "intermediate_size": 64, "num_hidden_layers": 1}
    if shared:
        values |= {"hidden_size": 64, "num_attention_heads": 1, "intermediate_size": 32}
    config = code.modeling.BertConfig(**values)
    small = code.modeling.BertConfig(**{**values, "hidden_size": 64, "num_attention_heads": 1, "intermediate_size": 32})
    inputs = feed_sentences()
    common = {"use_one_hot_embeddings": False, "embedding_size": 16}
    arguments = (inputs["input_ids"], inputs["input_mask"], inputs["segment_ids"])
    theirs = {"use_one_hot_embeddings": False, "untied_embeddings": True} if own else common
    if shared:
        theirs = {**common, "scope": "electra"}
    generator = code.modeling.BertModel(small, False, *arguments, **{"scope": "generator", **theirs})
    with tf.variable_scope("generator_predictions"):
        words = code.get_token_logits(generator.get_sequence_output(), generator.get_embedding_table(), small)
    model = generator if shared else code.modeling.BertModel(config, False, *arguments, **common)
    owner = types.SimpleNamespace(_bert_config=config, _config=types.SimpleNamespace(electric_objective=False))
    result = code.PretrainingModel._get_discriminator_output(
        owner, types.SimpleNamespace(input_mask=inputs["input_mask"]), model, inputs["input_mask"]
    )
    outputs = {"sequence": model.get_sequence_output(), "probability": result.probs}
    outputs |= {"generator_sequence": generator.get_sequence_output(), "words": words}
    return inputs, outputs, make_sentences(), {"vocab.txt": make_vocabulary()}


def gpt2(folder: Path) -> tuple[Tensors, Tensors, dict[str, Any], dict[str, str]]:
    """GPT-2 of two layers."""
    code = import_from(folder / "gpt-2" / "src", "model")
    values = {"n_vocab": WORDS, "n_ctx": LENGTH, "n_embd": 16, "n_head": 2, "n_layer": 2}
    hparams = code.default_hparams()
    vars(hparams).update(values)
    ids = tf.placeholder(tf.int32, [None, LENGTH], name="input_ids")
    results = code.model(hparams, ids)
    files = {"hparams.json": json.dumps(values), "encoder.json": json.dumps({"a": 0, "b": 1}), "vocab.bpe": "a b\n"}
    return {"input_ids": ids}, {"words": results["logits"]}, {"input_ids": make_sentences()["input_ids"]}, files


def resnet(folder: Path, version: int, *, size: int = 45) -> tuple[Tensors, Tensors, dict[str, Any], dict[str, str]]:
    """slim's ResNet with two units a block, narrow, whose strides are in the last unit of each block."""
    sys.path.insert(0, str(folder / "tf-slim"))
    import tf_slim as slim

    code = importlib.import_module(f"tf_slim.nets.resnet_v{version}")
    utilities = importlib.import_module("tf_slim.nets.resnet_utils")
    make_block = getattr(code, f"resnet_v{version}_block")
    blocks = [make_block(f"block{n}", base_depth=4 * n, num_units=2, stride=1 if n == 4 else 2) for n in (1, 2, 3, 4)]
    image = tf.placeholder(tf.float32, [None, size, size, 3], name="image")
    network = getattr(code, f"resnet_v{version}")
    with slim.arg_scope(utilities.resnet_arg_scope()):
        logits, _ = network(image, blocks, 7, is_training=False, scope=f"resnet_v{version}_50")
    return {"image": image}, {"logits": tf.reshape(logits, [-1, 7], name="flat")}, make_image(size), {}


def inception(folder: Path, *, size: int = 107) -> tuple[Tensors, Tensors, dict[str, Any], dict[str, str]]:
    """slim's Inception v3 at a sixteenth of its width, with the auxiliary classifier."""
    sys.path.insert(0, str(folder / "tf-slim"))
    import tf_slim as slim

    code = importlib.import_module("tf_slim.nets.inception_v3")
    image = tf.placeholder(tf.float32, [None, size, size, 3], name="image")
    with slim.arg_scope(code.inception_v3_arg_scope()):
        logits, _ = code.inception_v3(image, 7, is_training=False, min_depth=2, depth_multiplier=1 / 16)
    return {"image": image}, {"logits": logits}, make_image(size), {}


def mobilenet(folder: Path, version: int, *, size: int = 65) -> tuple[Tensors, Tensors, dict[str, Any], dict[str, str]]:
    """slim's MobileNet, narrow."""
    sys.path[:0] = [str(folder / "tf-slim"), str(folder / "slim")]
    import tf_slim as slim

    image = tf.placeholder(tf.float32, [None, size, size, 3], name="image")
    slim.layers.l2_regularizer = slim.l2_regularizer
    if version == 1:
        code = importlib.import_module("nets.mobilenet_v1")
        with slim.arg_scope(code.mobilenet_v1_arg_scope(is_training=False)):
            logits, _ = code.mobilenet_v1(image, 7, is_training=False, depth_multiplier=0.125, global_pool=True)
    else:
        code = importlib.import_module("nets.mobilenet.mobilenet_v2")
        with slim.arg_scope(code.training_scope(is_training=False)):
            logits, _ = code.mobilenet(image, 7, depth_multiplier=0.35, finegrain_classification_mode=True)
    return {"image": image}, {"logits": logits}, make_image(size), {}


def make_image(size: int) -> dict[str, Any]:
    """An image of random multiples of 1/64."""
    return {"image": (np.random.default_rng(5).integers(-64, 65, (1, size, size, 3)) / 64).astype(np.float32)}


def make_vocabulary() -> str:
    """A vocabulary of BERT's form."""
    return "".join(f"{word}\n" for word in ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map(str, range(WORDS - 5))])


CASES: dict[str, Callable[[Path], Any]] = {
    "bert": bert,
    "bert-training": lambda folder: bert(folder, train=True),
    "bert-classifier": bert_classifier,
    "bert-questions": bert_questions,
    "albert": albert,
    "electra": electra,
    "electra-own": lambda folder: electra(folder, own=True),
    "electra-shared": lambda folder: electra(folder, shared=True),
    "gpt2": gpt2,
    "resnet-v1": lambda folder: resnet(folder, 1),
    "resnet-v2": lambda folder: resnet(folder, 2),
    "inception-v3": inception,
    "mobilenet-v1": lambda folder: mobilenet(folder, 1),
    "mobilenet-v2": lambda folder: mobilenet(folder, 2),
}


#: The variance of kernels times their inputs, 6 for the others; MobileNet V2 needs less, or its results depend on the
#: last bit of every product.
_GAINS = dict.fromkeys((case for case in CASES if case.startswith(("bert", "albert", "electra", "gpt2"))), 0.5)
_GAINS["mobilenet-v2"] = 0.7


def draw(case: str, name: str, shape: list[int], generator: np.random.Generator) -> Any:
    """Return a variable's value; MobileNet V2's kernels have two values, which compress well."""
    last = name.rpartition("/")[2]
    if last in ("gamma", "moving_variance", "g"):
        value = generator.integers(40, 96, shape) / 64
    elif last in ("beta", "bias", "biases", "moving_mean", "b", "output_bias"):
        value = generator.integers(-16, 17, shape) / 64
    elif len(shape) < 2 or "embedding" in name or last in ("wte", "wpe"):
        value = generator.integers(-32, 33, shape) / 64
    else:
        fan = np.prod(shape[:2]) if "depthwise" in last else np.prod(shape[:-1])
        gain = _GAINS.get(case, 6)
        spread = max(int(64 * (gain / fan) ** 0.5), 3)
        levels = 2 * spread if case == "mobilenet-v2" else 1
        value = generator.integers(0, 2 * spread // levels + 1, shape) * levels / 64 - spread / 64
    return value.astype(np.float32)


def record(case: str, folder: Path) -> None:
    """Write an archive with checkpoint, graph and files, and the outputs in float32."""
    with tf.Graph().as_default(), tf.Session() as session:
        inputs, outputs, feeds, files = CASES[case](folder)
        generator = np.random.default_rng(3)
        variables = tf.global_variables()
        for variable in sorted(variables, key=lambda variable: variable.name):
            variable.load(draw(case, variable.op.name, variable.shape.as_list(), generator), session)
        for name, tensor in outputs.items():
            tf.identity(tensor, name=f"output/{name}")
        run = {} if "training" in case else session.run(outputs, {inputs[name]: value for name, value in feeds.items()})
        with tempfile.TemporaryDirectory() as temporary:
            prefix = os.path.join(temporary, "model.ckpt")
            tf.train.Saver(variables).save(session, prefix, write_state=False, write_meta_graph=False)
            tf.train.export_meta_graph(prefix + ".meta", graph=tf.get_default_graph(), strip_default_attrs=True)
            for name, text in files.items():
                Path(temporary, name).write_text(text)
            TARGET.mkdir(exist_ok=True)
            with tarfile.open(TARGET / f"{case}.tar.xz", "w:xz") as archive:
                for path in sorted(Path(temporary).iterdir()):
                    member = tarfile.TarInfo(f"{case}/{path.name}")
                    member.size = path.stat().st_size
                    archive.addfile(member, io.BytesIO(path.read_bytes()))
    golden = {f"input/{name}": value for name, value in feeds.items()}
    golden |= {f"output/{name}": value for name, value in run.items()}
    np.savez_compressed(TARGET / f"{case}.npz", **golden)
    print(case, {name: value.shape for name, value in run.items()}, (TARGET / f"{case}.tar.xz").stat().st_size)


def main(folder: str, *cases: str) -> None:
    """Record the named cases, or all."""
    install_contrib()
    for case in cases or CASES:
        record(case, Path(folder).resolve())


if __name__ == "__main__":
    main(*sys.argv[1:])
