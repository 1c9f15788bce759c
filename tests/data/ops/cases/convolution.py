"""Convolutions, depthwise and transposed ones."""

from __future__ import annotations

import tensorflow as tf

from cases import reals


def _to_last(x):
    return tf.transpose(x, [0, *range(2, len(x.shape)), 1])


def _to_first(x):
    return tf.transpose(x, [0, len(x.shape) - 1, *range(1, len(x.shape) - 1)])


def record(case):
    raw = tf.raw_ops
    for size in (7, 8):
        for kernel, stride, dilation in (
            (3, 1, 1),
            (3, 2, 1),
            (5, 2, 1),
            (2, 2, 1),
            (1, 2, 1),
            (3, 1, 2),
            (4, 3, 1),
            (2, 1, 1),
        ):
            for padding in ("SAME", "VALID"):
                case(
                    f"Conv2D/{padding}/size {size}/kernel {kernel}/stride {stride}/dilation {dilation}",
                    lambda x, w, s=stride, p=padding, d=dilation: raw.Conv2D(
                        input=x, filter=w, strides=[1, s, s, 1], padding=p, dilations=[1, d, d, 1]
                    ),
                    reals(1, size, size + 1, 2),
                    reals(kernel, kernel, 2, 3),
                )
            if dilation == 1:
                case(
                    f"DepthwiseConv2dNative/size {size}/kernel {kernel}/stride {stride}",
                    lambda x, w, s=stride: raw.DepthwiseConv2dNative(
                        input=x, filter=w, strides=[1, s, s, 1], padding="SAME"
                    ),
                    reals(1, size, size, 3),
                    reals(kernel, kernel, 3, 2),
                )
    case(
        "Conv2D/rectangles",
        lambda x, w: raw.Conv2D(input=x, filter=w, strides=[1, 2, 1, 1], padding="SAME"),
        reals(2, 7, 6, 2),
        reals(3, 2, 2, 3),
    )
    explicit = [0, 0, 1, 2, 0, 3, 0, 0]
    case(
        "Conv2D/EXPLICIT",
        lambda x, w: raw.Conv2D(
            input=x, filter=w, strides=[1, 2, 2, 1], padding="EXPLICIT", explicit_paddings=explicit
        ),
        reals(1, 6, 6, 2),
        reals(3, 3, 2, 3),
    )
    case(
        "Conv2D/EXPLICIT symmetric",
        lambda x, w: raw.Conv2D(
            input=x, filter=w, strides=[1, 1, 1, 1], padding="EXPLICIT", explicit_paddings=[0, 0, 1, 1, 2, 2, 0, 0]
        ),
        reals(1, 5, 5, 2),
        reals(3, 3, 2, 3),
    )
    case(
        "Conv2D/groups",
        lambda x, w: raw.Conv2D(input=x, filter=w, strides=[1, 1, 1, 1], padding="SAME"),
        reals(1, 5, 5, 4),
        reals(3, 3, 2, 6),
    )
    case(
        "Conv2D/no images",
        lambda x, w: raw.Conv2D(input=x, filter=w, strides=[1, 1, 1, 1], padding="SAME"),
        reals(0, 5, 5, 2),
        reals(3, 3, 2, 3),
    )
    case(
        "Conv2D/unknown shape",
        lambda x, w: raw.Conv2D(input=x, filter=w, strides=[1, 2, 2, 1], padding="SAME"),
        reals(1, 5, 4, 2),
        reals(3, 3, 2, 3),
        unknown_shapes=True,
    )
    for padding in ("SAME", "VALID", "EXPLICIT"):
        pads = [0, 0, 0, 0, 1, 2, 0, 3] if padding == "EXPLICIT" else []
        pads_last = [0, 0, 1, 2, 0, 3, 0, 0] if padding == "EXPLICIT" else []
        case(
            f"Conv2D/NCHW/{padding}",
            lambda x, w, p=padding, e=pads: raw.Conv2D(
                input=x, filter=w, strides=[1, 1, 2, 2], padding=p, explicit_paddings=e, data_format="NCHW"
            ),
            reals(1, 2, 6, 7),
            reals(3, 3, 2, 3),
            exact=lambda x, w, p=padding, e=pads_last: _to_first(
                raw.Conv2D(input=_to_last(x), filter=w, strides=[1, 2, 2, 1], padding=p, explicit_paddings=e)
            ),
        )
    case(
        "DepthwiseConv2dNative/NCHW",
        lambda x, w: raw.DepthwiseConv2dNative(
            input=x, filter=w, strides=[1, 1, 2, 2], padding="SAME", data_format="NCHW"
        ),
        reals(1, 3, 6, 6),
        reals(3, 3, 3, 2),
        exact=lambda x, w: _to_first(
            raw.DepthwiseConv2dNative(input=_to_last(x), filter=w, strides=[1, 2, 2, 1], padding="SAME")
        ),
    )
    case(
        "DepthwiseConv2dNative/VALID",
        lambda x, w: raw.DepthwiseConv2dNative(input=x, filter=w, strides=[1, 1, 1, 1], padding="VALID"),
        reals(2, 6, 5, 2),
        reals(3, 2, 2, 1),
    )
    case(
        "DepthwiseConv2dNative/EXPLICIT",
        lambda x, w: raw.DepthwiseConv2dNative(
            input=x, filter=w, strides=[1, 2, 2, 1], padding="EXPLICIT", explicit_paddings=explicit
        ),
        reals(1, 6, 6, 2),
        reals(3, 3, 2, 1),
    )
    case(
        "DepthwiseConv2dNative/dilation",
        lambda x, w: raw.DepthwiseConv2dNative(
            input=x, filter=w, strides=[1, 1, 1, 1], padding="SAME", dilations=[1, 2, 2, 1]
        ),
        reals(1, 7, 8, 2),
        reals(3, 3, 2, 2),
        exact=lambda x, w: tf.nn.depthwise_conv2d(x, w, [1, 1, 1, 1], "SAME", dilations=[2, 2]),
    )
    case(
        "Conv2D/atrous by batches",
        lambda x, w: tf.nn.convolution(x, w, padding="SAME", dilations=[2, 2]),
        reals(1, 7, 8, 2),
        reals(3, 3, 2, 3),
    )
    case(
        "depthwise atrous by batches",
        lambda x, w: tf.nn.depthwise_conv2d(x, w, [1, 1, 1, 1], "SAME", dilations=[2, 2]),
        reals(1, 7, 8, 2),
        reals(3, 3, 2, 2),
    )
    case("one dimension", lambda x, w: tf.nn.conv1d(x, w, stride=2, padding="SAME"), reals(2, 9, 3), reals(3, 3, 4))
    for padding in ("SAME", "VALID"):
        case(
            f"Conv3D/{padding}",
            lambda x, w, p=padding: raw.Conv3D(input=x, filter=w, strides=[1, 2, 1, 2, 1], padding=p),
            reals(1, 5, 4, 4, 2),
            reals(3, 2, 3, 2, 2),
        )
        for stride, size in ((2, 8), (2, 7), (1, 5), (3, 9)):
            small = -(-size // stride) if padding == "SAME" else -(-(size - 2) // stride)
            case(
                f"Conv2DBackpropInput/{padding}/{stride}/{size}",
                lambda g, w, p=padding, s=stride, n=size: raw.Conv2DBackpropInput(
                    input_sizes=[1, n, n, 3], filter=w, out_backprop=g, strides=[1, s, s, 1], padding=p
                ),
                reals(1, small, small, 2),
                reals(3, 3, 3, 2),
            )
    case(
        "Conv2DBackpropInput/narrow",
        lambda g, w: raw.Conv2DBackpropInput(
            input_sizes=[1, 8, 8, 3], filter=w, out_backprop=g, strides=[1, 3, 3, 1], padding="SAME"
        ),
        reals(1, 3, 3, 2),
        reals(2, 2, 3, 2),
    )
    case(
        "Conv2DBackpropInput/dynamic",
        lambda g, w, x: raw.Conv2DBackpropInput(
            input_sizes=tf.shape(x), filter=w, out_backprop=g, strides=[1, 2, 2, 1], padding="SAME"
        ),
        reals(1, 3, 3, 2),
        reals(4, 4, 3, 2),
        reals(1, 6, 6, 3),
        unknown_shapes=True,
    )
    case(
        "Conv3DBackpropInputV2",
        lambda g, w: raw.Conv3DBackpropInputV2(
            input_sizes=[1, 4, 6, 4, 2], filter=w, out_backprop=g, strides=[1, 2, 2, 2, 1], padding="SAME"
        ),
        reals(1, 2, 3, 2, 2),
        reals(3, 3, 3, 2, 2),
    )
