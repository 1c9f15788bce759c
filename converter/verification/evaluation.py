"""Accuracy of a converted network: top-1 and top-5 on labelled images, compared with the oracle.

Images are in a folder with a subfolder for each class, or in an `.npz` with the arrays `images` and `labels`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from tfckpt.errors import CheckpointNotFoundError, abridged, printable

from .._typing import Array, Progress
from ..errors import ConversionError, FeedError
from ..images.labels import find_duplicates
from .activations import load_golden
from .comparison import predict_classes

if TYPE_CHECKING:
    from ..engine.reference_graph import ReferenceGraph
    from ..engine.variables import Weights
    from ..images.recipes import Preprocessing
    from ..model.efficientnet import EfficientNet
    from .pairing import Pairing

IMAGES, LABELS = "images", "labels"
ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
TOP = 5
_CHANNELS = 3


class Batch(NamedTuple):
    """Images (NHWC, float32) and their class numbers."""

    images: Array
    labels: Array


#: The classes of a network for ImageNet whose class 0 is the background.
_WITH_BACKGROUND = 1001


class LabelledImages(Protocol):
    """Labelled images that are read batch by batch."""

    @property
    def count(self) -> int:
        """The number of images."""

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield all images in order."""


class Predictor(Protocol):
    """A function from images (NHWC, float32) to logits (N, classes)."""

    def __call__(self, images: Array) -> Array:
        """Return the logits of some images."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The number of correct predictions of our network, and of the oracle if it ran too.

    `differing` counts predictions that are not the oracle's; `largest_difference` is the largest difference of two
    logits, relative to the largest logit, and NaN if a logit is. Logits with NaN predict nothing.
    """

    count: int
    classes: int
    top1: int
    top5: int
    oracle_top1: int | None = None
    oracle_top5: int | None = None
    differing: int | None = None
    largest_difference: float | None = None

    def summary(self) -> str:
        """Return the result in a few lines."""
        lines = [
            f"images    {self.count:,}, {self.classes} classes",
            f"top-1     {self._format_share(self.top1)} in PyTorch" + self._format_oracle(self.oracle_top1),
        ]
        if self.classes >= TOP:
            lines.append(
                f"top-5     {self._format_share(self.top5)} in PyTorch" + self._format_oracle(self.oracle_top5)
            )
        if self.differing is not None:
            lines.append(
                f"differing {self.differing:,} of {self.count:,} predictions; largest logit difference "
                f"{self.largest_difference:.1e} of the largest logit"
            )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON."""
        return dataclasses.asdict(self)

    def _format_share(self, correct: int) -> str:
        return f"{correct / self.count:.2%} ({correct:,})"

    def _format_oracle(self, correct: int | None) -> str:
        return "" if correct is None else f", {self._format_share(correct)} by the graph"


def evaluate(
    model: Predictor,
    data: LabelledImages,
    *,
    classes: int,
    oracle: Predictor | None = None,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> Evaluation:
    """Classify all images with the network, and with the oracle if there is one; `progress` counts images.

    Raises `FeedError` for a label that is not a class of the network.
    """
    counts = dict.fromkeys(("top1", "top5", "oracle_top1", "oracle_top5", "differing"), 0)
    difference = largest = 0.0
    done = 0
    for batch in data.batches(batch_size):
        outside = batch.labels[(batch.labels < 0) | (batch.labels >= classes)]
        if outside.size:
            raise FeedError(f"label {int(outside[0])} is not a class of the network, expected from 0 to {classes - 1}")
        logits = model(batch.images)
        counts["top1"] += _count_correct(logits, batch.labels, 1)
        counts["top5"] += _count_correct(logits, batch.labels, TOP)
        if oracle is not None:
            theirs = oracle(batch.images)
            counts["oracle_top1"] += _count_correct(theirs, batch.labels, 1)
            counts["oracle_top5"] += _count_correct(theirs, batch.labels, TOP)
            counts["differing"] += int((predict_classes(logits) != predict_classes(theirs)).sum())
            with np.errstate(invalid="ignore"):
                difference = float(np.maximum(difference, np.abs(logits - theirs).max()))  # NaN stays, unlike with max
            largest = float(np.maximum(largest, np.abs(theirs).max()))
        done += len(batch.labels)
        if progress is not None:
            progress(done, data.count)
    if oracle is None:
        return Evaluation(count=done, classes=classes, top1=counts["top1"], top5=counts["top5"])
    return Evaluation(
        count=done, classes=classes, largest_difference=difference / largest if largest else difference, **counts
    )


def make_predictor(model: EfficientNet) -> Predictor:
    """Return a predictor that runs a PyTorch network."""
    import torch

    like = next(model.parameters())

    def run(images: Array) -> Array:
        batch = torch.from_numpy(np.ascontiguousarray(images)).to(like.device, like.dtype).permute(0, 3, 1, 2)
        with torch.inference_mode():
            logits: Array = model(batch).float().cpu().numpy()
        return logits

    return run


def make_oracle_predictor(graph: ReferenceGraph, pairing: Pairing, weights: Weights) -> Predictor:
    """Return a predictor that runs a graph; a fixed batch size of the graph is filled up with repeated images."""
    fixed = pairing.input_shape[0] if pairing.input_shape is not None else -1
    tensor = pairing.pairs[-1].tensor

    def run(images: Array) -> Array:
        if fixed <= 0:
            return once(images)
        parts = [images[start : start + fixed] for start in range(0, len(images), fixed)]
        padded = [np.concatenate([part, np.repeat(part[-1:], fixed - len(part), 0)]) for part in parts]
        return np.concatenate([once(part) for part in padded])[: len(images)]

    def once(images: Array) -> Array:
        fed = images.transpose(0, 3, 1, 2) if pairing.channels_first else images
        feeds: dict[str, Any] = {pairing.input: fed, **dict.fromkeys(pairing.switches, False)}
        return graph.run(tensor, feeds, dtype="float32", weights=weights)

    return run


@dataclasses.dataclass(frozen=True, slots=True)
class ImageFolder:
    """Image files with their class numbers, and a function that preprocesses a file.

    `notes` say how the classes were numbered if names did not show it.
    """

    files: tuple[tuple[str, int], ...]
    read: Callable[[str], Array]
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """The number of images."""
        return len(self.files)

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield batches of decoded and preprocessed images."""
        for start in range(0, len(self.files), size):
            part = self.files[start : start + size]
            images = np.concatenate([self.read(path) for path, _ in part]).transpose(0, 2, 3, 1)
            yield Batch(images, np.array([label for _, label in part]))


@dataclasses.dataclass(frozen=True, slots=True)
class ImageArrays:
    """Images as arrays, and a function that preprocesses one; None if they are already network inputs."""

    images: Array
    labels: Array
    read: Callable[[Array], Array] | None

    @property
    def count(self) -> int:
        """The number of images."""
        return len(self.labels)

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield batches of preprocessed images."""
        for start in range(0, self.count, size):
            images, labels = self.images[start : start + size], self.labels[start : start + size]
            if self.read is not None:
                images = np.concatenate([self.read(image) for image in images]).transpose(0, 2, 3, 1)
            yield Batch(images.astype(np.float32), labels)


def open_folder(
    folder: str, *, classes: int, labels: Sequence[str] | None, preprocessing: Preprocessing, size: int | None = None
) -> ImageFolder:
    """Return the images of a folder that has a subfolder for each class.

    The class of a subfolder is the position of its name in `labels`, or its name if it is a number and not a label, or
    without labels its alphabetical position if there is a subfolder for every class.
    Raises `CheckpointNotFoundError` if the folder does not exist, or `FeedError` if it is not organized like this.
    """
    from ..images.preprocessing import prepare_image

    if not os.path.isdir(folder):
        raise CheckpointNotFoundError("folder not found", path=folder)
    names = [name for name in _list(folder) if os.path.isdir(os.path.join(folder, name)) and not name.startswith(".")]
    if not names:
        raise FeedError(f"{folder} has no subfolders, expected one with images for each class")
    numbers, notes = _number_classes(names, classes, labels)
    files: list[tuple[str, int]] = []
    for name, number in zip(names, numbers, strict=True):
        images = [entry for entry in _list(os.path.join(folder, name)) if entry.lower().endswith(ENDINGS)]
        if not images:
            raise FeedError(f"the class folder {printable(name)} has no images ({', '.join(ENDINGS)})")
        files += [(os.path.join(folder, name, entry), number) for entry in images]
    return ImageFolder(tuple(files), lambda path: prepare_image(path, preprocessing, size=size), notes)


def open_arrays(
    path: str, *, channels: int, preprocessing: Callable[[], Preprocessing], size: int | None = None
) -> ImageArrays:
    """Read an `.npz` with `labels` and NHWC `images`, float32 inputs or uint8 pixels that need preprocessing.

    `preprocessing` is only called for pixels. Raises `FeedError` for other arrays.
    """
    arrays = load_golden(path)
    if not {IMAGES, LABELS} <= arrays.keys():
        present = ", ".join(map(printable, arrays)) or "no arrays"
        raise FeedError(f"{path} has {present}; expected {IMAGES} and {LABELS}")
    images, labels = arrays[IMAGES], arrays[LABELS]
    if images.ndim != 4 or images.shape[3] != channels or 0 in images.shape:
        raise FeedError(f"{IMAGES} in {path} is {list(images.shape)}, expected [N, H, W, {channels}]")
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        raise FeedError(f"{LABELS} in {path} is {labels.dtype} {list(labels.shape)}, expected integers [{len(images)}]")
    if images.dtype == np.uint8:
        from ..images.preprocessing import prepare_image

        settings = preprocessing()
        return ImageArrays(images, labels, lambda image: prepare_image(image, settings, size=size))
    if images.dtype.kind != "f":
        raise FeedError(f"{IMAGES} in {path} is {images.dtype}, expected float32 inputs or uint8 pixels")
    return ImageArrays(images, labels, None)


def _list(folder: str) -> list[str]:
    """Return the names in a folder, in alphabetical order."""
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise CheckpointNotFoundError(f"cannot be read ({error.strerror or error})", path=folder) from error


def _number_classes(
    names: Sequence[str], classes: int, labels: Sequence[str] | None
) -> tuple[list[int], tuple[str, ...]]:
    """Return the class number of each folder, and notes."""
    if labels is not None:
        return _number_by_labels(names, labels), ()
    if all(map(_is_number, names)):
        return [int(name) for name in names], ()
    first_class = int(classes == _WITH_BACKGROUND and len(names) == classes - 1)
    if len(names) != classes - first_class:
        raise FeedError(
            f"{len(names)} class folders for a network of {classes} classes: name the folders by the numbers of "
            "their classes, or give --labels with the names of all classes in order"
        )
    first, last = (printable(abridged(name)) for name in (names[0], names[-1]))
    note = (
        f"the class folders are numbered in alphabetical order, from {first} as class {first_class} to {last} as class "
        f"{classes - 1}; if the network was trained with another order, give it with --labels"
    )
    background = "class 0 has no folder: it is taken to be the background, as in EfficientNet-EdgeTPU"
    return list(range(first_class, classes)), (note, *([background] if first_class else []))


def _number_by_labels(names: Sequence[str], labels: Sequence[str]) -> list[int]:
    """Return the class number of each folder: the position of its label, or its name if that is a number."""
    duplicates = find_duplicates(labels)
    ambiguous = [
        f"{printable(name)} (classes {', '.join(map(str, duplicates[name]))})" for name in names if name in duplicates
    ]
    if ambiguous:
        raise FeedError(f"folders whose label several classes have: {', '.join(ambiguous)}; name them by number")
    positions = {label: number for number, label in enumerate(labels)}
    unknown = [name for name in names if name not in positions and not _is_number(name)]
    if unknown:
        raise FeedError(
            f"folders without a label: {', '.join(map(printable, unknown))}; the labels begin with {labels[:3]}"
        )
    return [positions[name] if name in positions else int(name) for name in names]


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit()


def _count_correct(logits: Array, labels: Array, top: int) -> int:
    """Return how many labels are among the `top` largest logits; none is if one of the logits is NaN."""
    if logits.ndim != 2:
        raise ConversionError(f"the network returns {list(logits.shape)}, expected logits (N, classes)")
    best = np.argsort(-logits, axis=1, kind="stable")[:, :top]
    is_found = (best == labels[:, None]).any(axis=1)
    return int((is_found & ~np.isnan(logits).any(axis=1)).sum())
