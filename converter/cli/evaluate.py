"""`tf2torch evaluate`: measure the accuracy of a converted network, and compare it with the checkpoint's graph."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

import tfckpt
from tfckpt.cli.costs import say_transfer
from tfckpt.cli.render import say, to_json, wrap
from tfckpt.errors import CorruptionError, pluralize
from tfckpt.files.json_text import read_json

from ..errors import ConversionError, FeedError, GraphError
from ..formats.files import LABELS_KEY, PREPROCESSING_KEY, read_network
from ..images.labels import read_labels
from ..images.recipes import MAX_SIZE, Preprocessing
from .options import (
    add_device_option,
    add_key_option,
    add_network_options,
    add_opening_options,
    get_network_options,
    open_source,
    parse_count,
)
from .progress import progress_bar

if TYPE_CHECKING:
    from ..verification.evaluation import Predictor

HELP = """\
Classify labelled images with converted weights, and report top-1 and top-5 accuracy.

  tf2torch evaluate s.safetensors --data imagenet/val                       one folder per class
  tf2torch evaluate s.safetensors --data digits.npz --against model.ckpt-322

Images are preprocessed as for the evaluation of the release. An .npz contains the arrays images, NHWC (float32 inputs
or uint8 pixels), and labels. With --against, the graph saved with the checkpoint classifies the images too, without
TensorFlow.

The exit code is 1 if a prediction differs from the graph's, else 0.
"""


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "evaluate",
        help="measure top-1 and top-5 accuracy on labelled images",
        description=HELP,
    )
    parser.add_argument("output", metavar="OUT", help="converted weights")
    parser.add_argument(
        "--data", metavar="FOLDER|FILE.npz", required=True, help="images in one folder per class, or arrays"
    )
    parser.add_argument(
        "--labels",
        metavar="FILE",
        help="names of the classes in order, one per line or as JSON (default: from OUT, else from the folders)",
    )
    parser.add_argument(
        "--preprocessing",
        metavar="RELEASE",
        help="release whose preprocessing to use, or a preprocessing.json (default: that in OUT)",
    )
    parser.add_argument("--size", metavar="PIXELS", type=_parse_size, help="input size (default: the preprocessing's)")
    parser.add_argument(
        "--batch-size", metavar="N", type=parse_count, default=32, help="images per batch (default: 32)"
    )
    parser.add_argument("--against", metavar="SRC", help="checkpoint or release whose graph also classifies the images")
    add_device_option(parser)
    add_key_option(parser)
    add_network_options(parser)
    add_opening_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Classify the images, and compare the predictions with the graph's."""
    from ..loading import load_model
    from ..verification.devices import check_device, full_float32
    from ..verification.evaluation import LabelledImages, evaluate, make_predictor, open_arrays, open_folder

    metadata = read_network(options.output, options.key).metadata
    settings = Settings(options.output, metadata, preprocessing=options.preprocessing, labels=options.labels)
    with _Against(options) as against:
        model = load_model(options.output, strides=against.strides or options.strides, key=options.key, talk=say)
        check_device(options.device)
        classes = model.config.num_classes
        if not classes:
            raise ConversionError("the network has no classifier, so there is nothing to evaluate")
        if options.data.lower().endswith(".npz"):
            data: LabelledImages = open_arrays(
                options.data,
                channels=model.config.in_channels,
                preprocessing=settings.preprocessing,
                size=options.size,
            )
        else:
            data = folder = open_folder(
                options.data,
                classes=classes,
                labels=settings.labels(classes),
                preprocessing=settings.preprocessing(),
                size=options.size,
            )
            for note in folder.notes:
                say(note)
        with full_float32(options.device), progress_bar("classifying", counts=True) as progress:
            result = evaluate(
                make_predictor(model.to(options.device)),
                data,
                classes=classes,
                oracle=against.predictor,
                batch_size=options.batch_size,
                progress=progress,
            )
    print(to_json(result.to_dict()) if options.json else wrap(result.summary(), 10))
    return 1 if result.differing else 0


class Settings:
    """The preprocessing and the labels, from the options or else from the output."""

    def __init__(self, output: str, metadata: dict[str, str], *, preprocessing: str | None, labels: str | None) -> None:
        self._output = output
        self._metadata = metadata
        self._preprocessing = preprocessing
        self._labels = labels

    def preprocessing(self) -> Preprocessing:
        """Return how an image becomes an input; raise `FeedError` if it is not known."""
        from ..preprocessing import preprocessing_of

        if self._preprocessing is None and PREPROCESSING_KEY not in self._metadata:
            raise FeedError(
                f"{self._output} does not record how images are preprocessed; name a release with "
                "--preprocessing, or give float32 inputs in an .npz"
            )
        return preprocessing_of(self._preprocessing or self._output)

    def labels(self, classes: int) -> tuple[str, ...] | None:
        """Return the names of the classes, or None if they are not known."""
        if self._labels is not None:
            names = read_labels(self._labels)
        elif LABELS_KEY in self._metadata:
            names = parse_recorded_labels(self._metadata[LABELS_KEY], self._output)
        else:
            return None
        if len(names) != classes:
            raise FeedError(f"{pluralize(len(names), 'label')} for a network of {pluralize(classes, 'class')}")
        return names


def parse_recorded_labels(text: str, path: str) -> tuple[str, ...]:
    """Return the labels in the metadata of an output."""
    try:
        labels = read_json(text)
    except ValueError as error:
        raise CorruptionError(f"metadata {LABELS_KEY} is not valid JSON ({error})", path=path) from error
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise CorruptionError(f"metadata {LABELS_KEY} is not a list of labels", path=path)
    return tuple(labels)


class _Against:
    """The oracle of the checkpoint --against names, while it is open; empty without the option."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._checkpoint: tfckpt.Checkpoint | None = None
        self.strides: tuple[int, ...] | None = None
        self.predictor: Predictor | None = None

    def __enter__(self) -> _Against:
        from ..verification.evaluation import make_oracle_predictor
        from ..verification.oracle import build_oracle, choose_oracle_weights, pair_output
        from ..verification.weights import verify_weights

        options = self._options
        if options.against is None:
            return self
        self._checkpoint, _ = open_source(options.against, options)
        say_transfer(self._checkpoint, passes=2)  # to compare the weights, and by the graph
        weights = verify_weights(
            self._checkpoint,
            options.output,
            **get_network_options(options),
            key=options.key,
        )
        if not weights.ok:
            name = os.path.basename(self._checkpoint.prefix)
            say(f"the weights are not those of {name}; tf2torch verify shows the differences")
        graph = build_oracle(self._checkpoint)
        if graph is None:
            raise GraphError(f"{self._checkpoint.prefix}: this checkpoint has no graph, so it cannot classify images")
        self.predictor = make_oracle_predictor(graph, pair_output(graph, weights), choose_oracle_weights(weights))
        if weights.config is not None:
            self.strides = tuple(stage.stride for stage in weights.config.stages)
        return self

    def __exit__(self, *_: object) -> None:
        if self._checkpoint is not None:
            self._checkpoint.close()


def _parse_size(text: str) -> int:
    size = parse_count(text)
    if size > MAX_SIZE:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of pixels from 1 to {MAX_SIZE}")
    return size
