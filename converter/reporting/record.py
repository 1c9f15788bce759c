"""The facts of a conversion and of its output that a report shows."""

from __future__ import annotations

import collections
import dataclasses
import os
from typing import Any

from .._typing import PathLike
from ..conversion import ConversionResult
from ..formats.files import Output
from ..images.recipes import Preprocessing
from ..mapping.report import ConversionReport
from ..releases.table import preprocessing_for
from .sizes import Variant, variants_of
from .statistics import Remark, Statistics, measure, remarks, roles


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OutputRecord:
    """What was written: its name without folders, the library its tensors are named for, and what was changed for it.

    `model` is the library's own name of the network, `names` the names that ours were written under.
    `nbytes` are those of the tensors, and `labels` counts the names of classes, None without.
    """

    name: str
    target: str
    model: str | None
    names: dict[str, str]
    tensors: int
    nbytes: int
    dtypes: dict[str, int]
    parameters: int | None
    classes: int | None
    labels: int | None
    changes: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Give plain values that JSON can hold; the names stand with the tensors."""
        record = dataclasses.asdict(self)
        del record["names"]
        return {**record, "changes": list(self.changes), "notes": list(self.notes)}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessingCard:
    """How images become inputs: what is kept with the output, where that comes from, and what else it may be.

    `settings` is None where it is not known; `doubtful` when releases that differ in it cannot be told apart.
    `others` are those releases and what each does to images.
    """

    settings: Preprocessing | None
    sentence: str
    doubtful: bool = False
    others: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Give plain values that JSON can hold."""
        return {
            "says": self.sentence,
            "doubtful": self.doubtful,
            "description": None if self.settings is None else self.settings.describe(),
            "settings": None if self.settings is None else self.settings.to_dict(),
            "other_releases": [{"name": name, "description": described} for name, described in self.others],
        }


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FullReport:
    """A conversion as a person wants to judge it: its record, its numbers, and what was written.

    `statistics` are of the tensors as they were converted, before any change for the output, by our own names.
    `preprocessing` is None and `variants` is empty if the network is not an EfficientNet.
    `command` repeats the conversion, and is None for one from Python.
    """

    conversion: ConversionReport
    output: OutputRecord
    statistics: dict[str, Statistics]
    remarks: tuple[Remark, ...]
    preprocessing: PreprocessingCard | None
    variants: tuple[Variant, ...]
    command: str | None

    @property
    def ok(self) -> bool:
        """Whether the numbers are free of what no working network has."""
        return not any(remark.serious for remark in self.remarks)

    def to_dict(self) -> dict[str, Any]:
        """Give plain values that JSON can hold; apart from the command the same for the same conversion."""
        record = self.conversion.to_dict()
        for tensor in record["tensors"]:
            found = self.statistics.get(tensor["target"])
            tensor["statistics"] = None if found is None else found.to_dict()
        for tensor in (*record["tensors"], *record["constants"]):
            tensor["written_as"] = self.written_as(tensor["target"])
        return {
            "command": self.command,
            "output": self.output.to_dict(),
            "remarks": [remark.to_dict() for remark in self.remarks],
            "preprocessing": None if self.preprocessing is None else self.preprocessing.to_dict(),
            "family": [variant.to_dict() for variant in self.variants],
            **record,
        }

    def written_as(self, target: str) -> str | None:
        """Give the name that a tensor of ours was written under; None for one that a change left out."""
        return self.output.names.get(target)


def full_report(result: ConversionResult, output: Output, path: PathLike, *, command: str | None = None) -> FullReport:
    """Measure the tensors of a conversion, and say what stands in the output that is written at `path`."""
    conversion, config = result.report, output.config
    measured = measure(conversion, result.state_dict)
    return FullReport(
        conversion=conversion,
        output=OutputRecord(
            name=os.path.basename(os.fspath(path).rstrip(os.sep)),
            target=output.target,
            model=output.model,
            names=dict(output.names) or {name: name for name in output.tensors},
            tensors=len(output.tensors),
            nbytes=output.nbytes,
            dtypes=dict(sorted(collections.Counter(tensor.dtype.name for tensor in output.tensors.values()).items())),
            parameters=None if config is None else config.parameter_count(),
            classes=None if config is None else config.num_classes,
            labels=None if output.labels is None else len(output.labels),
            changes=output.changes,
            notes=output.notes,
        ),
        statistics=measured,
        remarks=remarks(measured, roles(conversion.tensors)),
        preprocessing=None if result.config is None else _card(result, output.preprocessing),
        variants=() if config is None else variants_of(config, output.nbytes),
        command=command,
    )


def _card(result: ConversionResult, settings: Preprocessing | None) -> PreprocessingCard:
    """Say where the settings come from, by the releases that the network may be."""
    assert result.config is not None, "asked only for networks of this kind"
    known = {name: preprocessing_for((name,), result.config) for name in result.report.releases}
    fitting = [name for name, release in known.items() if release is not None and release == settings]
    others = tuple(
        (name, release.describe()) for name, release in known.items() if release is not None and name not in fitting
    )
    names = " or ".join(known)
    if settings is None:
        sentence = (
            f"Nothing is kept with the output. The network may be the release {names}."
            if known
            else "Not known: the network is nobody's release, and a checkpoint does not say how its images were made."
        )
        return PreprocessingCard(settings=None, sentence=sentence, doubtful=len(known) > 1, others=others)
    if not fitting:
        return PreprocessingCard(settings=settings, sentence="As it was given with the conversion.", others=others)
    if len(known) > 1:
        sentence = (
            f"In doubt: the network may be {names}, and neither names nor shapes tell. "
            f"What is kept with the output is that of {fitting[0]}; compare on labelled images before relying on it."
        )
        return PreprocessingCard(settings=settings, sentence=sentence, doubtful=True, others=others)
    return PreprocessingCard(settings=settings, sentence=f"That of the release {fitting[0]}.", others=others)
