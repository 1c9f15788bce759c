"""Scans: a row for each checkpoint in a folder or bucket, whatever its state.

Nothing is fatal: whatever a file does is a row with its error. "Damaged" and "dangerous" are separate facts: damaged is
what cannot be read as it was written, and dangerous a graph that reaches files, the network or Python code when run.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, TypeAlias

from .._version import __version__
from ..addresses import hide_secrets, split_address
from ..bundle import naming
from ..checkpoint import Checkpoint
from ..checkpoint import open as open_checkpoint
from ..checks.integrity import verify
from ..checks.summary import count_tensors
from ..errors import CheckpointError, CheckpointNotFoundError, CorruptionError, past_end, printable
from ..finding.detect import KERAS, V1, V2, looks_v1
from ..graphs import saved_model
from ..graphs.meta_graph import MetaGraph
from ..graphs.reaching import count_outside_operations
from ..keras.files import is_hdf5
from ..keras.reader import KerasReader
from ..limits import DEFAULT_LIMITS
from ..sinks.opening import is_address
from ..storage.base import Storage
from ..storage.local import LocalStorage
from ..storage.locate import Options, locate
from .candidates import SAVED_MODEL, Candidate, find_candidates, list_files
from .running import ATTEMPTS, Executor, run_all

Depth: TypeAlias = Literal["index", "checksums", "graph"]
#: Candidates of one task, unless the caller says otherwise.
BATCH = 500
#: Candidates of one task that are examined at a time if they are remote.
_THREADS = 16
#: Requests for a small index, and for a graph.
_INDEX_REQUESTS, _GRAPH_REQUESTS = 5, 5


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """The facts of one checkpoint; numbers are None if they could not be found out.

    `version` is a hash of the names, sizes and versions of its files. `format` is `V1`, `V2`, `Keras` or `SavedModel`;
    None for a file that turned out to be something else, which is in no table.
    `parameters` and `optimizer_share`, a part of `nbytes`, are those of `tfckpt info`.
    `damage` counts findings by class. `operations` counts the operations that make a graph dangerous; None if no graph
    was examined. `error` is the first finding.
    """

    address: str
    version: str
    depth: str
    format: str | None
    files: int
    tensors: int | None = None
    parameters: int | None = None
    nbytes: int | None = None
    optimizer_share: float | None = None
    dtypes: dict[str, int] = dataclasses.field(default_factory=dict)
    framework: str = ""
    damaged: bool = False
    damage: dict[str, int] = dataclasses.field(default_factory=dict)
    dangerous: bool | None = None
    operations: dict[str, int] | None = None
    error: str | None = None
    tfckpt: str = __version__

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What a restart compares."""
        return self.address, self.version, self.depth, self.tfckpt


@dataclasses.dataclass(frozen=True, slots=True)
class ScanPlan:
    """What a scan will examine, and about how many bytes and requests that needs."""

    root: str
    depth: Depth
    candidates: tuple[Candidate, ...]
    read_bytes: int
    requests: int

    def key(self, candidate: Candidate) -> tuple[str, str, str, str]:
        """Return the key of the row of a candidate."""
        return candidate.address, candidate.version, self.depth, __version__


def plan_scan(root: str, *, depth: Depth = "index") -> ScanPlan:
    """List the files below a folder or an address, and find what may be a checkpoint; reads no file."""
    candidates = find_candidates(list_files(root))
    read_bytes = sum(
        file.size for each in candidates for file in each.files if depth == "checksums" or _is_read(file.path, depth)
    )
    requests = len(candidates) * (_INDEX_REQUESTS + _GRAPH_REQUESTS * (depth == "graph")) if is_address(root) else 0
    return ScanPlan(root, depth, tuple(candidates), read_bytes, requests)


def run_scan(
    plan: ScanPlan,
    candidates: Sequence[Candidate],
    *,
    executor: Executor | None = None,
    workers: int | None = None,
    batch: int = BATCH,
) -> Iterator[list[Row]]:
    """Examine candidates of a plan in batches, and yield the rows of each batch as it is done.

    Batches whose worker is lost are examined one by one, so that only what kills a worker gets a row without facts.
    """
    examine = functools.partial(scan_batch, depth=plan.depth, root=plan.root)
    batches = [tuple(candidates[at : at + batch]) for at in range(0, len(candidates), batch)]
    lost: list[tuple[Candidate, ...]] = []
    for some, rows in run_all(examine, batches, executor, workers=workers, attempts=2, keeps_going=True):
        if isinstance(rows, CheckpointError):
            lost += [(each,) for each in some]
        else:
            yield rows
    for (candidate,), rows in run_all(
        examine, lost, executor, workers=workers, attempts=ATTEMPTS, keeps_going=True, outstanding=1
    ):
        yield [_fail(candidate, plan.depth, rows)] if isinstance(rows, CheckpointError) else rows


def scan_batch(candidates: Sequence[Candidate], *, depth: Depth, root: str) -> list[Row]:
    """Return the rows of candidates; `root` is the address of the scan, with credentials if it has some."""
    examine = functools.partial(scan_one, depth=depth, root=root)
    if len(candidates) < 2 or not is_address(root):
        return [examine(candidate) for candidate in candidates]
    with ThreadPoolExecutor(min(_THREADS, len(candidates))) as pool:
        return list(pool.map(examine, candidates))


def scan_one(candidate: Candidate, *, depth: Depth, root: str) -> Row:
    """Return the row of a candidate, whatever happens."""
    try:
        return _examine(candidate, depth, root)
    except Exception as error:
        return _fail(candidate, depth, error)


def _fail(candidate: Candidate, depth: Depth, error: Exception) -> Row:
    """Return the row of a candidate that could not be examined; it is damaged if its files say so."""
    if isinstance(error, CheckpointNotFoundError) and not candidate.is_certain:
        return Row(candidate.address, candidate.version, depth, None, len(candidate.files))
    return _Findings(candidate, depth, [error]).make_row()


class _Findings:
    """The errors of a candidate, and its row with them."""

    def __init__(self, candidate: Candidate, depth: Depth, errors: Sequence[Exception] = ()) -> None:
        self._start = Row(candidate.address, candidate.version, depth, candidate.format, len(candidate.files))
        self._errors: list[Exception] = list(errors)

    def add(self, errors: Sequence[Exception]) -> None:
        """Add errors; the same error of another step is not counted twice."""
        known = {str(error) for error in self._errors}
        self._errors += [error for error in errors if str(error) not in known]

    def attempt(self, step: Callable[[], Any]) -> Any:
        """Return the result of a step; None if it fails, which is one more error."""
        try:
            return step()
        except CheckpointError as error:
            self.add([error])
            return None

    def make_row(self, **facts: Any) -> Row:
        """Return the row."""
        damage = Counter(type(each).__name__ for each in self._errors if _is_damage(each))
        error = None if not self._errors else _describe(self._errors[0])
        return dataclasses.replace(
            self._start, damaged=bool(damage), damage=dict(sorted(damage.items())), error=error, **facts
        )


def _is_damage(error: Exception) -> bool:
    """Return whether an error says that files are not what they were, and not that they cannot be reached."""
    return isinstance(error, CorruptionError | CheckpointNotFoundError)


def _describe(error: Exception) -> str:
    text = str(error) if isinstance(error, CheckpointError) else f"{type(error).__name__}: {printable(str(error))}"
    return hide_secrets(text)


def _check_content(candidate: Candidate, root: str) -> None:
    """Raise `CheckpointNotFoundError` if the content of a file shows that it is not a checkpoint, unlike its name.

    `tfckpt.open` would look into archives, which other programs give such names.
    """
    path = candidate.files[0].path
    storage = locate(_full_address(path, root), Options()).storage if is_address(root) else LocalStorage()
    try:
        if candidate.format == V1 and looks_v1(storage, path):
            return
        if candidate.format == KERAS and is_hdf5(source := storage.open(path)):
            source.close()
            return
    finally:
        storage.close()
    raise CheckpointNotFoundError("not a checkpoint", path=path)


def _examine(candidate: Candidate, depth: Depth, root: str) -> Row:
    if not candidate.is_certain:
        _check_content(candidate, root)
    findings = _Findings(candidate, depth)
    graphs: Sequence[MetaGraph] | None = None
    facts: dict[str, Any] = {}
    if candidate.format == SAVED_MODEL:
        if depth == "graph":
            graphs = findings.attempt(lambda: _read_saved_model(candidate, root))
            facts |= _describe_graphs(graphs)
        prefix = saved_model.VARIABLES[0] + "/" + saved_model.VARIABLES[1]
        if not any(file.path.endswith("/" + naming.index_name(saved_model.VARIABLES[1])) for file in candidate.files):
            if len(candidate.files) == 1:  # only a graph, whose values are constants
                return findings.make_row(tensors=0, parameters=0, nbytes=0, **facts)
            findings.add([CheckpointNotFoundError("the index of the variables is missing", path=candidate.address)])
            return findings.make_row(**facts)
        address = _full_address(f"{candidate.address}/{prefix}", root)
    else:
        address = _full_address(candidate.address, root)
    with open_checkpoint(address) as checkpoint:
        facts |= _examine_tensors(checkpoint, candidate, depth, findings)
        if depth == "graph" and candidate.format == KERAS:
            facts |= _examine_keras(checkpoint, findings)
        elif depth == "graph" and candidate.format != SAVED_MODEL:
            graph = findings.attempt(lambda: checkpoint.meta_graph)
            facts |= _describe_graphs(None if graph is None else [graph])
        if candidate.format != SAVED_MODEL:
            facts["format"] = checkpoint.format
    return findings.make_row(**facts)


def _examine_tensors(checkpoint: Checkpoint, candidate: Candidate, depth: Depth, findings: _Findings) -> dict[str, Any]:
    """Return the facts of the tensors, and add what is wrong with them."""
    reader = checkpoint.reader
    if depth == "checksums":
        findings.add(verify(checkpoint).errors)
    else:
        findings.add(reader.salvage()[1])
    if checkpoint.format == V2:
        sizes = findings.attempt(reader.shard_sizes) or {}
        findings.add(list(_compare_sizes(sizes, {file.path: file.size for file in candidate.files})))
    facts: dict[str, Any] = {}
    if isinstance(reader, KerasReader) and reader.keras_version:
        facts["framework"] = f"Keras {printable(reader.keras_version)}"
    counts = findings.attempt(lambda: count_tensors(checkpoint))
    if counts is not None:
        facts["tensors"], facts["parameters"], facts["nbytes"] = counts.tensors, counts.parameters, counts.nbytes
        facts["optimizer_share"] = counts.optimizer_nbytes / counts.nbytes if counts.nbytes else 0.0
        facts["dtypes"] = {name.removeprefix("DT_").lower(): count for name, count in counts.dtypes.items()}
    return facts


def _compare_sizes(needed: dict[str, int], listed: dict[str, int]) -> Iterator[CheckpointError]:
    """Yield an error for each data shard that the listing does not have, or not in full."""
    for path, nbytes in needed.items():
        if path not in listed:
            yield CheckpointNotFoundError("the data shard is missing", path=path)
        elif listed[path] < nbytes:
            yield past_end("data shard", needed=nbytes, available=listed[path], path=path)


def _examine_keras(checkpoint: Checkpoint, findings: _Findings) -> dict[str, Any]:
    """Return whether the configuration of a Keras model has Python code: Lambda layers store it."""
    config = findings.attempt(lambda: checkpoint.keras_config)
    if config is None:
        return {}
    count, waiting = 0, [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            count += value.get("class_name") in ("Lambda", "__lambda__")
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return {"dangerous": count > 0, "operations": {"Lambda": count} if count else {}}


def _describe_graphs(graphs: Sequence[MetaGraph] | None) -> dict[str, Any]:
    if graphs is None:
        return {}
    operations = count_outside_operations([each.graph for each in graphs])
    version = next((each.tensorflow_version for each in graphs if each.tensorflow_version), "")
    framework = f"TensorFlow {printable(version)}" if version else ""
    return {"dangerous": bool(operations), "operations": operations, "framework": framework}


def _read_saved_model(candidate: Candidate, root: str) -> Sequence[MetaGraph]:
    place = locate(_full_address(candidate.address, root), Options(limits=DEFAULT_LIMITS))
    storage: Storage = place.storage
    try:
        return saved_model.read_saved_model(storage, place.path).meta_graphs
    finally:
        storage.close()


def _full_address(address: str, root: str) -> str:
    """Return an address with the credentials of the root."""
    parts = split_address(root) if is_address(root) else None
    return address if parts is None else parts.full(address)


def _is_read(path: str, depth: Depth) -> bool:
    """Return whether a scan reads a whole file."""
    if depth == "graph" and path.endswith((naming.META_SUFFIX, saved_model.FILE_NAME, saved_model.TEXT_FILE_NAME)):
        return True
    return path.endswith(naming.INDEX_SUFFIX)
