"""Published sizes and accuracies of the networks, copied from the papers and the README of the released code."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """Millions of parameters, billions of multiply-adds for one image of the evaluation size, and top-1 accuracy.

    The accuracy is in percent, on the validation images of ImageNet after training on ImageNet alone; None if that was
    not published.
    """

    parameters: float
    multiply_adds: float
    top1: float | None


#: Sources: "EfficientNetV2" (arXiv 2104.00298), table 7, for S to XL; the released code's README (google/automl,
#: folder efficientnetv2) for B0 to B3 and for the accuracies of S to L; "EfficientNet" (arXiv 1905.11946), table 2, for
#: version 1; the released code's README (tensorflow/tpu, folder efficientnet/lite) for Lite, in float32.
PUBLISHED: dict[str, Published] = {
    "efficientnetv2-s": Published(22, 8.8, 83.9),
    "efficientnetv2-m": Published(54, 24, 85.2),
    "efficientnetv2-l": Published(120, 53, 85.7),
    "efficientnetv2-xl": Published(208, 94, None),
    "efficientnetv2-b0": Published(7.1, 0.72, 78.7),
    "efficientnetv2-b1": Published(8.1, 1.2, 79.8),
    "efficientnetv2-b2": Published(10.1, 1.7, 80.5),
    "efficientnetv2-b3": Published(14.4, 3.0, 82.1),
    "efficientnet-b0": Published(5.3, 0.39, 77.1),
    "efficientnet-b1": Published(7.8, 0.70, 79.1),
    "efficientnet-b2": Published(9.2, 1.0, 80.1),
    "efficientnet-b3": Published(12, 1.8, 81.6),
    "efficientnet-b4": Published(19, 4.2, 82.9),
    "efficientnet-b5": Published(30, 9.9, 83.6),
    "efficientnet-b6": Published(43, 19, 84.0),
    "efficientnet-b7": Published(66, 37, 84.3),
    "efficientnet-lite0": Published(4.7, 0.407, 75.1),
    "efficientnet-lite1": Published(5.4, 0.631, 76.7),
    "efficientnet-lite2": Published(6.1, 0.899, 77.6),
    "efficientnet-lite3": Published(8.2, 1.44, 79.8),
    "efficientnet-lite4": Published(13.0, 2.64, 81.5),
}
