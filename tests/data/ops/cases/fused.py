"""Operations that optimizers of graphs write; TensorFlow has no Python function for them, and no float64."""

from __future__ import annotations

import tensorflow as tf

from cases import positive, reals, single


def _fused(op, fused_ops, count, **attributes):
    """Return a builder of one node: the first two inputs, then `count` more."""

    def build(*inputs):
        definition = tf.compat.v1.GraphDef()
        names = [f"in_{number}" for number, _ in enumerate(inputs)]
        for name in names:
            node = definition.node.add(name=name, op="Placeholder")
            node.attr["dtype"].type = tf.float32.as_datatype_enum
        node = definition.node.add(name="fused", op=op, input=names)
        node.attr["T"].type = tf.float32.as_datatype_enum
        node.attr["num_args"].i = count
        node.attr["fused_ops"].list.s.extend(name.encode() for name in fused_ops)
        for key, value in attributes.items():
            if isinstance(value, list):
                node.attr[key].list.i.extend(value)
            elif isinstance(value, bool):
                node.attr[key].b = value
            elif isinstance(value, float):
                node.attr[key].f = value
            else:
                node.attr[key].s = value.encode()
        if op == "_FusedConv2D":
            node.attr["TArgs"].list.type.extend([tf.float32.as_datatype_enum] * count)
            node.attr["num_host_args"].i = 0
        feeds = dict(zip(names, inputs, strict=True))
        return tf.graph_util.import_graph_def(definition, input_map=feeds, return_elements=["fused:0"], name="")

    return build


def record(case):
    image, kernel, bias = single(reals(2, 5, 6, 3)), single(reals(3, 3, 3, 4)), single(reals(4))
    window = {"strides": [1, 2, 2, 1], "padding": "SAME", "dilations": [1, 1, 1, 1]}
    for fused in (["BiasAdd"], *(["BiasAdd", name] for name in ("Relu", "Relu6", "Elu"))):
        case(f"_FusedConv2D/{'+'.join(fused)}", _fused("_FusedConv2D", fused, 1, **window), image, kernel, bias)
    leaky = _fused("_FusedConv2D", ["BiasAdd", "LeakyRelu"], 1, leakyrelu_alpha=0.25, **window)
    case("_FusedConv2D/BiasAdd+LeakyRelu", leaky, image, kernel, bias)
    statistics = [single(positive(4, seed=number)) for number in range(4)]
    normalized = _fused("_FusedConv2D", ["FusedBatchNorm", "Relu"], 4, epsilon=0.001, **window)
    case("_FusedConv2D/FusedBatchNorm+Relu", normalized, image, kernel, *statistics)
    matrix = [single(reals(3, 5)), single(reals(5, 4)), bias]
    for fused in (["BiasAdd"], *(["BiasAdd", name] for name in ("Relu", "Sigmoid", "Tanh", "GeluApproximate"))):
        case(f"_FusedMatMul/{'+'.join(fused)}", _fused("_FusedMatMul", fused, 1), *matrix)
    turned = [single(reals(5, 3)), single(reals(4, 5)), bias]
    case("_FusedMatMul/transposed", _fused("_FusedMatMul", ["BiasAdd"], 1, transpose_a=True, transpose_b=True), *turned)
