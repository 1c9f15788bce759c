"""Published sizes of the networks, copied from the papers and the README of the released code."""

from __future__ import annotations

#: Millions of parameters, and billions of multiply-adds for one image of the evaluation size.
#: Sources: "EfficientNetV2" (arXiv 2104.00298), table 7, for S to XL; the released code's README (google/automl,
#: folder efficientnetv2) for B0 to B3; "EfficientNet" (arXiv 1905.11946), table 2, for version 1; the released code's
#: README (tensorflow/tpu, folder efficientnet/lite) for Lite.
PUBLISHED: dict[str, tuple[float, float]] = {
    "efficientnetv2-s": (22, 8.8),
    "efficientnetv2-m": (54, 24),
    "efficientnetv2-l": (120, 53),
    "efficientnetv2-xl": (208, 94),
    "efficientnetv2-b0": (7.1, 0.72),
    "efficientnetv2-b1": (8.1, 1.2),
    "efficientnetv2-b2": (10.1, 1.7),
    "efficientnetv2-b3": (14.4, 3.0),
    "efficientnet-b0": (5.3, 0.39),
    "efficientnet-b1": (7.8, 0.70),
    "efficientnet-b2": (9.2, 1.0),
    "efficientnet-b3": (12, 1.8),
    "efficientnet-b4": (19, 4.2),
    "efficientnet-b5": (30, 9.9),
    "efficientnet-b6": (43, 19),
    "efficientnet-b7": (66, 37),
    "efficientnet-lite0": (4.7, 0.407),
    "efficientnet-lite1": (5.4, 0.631),
    "efficientnet-lite2": (6.1, 0.899),
    "efficientnet-lite3": (8.2, 1.44),
    "efficientnet-lite4": (13.0, 2.64),
}
