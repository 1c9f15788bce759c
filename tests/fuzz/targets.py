"""The fuzzing targets: each takes the bytes of one file and does everything the packages can do with such a file.

The bytes may lead to values or to errors of the two families; anything else is a finding, and the target raises an
`AssertionError` or passes the exception on.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import posixpath
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import converter
import tfckpt
from converter.exporting import prepare
from converter.formats.files import read_native
from converter.images.labels import read_labels
from converter.mapping.rules_file import parse_rules, read_rules, to_toml
from converter.preprocessing import preprocessing_of
from converter.releases.table import RELEASES
from converter.reporting.record import build_report
from converter.reporting.renderers import to_html, to_json
from tests import builders
from tests.fuzz import seeds
from tests.hostile.sealing import reseal
from tests.html_page import Page
from tfckpt.finding import state_file
from tfckpt.storage.memory import MemoryStorage

#: The error families; any other exception is a finding.
ERRORS = (tfckpt.CheckpointError, converter.ConversionError)
MAX_MESSAGE_LENGTH = 10_000
GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"

Files = dict[str, bytes]


@dataclasses.dataclass(frozen=True)
class Target:
    """A kind of file: valid examples, and a function that uses bytes as such a file.

    `run` returns the class names of the errors, in the order of the steps.
    """

    name: str
    seeds: Callable[[], Sequence[bytes]]
    run: Callable[[bytes], list[str]]


class Steps:
    """A runner of steps that records which of our errors each step raises."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def __call__(self, step: Callable[[], Any]) -> Any:
        """Return the result of the step, or None if it raises one of our errors."""
        try:
            return step()
        except ERRORS as error:
            message = str(error)
            assert "\n" not in message or isinstance(error, converter.ConversionError), (
                f"a message of several lines: {message!r}"
            )
            assert len(message) < MAX_MESSAGE_LENGTH, f"a message of {len(message)} characters"
            assert all(character.isprintable() or character == "\n" for character in message), (
                f"unprintable: {message!r}"
            )
            self.errors.append(type(error).__name__)
            return None


def use(files: Files, *, expected: dict[str, list[Any]] | None = None) -> list[str]:
    """Open, list, describe, read, verify and summarise a checkpoint in memory.

    With `expected`, every tensor must have one of its values there: checksums protect them from mutations.
    """
    steps = Steps()
    checkpoint = steps(lambda: tfckpt.open(files))
    if checkpoint is None:
        return steps.errors
    with checkpoint:
        names = steps(lambda: list(checkpoint)) or []
        infos = {info.name: info for info in steps(lambda: list(checkpoint.infos())) or []}
        steps(checkpoint.missing_files)
        for name in names:
            array = steps(functools.partial(checkpoint.read, name))
            if array is None:
                continue
            if name in infos:
                assert (array.shape, array.dtype) == (infos[name].shape, infos[name].dtype)
            if expected is not None:
                assert name in expected, f"a tensor that was never stored: {name!r}"
                assert any(is_same(array, value) for value in expected[name]), (
                    f"wrong values of {name!r} without an error"
                )
        verification = steps(lambda: tfckpt.verify(checkpoint))
        if verification is not None:
            steps.errors += [type(error).__name__ for error in verification.errors]
        steps(checkpoint.variables)
        steps(lambda: checkpoint.object_graph)
        steps(lambda: checkpoint.signatures)
        steps(lambda: tfckpt.summarize(checkpoint))
    return steps.errors


def is_same(array: Any, expected: Any) -> bool:
    """Return whether two arrays have the same dtype, shape and bytes."""
    if array.dtype != expected.dtype or array.shape != expected.shape:
        return False
    return bool(array.tolist() == expected.tolist() if array.dtype == object else array.tobytes() == expected.tobytes())


@functools.cache
def stored_values() -> dict[str, list[Any]]:
    """Map each name to its values in all valid bundles: the fuzzer mixes their files."""
    values: dict[str, list[Any]] = {}
    for files in seeds.bundles():
        with tfckpt.open(files) as checkpoint:
            for name in checkpoint:
                with contextlib.suppress(tfckpt.CheckpointError):  # variants, and a fixture whose slices leave a hole
                    values.setdefault(name, []).append(checkpoint[name].copy())
    return values


def _split(data: bytes) -> tuple[int, bytes]:
    """Split off the first byte, the number of the bundle that the bytes belong to."""
    return (data[0] % len(seeds.bundles()) if data else 0), data[1:]


def _index_seeds() -> list[bytes]:
    return [bytes([number]) + files["model.index"] for number, files in enumerate(seeds.bundles()[:200])]


def _index(data: bytes) -> list[str]:
    number, index = _split(data)
    return use({**seeds.bundles()[number], "model.index": index}, expected=stored_values())


def _sealed_index(data: bytes) -> list[str]:
    number, index = _split(data)
    return use({**seeds.bundles()[number], "model.index": reseal(index)})


def _data_seeds() -> list[bytes]:
    return [bytes([number]) + files[_shards(files)[0]] for number, files in enumerate(seeds.bundles()[:200])]


def _data(data: bytes) -> list[str]:
    number, shard = _split(data)
    files = seeds.bundles()[number]
    return use({**files, _shards(files)[0]: shard}, expected=stored_values())


def _shards(files: Files) -> list[str]:
    """Return the names of the data shards, largest first."""
    return sorted((name for name in files if ".data-" in name), key=lambda name: -len(files[name]))


def _v1(data: bytes) -> list[str]:
    return use({"model": data})


def _sealed_v1(data: bytes) -> list[str]:
    return use({"model": reseal(data)})


def _object_graph(data: bytes) -> list[str]:
    bundle = builders.Bundle().add_strings(GRAPH_KEY, [data], []).add("a/.ATTRIBUTES/VARIABLE_VALUE", 1, [], bytes(4))
    files = {"model.index": bundle.index(), "model.data-00000-of-00001": bytes(bundle.shards[0])}
    steps = Steps()
    with tfckpt.open(files) as checkpoint:
        graph = steps(lambda: checkpoint.object_graph)
        for variable in steps(checkpoint.variables) or ():
            steps(functools.partial(checkpoint.info, variable.path or variable.key))
        if graph is not None:
            assert all(node.path is None or isinstance(node.path, str) for node in graph.nodes)
    return steps.errors


def _state(data: bytes) -> list[str]:
    steps = Steps()
    files = {**seeds.bundles()[0], "checkpoint": data}
    steps(lambda: state_file.read_state(MemoryStorage(files), ""))
    checkpoint = steps(lambda: tfckpt.open(files))
    if checkpoint is not None:
        assert posixpath.normpath(checkpoint.prefix) == "model"
        checkpoint.close()
    return steps.errors


def _archive(data: bytes) -> list[str]:
    path = _scratch() / "archive"
    path.write_bytes(data)
    steps = Steps()
    checkpoint = steps(lambda: tfckpt.open(path, limits=tfckpt.Limits(max_unpacked_bytes=1 << 26)))
    if checkpoint is not None:
        with checkpoint:
            for name in steps(lambda: list(checkpoint)) or ():
                steps(functools.partial(checkpoint.read, name))
    return steps.errors


def _keras(data: bytes) -> list[str]:
    """Use the bytes as an HDF5 file or, if they begin like a zip archive, as a `.keras` file."""
    name = "m.keras" if data.startswith(b"PK") else "m.h5"
    steps = Steps()
    checkpoint = steps(lambda: tfckpt.open({name: data}))
    if checkpoint is not None:
        with checkpoint:
            steps(lambda: checkpoint.keras_config)
    return steps.errors + use({name: data})


def _meta(data: bytes) -> list[str]:
    steps = Steps()
    with tfckpt.open({**seeds.bundles()[0], "model.meta": data}) as checkpoint:
        steps(lambda: checkpoint.meta_graph)
        meta_graph = steps(lambda: checkpoint.meta_graph)
        if meta_graph is not None:
            steps(lambda: meta_graph.variables)
            steps(lambda: [(node.inputs, node.attributes) for node in meta_graph.graph])
        steps(lambda: checkpoint.signatures)
    return steps.errors + _load("model.meta", data)


def _saved_model(data: bytes) -> list[str]:
    steps = Steps()
    files = {"variables/" + name.replace("model", "variables"): part for name, part in seeds.bundles()[0].items()}
    checkpoint = steps(lambda: tfckpt.open({**files, "saved_model.pb": data}))
    if checkpoint is not None:
        with checkpoint:
            steps(lambda: checkpoint.saved_model)
            steps(lambda: checkpoint.signatures)
            steps(lambda: checkpoint.meta_graph and checkpoint.meta_graph.variables)
    return steps.errors + _load("saved_model.pb", data)


def _load(name: str, data: bytes) -> list[str]:
    """Load a graph with the converter, and list its placeholders, variables and operations."""
    path = _scratch() / name
    path.write_bytes(data)
    steps = Steps()
    graph = steps(lambda: converter.load_graph(path))
    if graph is not None:
        with graph:
            steps(lambda: graph.placeholders)
            steps(lambda: dict(graph.sources))
            for node in list(graph.graph)[-3:]:
                steps(functools.partial(graph.operations, [node.name]))
    return steps.errors


def _frozen(data: bytes) -> list[str]:
    return _load("frozen.pb", data)


@functools.cache
def _digits() -> Files:
    """Return the files of the digits network, which can be converted."""
    folder = seeds.DATA / "digits" / "efficientnetv2-digits"
    return {path.name: path.read_bytes() for path in folder.glob("model.ckpt-322.[di]*")}


def _converted(data: bytes) -> list[str]:
    """Convert and export a checkpoint whose index has correct checksums, so that it reaches the rules."""
    steps = Steps()
    checkpoint = steps(lambda: tfckpt.open({**_digits(), "model.ckpt-322.index": reseal(data)}))
    if checkpoint is not None:
        with checkpoint:
            for suffix in (".safetensors", ".npz"):
                target = _scratch() / f"export{suffix}"
                steps(functools.partial(tfckpt.export, checkpoint, target, salvage=True, overwrite=True))
            result = steps(lambda: converter.convert(checkpoint))
            if result is not None:
                result.report.to_json().encode()
                result.report.summary()
                steps(lambda: converter.export(result, _scratch() / "converted.safetensors", force=True))
    temporary = [path.name for path in _scratch().iterdir() if ".writing-" in path.name]
    assert not temporary, f"temporary files: {temporary}"
    return steps.errors


def _report(data: bytes) -> list[str]:
    """Convert hostile names and values by rules, and write reports of both formats."""
    parts = data.split(seeds.SEPARATOR)[:40]
    arrays = {}
    for name, value in zip(parts[::2], parts[1::2], strict=False):
        values = np.frombuffer(value[: len(value) // 4 * 4], "<f4")
        arrays[name.decode("utf-8", "surrogateescape")] = values
    if not arrays:
        return []
    steps = Steps()
    result = steps(lambda: converter.convert(arrays, rules=_ANY_NAME))
    if result is not None:
        report = build_report(result, prepare(result), "x.safetensors")
        page = Page(to_html(report))
        assert [tag for tag, _ in page.elements].count("script") == 1
        assert len(page.tensors()) == len(arrays)
        assert {tag for tag, attributes in page.elements if any(key.startswith("on") for key in attributes)} == set()
        assert {tensor["source"] for tensor in json.loads(to_json(report))["tensors"]} == set(arrays)
        for ending in ("safetensors", "npz", "html", "json"):
            target = _scratch() / f"report.{ending}"
            if ending in ("html", "json"):
                steps(functools.partial(converter.export, result, _scratch() / "x.npz", report=target, force=True))
                continue
            if steps(lambda target=target: [converter.export(result, target, force=True)]) is not None:
                read = steps(functools.partial(read_native, target))
                assert read is not None, f"a written {ending} file cannot be read"
                for name, array in arrays.items():
                    assert is_same(read.tensors[name], array), f"{name!r} has other values in {ending}"
    return steps.errors


_ANY_NAME = parse_rules('[[rule]]\nsource = "{name...}"\ntarget = "{name...}"\n')


def _record(data: bytes) -> list[str]:
    """Use the bytes as the record of an archive in the cache."""
    release = RELEASES["efficientnetv2-s"]
    archive = _scratch() / "cache" / "releases" / release.path
    archive.parent.mkdir(parents=True, exist_ok=True)
    archive.write_bytes(seeds.archives()[0])
    pathlib.Path(f"{archive}.json").write_bytes(data)
    steps = Steps()
    steps(lambda: converter.fetch(release.name, base_url="http://127.0.0.1:9/", cache=_scratch() / "cache"))
    return steps.errors


def _preprocessing(data: bytes) -> list[str]:
    path = _scratch() / "preprocessing.json"
    path.write_bytes(data)
    steps = Steps()
    settings = steps(lambda: preprocessing_of(path))
    if settings is not None:
        assert settings.describe()
        path.write_text(settings.to_json())
        assert preprocessing_of(path) == settings
        if settings.size <= 64:
            image = np.arange(40 * 50 * 3, dtype=np.uint8).reshape(40, 50, 3)
            pixels = steps(lambda: converter.preprocess(image, settings))
            assert pixels is None or (
                pixels.shape == (1, 3, settings.size, settings.size) and np.isfinite(pixels).all()
            )
    return steps.errors


def _labels(data: bytes) -> list[str]:
    path = _scratch() / ("labels.json" if data[:1] and data[0] & 1 else "labels.txt")
    path.write_bytes(data[1:])
    steps = Steps()
    labels = steps(lambda: read_labels(path))
    if labels is not None:
        path = _scratch() / "written.txt"
        path.write_text("".join(f"{label}\n" for label in labels), encoding="utf-8", newline="\n")
        assert read_labels(path) == labels
    return steps.errors


def _rules(data: bytes) -> list[str]:
    path = _scratch() / "rules.toml"
    path.write_bytes(data)
    steps = Steps()
    rules = steps(lambda: read_rules(path))
    if rules is not None:
        again = parse_rules(to_toml(rules))
        assert repr(again) == repr(rules), "written rules differ when they are read"  # repr, as NaN != NaN
        steps(lambda: converter.convert({"bert/layer_1/output/kernel": np.zeros((2, 2), np.float32)}, rules=rules))
    return steps.errors


def _weights(ending: str, data: bytes) -> list[str]:
    """Read a file of converted weights, its preprocessing and its tensors, and load the network."""
    path = _scratch() / f"weights.{ending}"
    path.write_bytes(data)
    steps = Steps()
    file = steps(lambda: read_native(path))
    if file is not None:
        for array in file.tensors.values():
            array.tobytes()
        steps(lambda: preprocessing_of(path))
        steps(lambda: converter.revert(path, _scratch() / "reverted", overwrite=True))
        if "torch" in sys.modules:
            steps(lambda: converter.load_model(path))
    return steps.errors


@functools.cache
def _scratch_folder() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    atexit.register(folder.cleanup)
    return folder


def _scratch() -> pathlib.Path:
    return pathlib.Path(_scratch_folder().name)


TARGETS = {
    target.name: target
    for target in (
        Target("index", _index_seeds, _index),
        Target("sealed-index", _index_seeds, _sealed_index),
        Target("data", _data_seeds, _data),
        Target("v1", seeds.v1, _v1),
        Target("sealed-v1", seeds.v1, _sealed_v1),
        Target("object-graph", seeds.object_graphs, _object_graph),
        Target("state", seeds.state_files, _state),
        Target("archive", seeds.archives, _archive),
        Target("keras", seeds.keras_files, _keras),
        Target("meta", lambda: seeds.graphs(".meta"), _meta),
        Target("saved-model", lambda: seeds.graphs("saved_model.pb"), _saved_model),
        Target("frozen-graph", seeds.frozen_graphs, _frozen),
        Target("convert", lambda: [_digits()["model.ckpt-322.index"]], _converted),
        Target("report", seeds.reports, _report),
        Target("record", seeds.records, _record),
        Target("preprocessing", seeds.preprocessings, _preprocessing),
        Target("labels", seeds.labels, _labels),
        Target("rules", seeds.rules, _rules),
        Target("safetensors", lambda: seeds.weights("safetensors"), functools.partial(_weights, "safetensors")),
        Target("npz", lambda: seeds.weights("npz"), functools.partial(_weights, "npz")),
        Target("pth", lambda: seeds.weights("pth"), functools.partial(_weights, "pth")),
    )
}
