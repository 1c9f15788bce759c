"""Our network compared with timm's of the same name, and the oracle compared with our network."""

from __future__ import annotations

import pathlib
import subprocess
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from . import checkpoints, tensorflow_side
from .measure import Result, best_of_each

if TYPE_CHECKING:
    from converter.model import EfficientNet

_THREADS = 2
#: The normalization inside Keras's B0.
_KERAS_MEAN = (0.485, 0.456, 0.406)
_KERAS_VARIANCE = (0.229**2, 0.224**2, 0.225**2)
#: Our name, timm's name.
_NETWORKS = (("efficientnetv2-b0", "tf_efficientnetv2_b0"), ("efficientnetv2-s", "tf_efficientnetv2_s"))


def models(tensorflow: str | None) -> Iterator[Result]:
    """Time forward passes at the evaluation size in one process, in turn, for batches of 1 and 8."""
    import torch

    torch.set_num_threads(_THREADS)
    timm = import_timm()
    from converter.model import CONFIGS

    for ours_name, timm_name in _NETWORKS:
        config = CONFIGS[ours_name]
        ours = make_network(ours_name)
        theirs = timm.create_model(timm_name).eval()
        for batch, runs in ((1, 20), (8, 5)):
            images = torch.randn(batch, 3, config.eval_size, config.eval_size)
            label = f"{ours_name}, batch {batch}"
            with torch.inference_mode():
                other, plain = best_of_each(*(_forward(model, images) for model in (theirs, ours)), runs=runs)
            detail = f"timm {other * 1000:.1f} ms"
            yield Result(f"forward, {label}", plain / other, 1.03, True, "x timm", detail)
    if tensorflow is not None:
        yield from _oracle(tensorflow)


def make_network(name: str) -> EfficientNet:
    """Return a network with random weights whose activations and outputs keep a typical size."""
    import torch

    from converter.model import CONFIGS, EfficientNet

    config = CONFIGS[name]
    torch.manual_seed(0)
    network = EfficientNet(config)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # take the statistics of the next batch, so that activations keep a typical size
    for path, module in network.named_modules():
        if path.endswith("project.bn"):
            # As after training, a block adds little to its input; otherwise random blocks amplify rounding errors.
            torch.nn.init.constant_(module.weight, 0.2)
    with torch.inference_mode():
        # At the measured size: the statistics of smaller images do not fit, and rounding errors would grow.
        network.train()(torch.randn(2, 3, config.eval_size, config.eval_size))
    return network.eval()


def _oracle(tensorflow: str) -> Iterator[Result]:
    """Time the graph of Keras's EfficientNetV2B0 in the oracle, and the model with the same weights."""
    import torch

    import converter

    folder = checkpoints.FOLDER / "keras-b0"
    if not (folder / "saved_model.pb").is_file():
        script = pathlib.Path(__file__).with_name("keras_b0.py")
        subprocess.run([tensorflow, script, folder], check=True, env=tensorflow_side.environment(), capture_output=True)
    pixels = torch.rand(1, 224, 224, 3) * 255
    model = converter.load_model(folder)
    with converter.load_graph(folder) as graph, torch.inference_mode():
        signature = graph.signature()
        feed = next(iter(signature.inputs.values())).name
        fetch = next(iter(signature.outputs.values())).name
        evaluator = graph.evaluator()
        mean, variance = (torch.tensor(values)[:, None, None] for values in (_KERAS_MEAN, _KERAS_VARIANCE))
        images = (pixels.permute(0, 3, 1, 2) / 255 - mean) / variance.sqrt()  # the graph does this itself
        expected = model(images)
        actual = torch.as_tensor(evaluator.run([fetch], {feed: pixels.numpy()})[0])
        difference = float((actual - expected).abs().max() / expected.abs().max())
        plain, oracle = best_of_each(
            _forward(model, images), lambda: evaluator.run([fetch], {feed: pixels.numpy()}), runs=10
        )
    yield Result("oracle, B0, batch 1", oracle / plain, 3.0, True, "x the model", f"logits differ by {difference:.1e}")


def _forward(model: Callable[[object], object], images: object) -> Callable[[], object]:
    return lambda: model(images)


def import_timm():  # type: ignore[no-untyped-def]  # a module
    """Import timm, even if torchvision's operators cannot be loaded.

    The wheel of torchvision on PyPI has none for a torch without CUDA; declaring them is enough for the import.
    """
    import torch

    try:
        import torchvision  # type: ignore[import-untyped, unused-ignore]
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import_timm.library = library  # type: ignore[attr-defined]  # the declarations live as long as the object
        import torchvision  # noqa: F401
    import timm

    return timm
