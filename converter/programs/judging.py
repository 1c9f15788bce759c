"""Writing a program of less precision, and running it on images that did not calibrate it."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np

from .._typing import Array, PathLike
from ..errors import FeedError
from .calibration import (
    Calibration,
    check_disjoint,
    find_image_input,
    read_calibration,
    read_labelled,
    split_batches,
)
from .check import judge, run_program
from .probes import Probes, run_eagerly
from .quality import Losses, Precision, measure_losses
from .shapes import Shapes, traced_shapes
from .subject import Subject
from .writing import Job

#: Random inputs that judge float16 if there are no images.
_RANDOM_INPUTS = 32


class Judging(NamedTuple):
    """What is needed to write a program of less precision and to measure its losses.

    `judges` are inputs with their labels or None, and `origin` says what they are.
    """

    subject: Subject
    shapes: Shapes
    precision: Precision
    calibration: Array | None
    judges: Array
    labels: Array | None
    origin: str

    @classmethod
    def prepare(
        cls,
        subject: Subject,
        shapes: Shapes,
        probes: Probes,
        precision: Precision,
        *,
        calibrate: Calibration | None,
        count: int,
        data: PathLike | None,
    ) -> Judging:
        """Read the images. Raises `FeedError` if they do not fit, are too few, or calibrate and judge both."""
        calibration = rest = labels = None
        if calibrate is not None:
            calibration, rest = read_calibration(calibrate, subject, shapes, count)
        if data is not None:
            classes = _count_classes(subject, probes, shapes)
            judges, labels = read_labelled(os.fspath(data), subject, shapes, classes)
            if calibration is not None:
                check_disjoint(calibration, judges)
            return cls(subject, shapes, precision, calibration, judges, labels, f"on {len(judges):,} labelled images")
        if rest is not None:
            if not len(rest):
                raise FeedError("every image calibrates, and none is left to judge: give more, or labelled ones (data)")
            return cls(subject, shapes, precision, calibration, rest, None, f"on {len(rest):,} other images")
        random = [probes.make(traced_shapes(shapes), number) for number in range(_RANDOM_INPUTS)]
        name = find_image_input(subject).name
        inputs = np.concatenate([arrays[name] for arrays in random])
        return cls(subject, shapes, precision, None, inputs, None, f"on {len(inputs)} random inputs")

    def write(self, writer: Any, job: Job, precise: str, path: str) -> None:
        """Write the program of less precision, from a float32 program that was checked."""
        if self.calibration is None:
            writer.halve(job, precise, path)
        else:
            writer.quantize(job, precise, path, list(split_batches(self.calibration, self.subject, self.shapes)))

    def run(self, path: str, destination: str, device: str) -> Losses:
        """Run the program, and the module in float32, on the same inputs."""
        inputs = list(split_batches(self.judges, self.subject, self.shapes))
        cases = judge(self.subject, [(arrays, {}) for arrays in inputs], device=device, exact=False)
        outputs, _ = run_program(path, self.subject, cases, destination=destination)
        count = len(self.judges)
        before = np.concatenate([case.single[0] for case in cases])[:count]
        after = np.concatenate([values[0] for values in outputs])[:count]
        return measure_losses(self.precision, before, after, self.labels, judges=self.origin)


def _count_classes(subject: Subject, probes: Probes, shapes: Shapes) -> int:
    """Return the number of classes, the size of the last axis of the first output."""
    output = run_eagerly(subject, subject.module, probes.make(traced_shapes(shapes), 0))[0]
    if output.ndim != 2 or output.dtype.kind != "f":
        raise FeedError(f"{subject.outputs[0]} is {list(output.shape)}, expected (N, classes) to measure accuracy")
    return int(output.shape[1])
