"""`tf2torch evaluate`: how often a converted network is right, and whether the checkpoint's graph says the same."""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING

import tfckpt
from tfckpt.cli.render import say
from tfckpt.errors import CorruptionError
from tfckpt.files.json_text import read_json

from ..errors import ConversionError, FeedError, GraphError
from ..formats.files import LABELS_KEY, PREPROCESSING_KEY, read_native
from ..images.labels import read_labels
from ..images.recipes import MAX_SIZE, Preprocessing
from .options import add_network_options, add_opening_options, open_source
from .progress import progress_bar

if TYPE_CHECKING:
    from ..verification.evaluation import Predictor

HELP = """\
Classify labelled images with converted weights, and count how often the network is right.

  tf2torch evaluate s.safetensors --data imagenet/val                       a folder for each class
  tf2torch evaluate s.safetensors --data digits.npz --against efficientnetv2-digits

Images are preprocessed as the release was evaluated. An .npz has images, NHWC (float32 inputs, or uint8 pixels), and
labels. With --against the graph beside the checkpoint answers too, without TensorFlow.

The exit code is 1 when a prediction is not that of the graph, else 0.
"""


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "evaluate",
        help="top-1 and top-5 of converted weights on labelled images",
        description=HELP,
    )
    parser.add_argument("output", metavar="OUT", help="converted weights")
    parser.add_argument(
        "--data", metavar="FOLDER|FILE.npz", required=True, help="images in a folder for each class, or arrays"
    )
    parser.add_argument(
        "--labels",
        metavar="FILE",
        help="names of the classes in order, one a line or JSON (default: those in OUT, else the folders say)",
    )
    parser.add_argument(
        "--preprocessing",
        metavar="RELEASE",
        help="release whose preprocessing to take, or a preprocessing.json (default: that in OUT)",
    )
    parser.add_argument("--size", metavar="PIXELS", type=_size, help="input size (default: the preprocessing's)")
    parser.add_argument("--batch-size", metavar="N", type=_count, default=32, help="images at a time (default: 32)")
    parser.add_argument(
        "--against", metavar="SRC", help="checkpoint, or release by its name, whose graph answers as well"
    )
    add_network_options(parser)
    add_opening_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Classify, count, and compare."""
    from ..loading import load_model
    from ..verification.evaluation import LabelledImages, evaluate, open_arrays, open_folder, predictor

    metadata = read_native(options.output).metadata
    settings = _Settings(options, metadata)
    with _Against(options) as against:
        model = load_model(options.output, strides=against.strides or options.strides)
        classes = model.config.num_classes
        if not classes:
            raise ConversionError("the network has no classifier: there is nothing to evaluate")
        if options.data.lower().endswith(".npz"):
            data: LabelledImages = open_arrays(
                options.data,
                channels=model.config.in_channels,
                preprocessing=settings.preprocessing,
                size=options.size,
            )
        else:
            data = open_folder(
                options.data,
                classes=classes,
                labels=settings.labels(classes),
                preprocessing=settings.preprocessing(),
                size=options.size,
            )
        with progress_bar("classifying", counts=True) as progress:
            result = evaluate(
                predictor(model),
                data,
                classes=classes,
                oracle=against.predictor,
                batch_size=options.batch_size,
                progress=progress,
            )
    print(json.dumps(result.to_dict()) if options.json else result.summary())
    return 1 if result.differing else 0


class _Settings:
    """What the output or the options say of images and classes."""

    def __init__(self, options: argparse.Namespace, metadata: dict[str, str]) -> None:
        self._options = options
        self._metadata = metadata

    def preprocessing(self) -> Preprocessing:
        """How an image becomes an input; `FeedError` when nothing says so."""
        from ..preprocessing import preprocessing_of

        chosen = self._options.preprocessing
        if chosen is None and PREPROCESSING_KEY not in self._metadata:
            raise FeedError(
                f"{self._options.output} does not say how images were preprocessed: name a release with "
                "--preprocessing, or give float32 inputs in an .npz"
            )
        return preprocessing_of(chosen or self._options.output)

    def labels(self, classes: int) -> tuple[str, ...] | None:
        """The names of the classes, if they are known."""
        if self._options.labels is not None:
            found = read_labels(self._options.labels)
        elif LABELS_KEY in self._metadata:
            found = recorded_labels(self._metadata[LABELS_KEY], self._options.output)
        else:
            return None
        if len(found) != classes:
            raise FeedError(f"{len(found)} labels, but the network has {classes} classes")
        return found


def recorded_labels(text: str, path: str) -> tuple[str, ...]:
    """The labels that an output's metadata holds."""
    try:
        found = read_json(text)
    except ValueError as error:
        raise CorruptionError(f"metadata {LABELS_KEY} is no JSON ({error})", path=path) from error
    if not isinstance(found, list) or not all(isinstance(label, str) for label in found):
        raise CorruptionError(f"metadata {LABELS_KEY} is no list of labels", path=path)
    return tuple(found)


class _Against:
    """The oracle of a checkpoint, as long as it is open; nothing without one."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._checkpoint: tfckpt.Checkpoint | None = None
        self.strides: tuple[int, ...] | None = None
        self.predictor: Predictor | None = None

    def __enter__(self) -> _Against:
        from ..verification.evaluation import oracle_predictor
        from ..verification.oracle import oracle_of, pair_output, weights_of
        from ..verification.weights import verify_weights

        options = self._options
        if options.against is None:
            return self
        self._checkpoint, _ = open_source(options.against, options)
        weights = verify_weights(
            self._checkpoint, options.output, strides=options.strides, scope=options.scope, head=options.head
        )
        if not weights.ok:
            say(f"the weights are not those of {os.path.basename(self._checkpoint.prefix)}: see tf2torch verify")
        graph = oracle_of(self._checkpoint)
        if graph is None:
            raise GraphError(f"no graph with the checkpoint {self._checkpoint.prefix}: it cannot answer")
        self.predictor = oracle_predictor(graph, pair_output(graph, weights), weights_of(weights))
        if weights.config is not None:
            self.strides = tuple(stage.stride for stage in weights.config.stages)
        return self

    def __exit__(self, *_: object) -> None:
        if self._checkpoint is not None:
            self._checkpoint.close()


def _size(text: str) -> int:
    size = _count(text)
    if size > MAX_SIZE:
        raise argparse.ArgumentTypeError(f"{text!r} is no size, a number of pixels from 1 to {MAX_SIZE}")
    return size


def _count(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1")
    return number
