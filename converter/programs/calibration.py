"""Images to calibrate int8 with and to judge what it changed; never the same ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np

from tfckpt.errors import printable

from .._typing import Array, PathLike
from ..errors import FeedError
from ..images.preprocessing import prepare_image
from ..images.recipes import Preprocessing
from ..verification.activations import load_golden
from ..verification.evaluation import ENDINGS, IMAGES, LabelledImages, open_arrays, open_folder
from .metadata import read_labels, read_preprocessing
from .probes import Inputs
from .shapes import Axis, Shapes, describe_shape
from .subject import Argument, Subject

#: Fewer images do not show the range of activations.
LEAST_IMAGES = 10
#: Images that are run at once.
_BATCH = 32
#: The largest preprocessed pixel: every recipe stays below 3.
_LARGEST_INPUT = 20.0
#: The most images that judge if no labelled ones are given.
_MOST_JUDGES = 300

#: A folder of images, an `.npz` or an array of inputs.
Calibration: TypeAlias = "PathLike | Array"


def find_image_input(subject: Subject) -> Argument:
    """Return the only input of a module; raise `FeedError` if it has several, or no batch."""
    (argument, *others) = subject.arguments
    if others or not argument.shape:
        raise FeedError("int8 and accuracy need a module with a single input that is a batch of images")
    return argument


def read_calibration(source: Calibration, subject: Subject, shapes: Shapes, count: int) -> tuple[Array, Array]:
    """Return inputs to calibrate with, at most `count`, and others of the same source to judge with, perhaps none.

    A source of fewer than `count` images gives a fifth of them to judge.
    Raises `FeedError` for images of a wrong size, type or range, and for too few.
    """
    if count < LEAST_IMAGES:
        raise FeedError(f"{count} images cannot calibrate, expected at least {LEAST_IMAGES}")
    inputs = _read_inputs(source, subject, shapes)
    if len(inputs) < LEAST_IMAGES:
        raise FeedError(f"{len(inputs)} images cannot calibrate, expected at least {LEAST_IMAGES}")
    used = min(count, max(LEAST_IMAGES, len(inputs) - len(inputs) // 5))
    return inputs[:used], inputs[used : used + _MOST_JUDGES]


def read_labelled(path: str, subject: Subject, shapes: Shapes, classes: int) -> tuple[Array, Array]:
    """Return labelled images, as `tf2torch evaluate` reads them, as inputs of a module, and their class numbers."""
    argument = find_image_input(subject)
    size = _fixed_size(argument, shapes)
    settings = _find_preprocessing(subject)
    if path.lower().endswith(".npz"):
        channels = argument.shape[1 if argument.sides == (2, 3) else -1] or 0
        data: LabelledImages = open_arrays(path, channels=channels, preprocessing=settings, size=size)
    else:
        names = read_labels(subject.metadata)
        data = open_folder(path, classes=classes, labels=names, preprocessing=settings(), size=size)
    batches = list(data.batches(_BATCH))
    labels = np.concatenate([batch.labels for batch in batches])
    outside = labels[(labels < 0) | (labels >= classes)]
    if outside.size:
        raise FeedError(f"label {int(outside[0])} is not a class of the network, expected from 0 to {classes - 1}")
    return _check_inputs(subject, np.concatenate([batch.images for batch in batches]), shapes, path), labels


def check_disjoint(calibration: Array, judges: Array) -> None:
    """Raise `FeedError` if an image is in both."""
    known = {image.tobytes() for image in calibration}
    common = sum(image.tobytes() in known for image in judges)
    if common:
        raise FeedError(f"{common} of the images that calibrate are among those that judge: use others")


def split_batches(inputs: Array, subject: Subject, shapes: Shapes) -> Iterator[Inputs]:
    """Yield inputs in batches that a program takes; a fixed batch is filled up with copies of the last image."""
    argument = find_image_input(subject)
    axis = shapes[argument.name][0]
    size = _BATCH if isinstance(axis, Axis) else axis
    for start in range(0, len(inputs), size):
        part = inputs[start : start + size]
        if not isinstance(axis, Axis) and len(part) < size:
            part = np.concatenate([part, np.repeat(part[-1:], size - len(part), 0)])
        yield {argument.name: np.ascontiguousarray(part)}


def _read_inputs(source: Calibration, subject: Subject, shapes: Shapes) -> Array:
    argument = find_image_input(subject)
    if isinstance(source, np.ndarray):
        return _check_inputs(subject, source, shapes, "the array")
    path = os.fspath(source)
    if os.path.isdir(path):
        files = sorted(_list_images(path))
        settings, size = _find_preprocessing(subject)(), _fixed_size(argument, shapes)
        if not files:
            raise FeedError(f"{path} has no images ({', '.join(ENDINGS)})")
        images = np.concatenate([prepare_image(file, settings, size=size) for file in files])
        return _check_inputs(subject, images.transpose(0, 2, 3, 1), shapes, path)
    if not path.lower().endswith(".npz"):
        raise FeedError(f"{path} is neither a folder of images nor an .npz")
    arrays = load_golden(path)
    name = next((name for name in (argument.name, IMAGES) if name in arrays), None)
    if name is None:
        raise FeedError(f"{path} has {', '.join(map(printable, arrays)) or 'no arrays'}; expected {IMAGES}")
    array = arrays[name]
    if name == IMAGES and array.dtype == np.uint8 and argument.dtype.is_floating_point:
        settings, size = _find_preprocessing(subject)(), _fixed_size(argument, shapes)
        array = np.concatenate([prepare_image(image, settings, size=size) for image in array]).transpose(0, 2, 3, 1)
    return _check_inputs(subject, array, shapes, path)


def _list_images(folder: str) -> Iterator[str]:
    """Yield the images in a folder and in its subfolders, such as those of classes."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.path.isdir(path):
            yield from (os.path.join(path, inner) for inner in os.listdir(path) if inner.lower().endswith(ENDINGS))
        elif name.lower().endswith(ENDINGS):
            yield path


def _check_inputs(subject: Subject, inputs: Array, shapes: Shapes, where: str) -> Array:
    """Return inputs as the module takes them: NHWC images of a network are transposed.

    Raises `FeedError` for a wrong dtype or shape, and for numbers that look like pixels or are not finite.
    """
    argument = find_image_input(subject)
    if argument.sides == (2, 3) and inputs.ndim == 4 and inputs.shape[1] != argument.shape[1]:
        inputs = inputs.transpose(0, 3, 1, 2)
    expected = shapes[argument.name]
    fits = inputs.ndim == len(expected) and all(
        isinstance(axis, Axis) or axis == size for axis, size in zip(expected[1:], inputs.shape[1:], strict=True)
    )
    kind = np.dtype(str(argument.dtype).removeprefix("torch."))
    if not fits or inputs.dtype.kind != kind.kind:
        raise FeedError(
            f"the images in {where} are {inputs.dtype} {list(inputs.shape)}, and the program takes "
            f"{kind} {describe_shape(expected)}"
        )
    if kind.kind == "f" and not np.isfinite(inputs).all():
        raise FeedError(f"the images in {where} have values that are not finite")
    if subject.kind == "network" and inputs.size and np.abs(inputs).max() > _LARGEST_INPUT:
        raise FeedError(f"the images in {where} reach {np.abs(inputs).max():g}: preprocess the pixels first")
    return np.ascontiguousarray(inputs.astype(kind))


def _fixed_size(argument: Argument, shapes: Shapes) -> int | None:
    """Return the side of the square images that a program takes, or None if it takes any."""
    if not argument.sides:
        raise FeedError(f"the input {argument.name} does not take images: give arrays in an .npz")
    height, width = (shapes[argument.name][side] for side in argument.sides)
    if isinstance(height, Axis) or isinstance(width, Axis):
        return None
    if height != width:
        raise FeedError(f"preprocessing makes images square, but the program takes {height} by {width} pixels")
    return height


def _find_preprocessing(subject: Subject) -> Callable[[], Preprocessing]:
    """Return a function that returns how images become inputs, or raises `FeedError` if that is not recorded."""

    def find() -> Preprocessing:
        settings = read_preprocessing(subject.metadata)
        if settings is None:
            raise FeedError("how images are preprocessed is not known: give float32 inputs in an .npz")
        return settings

    return find
