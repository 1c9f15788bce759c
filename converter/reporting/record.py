"""The facts of a conversion and of its output that a report shows."""

from __future__ import annotations

import collections
import dataclasses
import os
from typing import Any

from tfckpt.files.atomic import strip_separators
from tfckpt.reporting.statistics import Statistics

from .._typing import PathLike
from ..conversion import ConversionResult
from ..formats.files import Output
from ..formats.proof import ProofRecord
from ..images.recipes import Preprocessing
from ..mapping.report import ConversionReport
from ..releases.table import find_preprocessing
from .sizes import Variant, list_variants
from .statistics import Remark, find_remarks, find_roles, measure


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OutputRecord:
    """The output: its name without folders, the library with the tensors' names, and the changes before writing.

    `model` is the library's name of the network; `names` maps our names to the written ones.
    `nbytes` is the size of the tensors; `labels` is the number of class names, or None.
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
        """Return values for JSON; the record of each tensor has its name, so `names` is omitted."""
        record = dataclasses.asdict(self)
        del record["names"]
        return {**record, "changes": list(self.changes), "notes": list(self.notes)}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessingCard:
    """The preprocessing stored with the output, its origin, and that of other possible releases.

    `settings` is None if unknown; `doubtful` is set if several releases with different preprocessing are possible.
    `others` has the names of those releases with a description of their preprocessing.
    """

    settings: Preprocessing | None
    sentence: str
    doubtful: bool = False
    others: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON."""
        return {
            "says": self.sentence,
            "doubtful": self.doubtful,
            "description": None if self.settings is None else self.settings.describe(),
            "settings": None if self.settings is None else self.settings.to_dict(),
            "other_releases": [{"name": name, "description": described} for name, described in self.others],
        }


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FullReport:
    """Everything that a person needs to judge a conversion: its report, statistics, and the output.

    `statistics` describe the converted tensors by our names, before any change for the output.
    `preprocessing` is None and `variants` is empty if the network is not an EfficientNet.
    `command` repeats the conversion; it is None if Python code converted.
    `proof` is None if nothing was proved.
    """

    conversion: ConversionReport
    output: OutputRecord
    statistics: dict[str, Statistics]
    remarks: tuple[Remark, ...]
    preprocessing: PreprocessingCard | None
    variants: tuple[Variant, ...]
    command: str | None
    proof: ProofRecord | None = None

    @property
    def ok(self) -> bool:
        """Whether no remark is serious."""
        return not any(remark.serious for remark in self.remarks)

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON, the same for the same conversion except for the command."""
        record = self.conversion.to_dict()
        for tensor in record["tensors"]:
            measured = self.statistics.get(tensor["target"])
            tensor["statistics"] = None if measured is None else measured.to_dict()
        for tensor in (*record["tensors"], *record["constants"], *record["tied"]):
            tensor["written_as"] = self.written_as(tensor["target"])
        return {
            "command": self.command,
            "output": self.output.to_dict(),
            "proof": None if self.proof is None else self.proof.to_dict(),
            "remarks": [remark.to_dict() for remark in self.remarks],
            "preprocessing": None if self.preprocessing is None else self.preprocessing.to_dict(),
            "family": [variant.to_dict() for variant in self.variants],
            **record,
        }

    def written_as(self, target: str) -> str | None:
        """Return the written name of one of our tensors, or None if a change removed it."""
        return self.output.names.get(target)


def build_report(result: ConversionResult, output: Output, path: PathLike, *, command: str | None = None) -> FullReport:
    """Measure the tensors of a conversion, and return the report of the output written to `path`."""
    conversion, config = result.report, output.config
    measured = measure(conversion, result.state_dict)
    return FullReport(
        conversion=conversion,
        output=OutputRecord(
            name=os.path.basename(strip_separators(os.fspath(path))),
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
        remarks=find_remarks(measured, find_roles(conversion.tensors)),
        preprocessing=None if result.config is None else _describe_preprocessing(result, output.preprocessing),
        variants=() if config is None else list_variants(config, output.nbytes),
        command=command,
    )


def _describe_preprocessing(result: ConversionResult, settings: Preprocessing | None) -> PreprocessingCard:
    """Return the settings with their origin, judged by the releases that the network may be."""
    assert result.config is not None, "only an EfficientNet has known preprocessing"
    known = {name: find_preprocessing((name,), result.config) for name in result.report.releases}
    matching = [name for name, release in known.items() if release is not None and release == settings]
    others = tuple(
        (name, release.describe()) for name, release in known.items() if release is not None and name not in matching
    )
    names = " or ".join(known)
    if settings is None:
        sentence = (
            f"The output has no preprocessing settings. The network may be the release {names}."
            if known
            else "Unknown: the network is not a release, and a checkpoint does not record its preprocessing."
        )
        return PreprocessingCard(settings=None, sentence=sentence, doubtful=len(known) > 1, others=others)
    if not matching:
        return PreprocessingCard(settings=settings, sentence="As given for the conversion.", others=others)
    if len(known) > 1:
        sentence = (
            f"Uncertain: the network may be {names}, which have the same names and shapes. "
            f"The output has the settings of {matching[0]}; check them on labelled images before relying on them."
        )
        return PreprocessingCard(settings=settings, sentence=sentence, doubtful=True, others=others)
    return PreprocessingCard(settings=settings, sentence=f"The settings of the release {matching[0]}.", others=others)
