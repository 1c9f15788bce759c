"""Writing a state dict, ours or a library's, as a TensorFlow checkpoint with TensorFlow's names and layouts.

The tables of the conversion are read from right to left (`converter.mapping.reversal`,
`converter.libraries.recognition`).
An example, a checkpoint of the same network, gives names, dtypes, the object graph and all other tensors, such as
`global_step`. Without one, the names are those of the released code or of Keras.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np

import tfckpt
from tfckpt.addresses import plain_address
from tfckpt.errors import CheckpointError, CorruptionError, printable
from tfckpt.finding.state_file import check_is_local
from tfckpt.graphs.training_state import AVERAGE_SUFFIX
from tfckpt.sinks.staging import staged
from tfckpt.tensors.casting import FLOATS, cast_floats

from ._typing import Array, PathLike, SourceLike
from .conversion import ConversionOptions, plan_conversion, plan_with_strides_of
from .errors import ConversionError, ExportError, MappingError, UnknownModelError
from .families.automl import AUTOML
from .families.averages import WeightsChoice, is_average
from .families.family import Family
from .families.keras_applications import KERAS
from .families.state_dict import config_without_strides
from .families.variables import find_exported_copies
from .formats.files import RULES_KEY, TARGET_KEY, is_output, name_natively, read_network, read_output
from .formats.pth import to_array
from .formats.state_dicts import choose_state, find_state_dicts
from .libraries.models import TargetName
from .libraries.origin import describe_origin
from .libraries.recognition import identify_config, identify_library, raise_problems, to_native
from .mapping.reversal import reverse_to_views
from .mapping.rules import RuleSet
from .mapping.rules_file import parse_rules, read_rules
from .model.architectures import CONFIGS
from .model.config import EfficientNetConfig
from .sources import open_tensors
from .verification.weights import Recorded

FamilyName: TypeAlias = Literal["automl", "keras-applications"]
#: Whether the folder's `checkpoint` file names the new checkpoint; see `tfckpt.Writer`.
StateUpdate: TypeAlias = bool | Literal["keep"]

_ARRAYS = (np.ndarray, np.generic)

FAMILIES: dict[FamilyName, Family] = {"automl": AUTOML, "keras-applications": KERAS}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RevertReport:
    """The result of `revert`.

    `names` lists the network's variables, `averages` their moving averages with the same values, and `copied` the
    tensors copied from the checkpoint `like`. `notes` say which weights of the source were taken, and what is assumed
    about the model that they come from.
    """

    prefix: str
    network: str
    names: tuple[str, ...]
    averages: tuple[str, ...]
    copied: tuple[str, ...]
    nbytes: int
    notes: tuple[str, ...] = ()


def to_tensorflow_names(
    state_dict: Mapping[str, Any],
    *,
    like: SourceLike | None = None,
    family: FamilyName | None = None,
    scope: str | None = None,
    head: str | None = None,
    with_averages: bool = False,
    config: EfficientNetConfig | None = None,
    as_is: bool = False,
    key: str | None = None,
) -> dict[str, Array]:
    """Return TensorFlow's arrays by name for a state dict of arrays or PyTorch tensors, ours or a library's.

    The libraries are those that `export` supports.
    TensorFlow does not count batches: `num_batches_tracked` is ignored and may be missing.

    With `like`, a checkpoint of the same network, names, shapes and dtypes are those of that checkpoint, and a variable
    and its moving average there get the same values. `scope` and `head` are those of `convert`.
    Without `like`, `family` is `automl` (the default) or `keras-applications`, names begin with `scope`, and dtypes do
    not change. The default scope is the name of the published network for `automl`, and empty for Keras.
    `with_averages` adds a moving average with the same values to every variable.
    `config` describes the network if names and shapes do not.

    A model of torchvision computes something else than TensorFlow unless `same_padding_` has changed it, which its
    state dict does not show, so it is only accepted with `as_is`.
    A prefix such as `module.` before every name is removed. `key` chooses one of several networks.

    Arrays are in C order, and views of the state dict's memory where that allows it.
    Raises `UnknownModelError`, or a `ConversionError` that lists everything missing, unexpected or mismatched.
    """
    weights = _from_mapping(state_dict, key, Recorded(config))
    arrays, _ = _to_tensorflow(
        weights, like, as_is=as_is, family=family, scope=scope, head=head, averages=with_averages
    )
    copies = {id(array): array.copy(order="C") for array in arrays.values() if not array.flags.c_contiguous}
    return {name: copies.get(id(array), array) for name, array in arrays.items()}


def revert(
    source: PathLike | Mapping[str, Any],
    prefix: PathLike,
    *,
    like: tfckpt.Checkpoint | PathLike | None = None,
    family: FamilyName | None = None,
    scope: str | None = None,
    head: str | None = None,
    with_averages: bool = False,
    checkpoint_state: StateUpdate = False,
    overwrite: bool = False,
    as_is: bool = False,
    key: str | None = None,
    rules: RuleSet | PathLike | None = None,
) -> RevertReport:
    """Write a state dict, or a file or folder with one, as a TensorFlow checkpoint.

    A file of a training program, such as timm's or Lightning's, may have several state dicts and a prefix before names.
    `key` chooses one: the path of the state dict and the prefix, such as `state_dict_ema` or `state_dict.model`.
    `as_is` accepts a model that computes something else than TensorFlow: one of torchvision, or one of timm that the
    file names and that does not begin with `tf_`.
    The network, scope and head recorded in an output of `export` are the defaults.
    A conversion by rules goes back by the rules that its output records, or by `rules`, also after training; with
    `like`, shapes and dtypes are exactly those of that checkpoint.
    `checkpoint_state` and `overwrite` are those of `tfckpt.save`, the other options those of `to_tensorflow_names`.
    With `like`, the new checkpoint has all tensors of `like`, and new values for those of the network.
    The checkpoint is complete or does not exist; one at an address is written to a temporary folder, and uploaded.
    """
    if os.path.isdir(prefix):
        example = os.path.join(os.fspath(prefix), "model.ckpt")
        raise ExportError(f"the output is a folder, expected a prefix such as {printable(example)}", path=str(prefix))
    weights = _read(source, key, rules)
    with contextlib.ExitStack() as stack, _refused_names_as_export_errors():
        if like is not None and not isinstance(like, tfckpt.Checkpoint):
            like = stack.enter_context(tfckpt.open(like))
        arrays, network = _to_tensorflow(
            weights, like, as_is=as_is, family=family, scope=scope, head=head, averages=with_averages
        )
        copied: tuple[str, ...] = ()
        if like is None:
            in_order = {name: arrays[name] for name in sorted(arrays)}  # the order of TensorFlow's Saver
            if checkpoint_state:
                check_is_local(prefix)
            with staged(prefix, overwrite=overwrite, is_prefix=True) as local:
                tfckpt.save(in_order, local, checkpoint_state=checkpoint_state, overwrite=overwrite)
            nbytes = sum(array.nbytes for array in arrays.values())
        else:
            report = tfckpt.replace(
                like,
                arrays,
                prefix,
                allow_change=with_averages,
                checkpoint_state=checkpoint_state,
                overwrite=overwrite,
            )
            copied = tuple(name for name in like if name not in arrays)
            nbytes = report.nbytes
    averages = tuple(name for name in arrays if is_average(name) and name.removesuffix(AVERAGE_SUFFIX) in arrays)
    return RevertReport(
        prefix=plain_address(os.fspath(prefix)),
        network=network,
        names=tuple(name for name in arrays if name not in averages),
        averages=averages,
        copied=copied,
        nbytes=nbytes,
        notes=tuple(weights.notes),
    )


@contextlib.contextmanager
def _refused_names_as_export_errors() -> Iterator[None]:
    """Raise `ExportError` for a prefix, scope or tensor name that no checkpoint can have.

    The writer raises `ValueError` because its caller passed them; here they come from the user or from a file.
    """
    try:
        yield
    except CheckpointError:  # CorruptionError is a ValueError too
        raise
    except ValueError as error:
        raise ExportError(str(error)) from error


@dataclasses.dataclass(frozen=True, slots=True)
class _Weights:
    """The tensors to revert, what is recorded about them, and the model that they come from, if it is known.

    `notes` is extended while more is found out.
    """

    tensors: dict[str, Array]
    recorded: Recorded
    architecture: str | None = None
    notes: list[str] = dataclasses.field(default_factory=list)
    rules: RuleSet | None = None


def _read(source: PathLike | Mapping[str, Any], key: str | None, rules: RuleSet | PathLike | None = None) -> _Weights:
    """Return a state dict, and what its file records about it; the rules that are given count before those recorded."""
    if rules is not None and not isinstance(rules, RuleSet):
        rules = read_rules(rules)
    if isinstance(source, Mapping):
        if rules is not None:
            return _Weights(_to_arrays(source), Recorded(), rules=rules)
        return _from_mapping(source, key, Recorded())
    if not is_output(source):
        raise ConversionError(f"{printable(os.fspath(source))} is not a supported file or folder of PyTorch weights")
    path = os.fspath(source)
    if rules is not None and key is None:
        return _Weights(read_output(path).tensors, Recorded(), rules=rules)
    file = read_network(path, key)
    if RULES_KEY in file.metadata:
        try:
            rules = parse_rules(file.metadata[RULES_KEY])
        except ConversionError as error:
            raise CorruptionError(f"metadata {RULES_KEY} are not valid rules ({error})", path=path) from error
    if rules is not None:
        return _Weights(file.tensors, Recorded(), rules=rules, notes=list(file.notes))
    # A library's weights whose conversion is recorded are unchanged, so it does not matter which model loads them.
    tensors = name_natively(file, path) if TARGET_KEY in file.metadata else file.tensors
    return _Weights(tensors, Recorded.of(file, path), file.architecture, list(file.notes))


def _from_mapping(state_dict: Mapping[str, Any], key: str | None, recorded: Recorded) -> _Weights:
    """Return a state dict in memory, which may be inside other dicts and have a prefix before each name."""
    found = find_state_dicts(state_dict, lambda value: hasattr(value, "detach") or isinstance(value, _ARRAYS))
    if not found:
        return _Weights(_to_arrays(state_dict), recorded)  # lists the values that are not tensors
    chosen = choose_state(found, key)
    return _Weights(_to_arrays(chosen.tensors), recorded, notes=list(chosen.notes))


def _check_origin(weights: _Weights, target: TargetName, config: EfficientNetConfig, *, as_is: bool) -> None:
    """Add what is assumed about the model to the notes; raise `ExportError` if it differs from TensorFlow's network."""
    origin = describe_origin(target, config, weights.architecture)
    if origin is None:
        return
    if origin.differs and not as_is:
        raise ExportError(
            f"{origin.sentence}: the network in TensorFlow would compute something else with these weights; "
            "to write them nevertheless, use --as-is (as_is=True)"
        )
    weights.notes.append(origin.sentence)


def _to_arrays(state_dict: Mapping[str, Any]) -> dict[str, Array]:
    """Return each tensor as an array, without its gradient."""
    arrays: dict[str, Array] = {}
    problems = []
    for name, value in state_dict.items():
        if hasattr(value, "detach"):
            try:
                arrays[name] = to_array(value)
            except TypeError as error:
                problems.append(f"{printable(str(name))} is {error}")
        elif isinstance(value, _ARRAYS):
            arrays[name] = np.asarray(value)
        else:
            problems.append(f"{printable(str(name))} is a {type(value).__name__}, expected a tensor")
    raise_problems(problems, "the state dict does not hold only tensors")
    return arrays


def _find_config(target: TargetName, tensors: Mapping[str, Array]) -> EfficientNetConfig:
    """Return the config of a state dict under our names or a library's."""
    return config_without_strides(tensors) if target == "native" else identify_config(target, tensors)


def _to_tensorflow(
    weights: _Weights,
    like: SourceLike | None,
    *,
    as_is: bool,
    family: FamilyName | None,
    scope: str | None,
    head: str | None,
    averages: bool,
) -> tuple[dict[str, Array], str]:
    """Return the arrays by TensorFlow's names, averages last, and the name of the network."""
    if family is not None and family not in FAMILIES:
        raise ExportError(f"unknown family {family!r}, expected one of {', '.join(FAMILIES)}")
    if weights.rules is not None:
        if family is not None or scope is not None or head is not None:
            raise ExportError("family, scope and head describe an EfficientNet, but the names are those of rules")
        arrays = _reverse_rules(weights.tensors, weights.rules, like)
        if averages:
            arrays |= {name + AVERAGE_SUFFIX: array for name, array in arrays.items() if not is_average(name)}
        return arrays, weights.rules.name
    if like is not None:
        if family is not None:
            raise ExportError("both family and like determine the names: give only one of them")
        with open_tensors(like) as source:
            return _to_names_of(
                weights,
                _describe_example(source),
                as_is=as_is,
                scope=weights.recorded.scope if scope is None else scope,
                head=weights.recorded.head if head is None else head,
                averages=averages,
            )
    if head is not None:
        raise ExportError("head names a layer of the checkpoint like, but like was not given")
    target = identify_library(weights.tensors)
    config = weights.recorded.config or _find_config(target, weights.tensors)
    native = to_native(weights.tensors, target, config)
    _check_origin(weights, target, config, as_is=as_is)
    arrays = reverse_to_views(native, _rules_for(config, weights.recorded, family, scope))
    if averages:
        arrays |= {name + AVERAGE_SUFFIX: array for name, array in arrays.items()}
    return arrays, config.name


def _reverse_rules(tensors: Mapping[str, Array], rules: RuleSet, like: SourceLike | None) -> dict[str, Array]:
    """Return the arrays of a conversion by rules, with the names, shapes and dtypes of an example if there is one."""
    tensors = _share_equal(tensors)
    if like is None:
        return reverse_to_views(tensors, rules)
    into = _Module(tensors)
    with open_tensors(like) as source:
        dtypes = _describe_example(source).dtypes
        arrays: dict[str, Array] = {}
        choices: tuple[WeightsChoice, ...] = ("raw", "ema")
        for choice in choices:  # a variable and its average get the same values
            planned = plan_conversion(source, ConversionOptions(rules=rules, into=into, weights=choice))
            arrays |= reverse_to_views(tensors, planned.report)
    return {name: _cast(array, name, dtypes) for name, array in arrays.items()}


def _share_equal(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Return the tensors, those with equal bytes as one array: a file has a tensor under each of its names.

    A tensor that repeats one value, such as a bias of zeros, may equal another by chance.
    """
    groups: dict[tuple[object, ...], list[Array]] = {}
    shared = {}
    for name, array in tensors.items():
        flat = array.reshape(-1)
        group = groups.setdefault((array.dtype, array.shape, flat[:8].tobytes()), [])
        equal = (other for other in group if other.tobytes() == array.tobytes())
        shared[name] = next(equal, array) if (flat[1:] != flat[:1]).any() else array
        group.append(array)
    return shared


@dataclasses.dataclass(frozen=True, slots=True)
class _Module:
    """Tensors as the target of rules; names of one array are names of one tensor."""

    tensors: Mapping[str, Array]

    def state_dict(self) -> Mapping[str, Array]:
        """Return the tensors by name."""
        return self.tensors

    def named_parameters(self, *, remove_duplicate: bool) -> Iterable[tuple[str, Array]]:
        """Return every name with its tensor."""
        assert not remove_duplicate, "planning asks for every name"
        return self.tensors.items()


@dataclasses.dataclass(frozen=True, slots=True)
class _Example:
    """The checkpoint, or the arrays in memory, whose names and dtypes the new tensors get.

    `copies` maps the second copies of variables, which Keras 3 exports, to the first ones.
    """

    tensors: Mapping[str, Array]
    dtypes: Mapping[str, np.dtype[Any]]
    copies: Mapping[str, str]
    is_object_based: bool


def _describe_example(tensors: Mapping[str, Array]) -> _Example:
    """Describe an example; nothing else in this module asks what kind it is."""
    if not isinstance(tensors, tfckpt.Checkpoint):
        dtypes = {name: array.dtype for name, array in tensors.items()}
        return _Example(tensors, dtypes, copies={}, is_object_based=False)
    return _Example(
        tensors,
        {info.name: info.dtype for info in tensors.infos()},
        copies=find_exported_copies(tensors),
        is_object_based=tensors.object_graph is not None,
    )


def _to_names_of(
    weights: _Weights,
    example: _Example,
    *,
    as_is: bool,
    scope: str | None,
    head: str | None,
    averages: bool,
) -> tuple[dict[str, Array], str]:
    """Return the arrays by the names of an example, in its dtypes, and the name of the network."""
    target = identify_library(weights.tensors)
    planned = plan_with_strides_of(
        example.tensors,
        lambda: weights.recorded.config or _find_config(target, weights.tensors),  # strides change no name
        ConversionOptions(scope=scope, head=head),
    )
    assert planned.config is not None  # only rules of the user's own have no config
    native = to_native(weights.tensors, target, planned.config)
    _check_origin(weights, target, planned.config, as_is=as_is)
    raw = reverse_to_views(native, planned.report)
    averaged: dict[str, Array] = {}
    if planned.report.averaged:
        averages_of_example = {record.source for record in planned.report.tensors if record.averaged}
        averaged = {name: array for name, array in raw.items() if name in averages_of_example}
        with contextlib.suppress(MappingError):  # the example may have averages without raw values
            strides = tuple(stage.stride for stage in planned.config.stages)
            raw_plan = plan_conversion(
                example.tensors,
                ConversionOptions(weights="raw", strides=strides, scope=planned.report.scope, head=head),
            )
            raw = reverse_to_views(
                native, raw_plan.report
            )  # equal to the averages: other values would be a second network
    if averages:
        if example.is_object_based:
            raise ExportError(
                "moving averages cannot be added to an object-based checkpoint, since they are found by name"
            )
        averaged |= {name + AVERAGE_SUFFIX: array for name, array in raw.items() if not is_average(name)}
    raw |= {copy: raw[name] for copy, name in example.copies.items() if name in raw}
    arrays = {name: _cast(array, name, example.dtypes) for name, array in (raw | averaged).items()}
    return arrays, planned.config.name


def _rules_for(config: EfficientNetConfig, recorded: Recorded, family: FamilyName | None, scope: str | None) -> RuleSet:
    """Return the rules of a family for a network, without layers that its version does not have."""
    if family is None:
        family = "keras-applications" if recorded.rules == KERAS.name else "automl"
    table = FAMILIES[family]
    if scope is None and recorded.rules == table.name:
        scope = recorded.scope
    if scope is None and family == "automl":
        if config.name not in CONFIGS:
            raise UnknownModelError(
                "the network is not published, so it has no default scope: "
                "give a scope (--scope my-network) or a checkpoint with the names to use (--like)"
            )
        scope = config.name
    scope = scope or ""
    rules = table.build_rules(config, scope if not scope or scope.endswith("/") else scope + "/")
    # Only version 1 begins with an unfused MBConv block, and Keras names its depthwise layers differently.
    is_version_1 = config.stages[0].block == "mbconv"
    unused = "block{block}_dwconv2/" if is_version_1 else "block{block}_dwconv/"
    return dataclasses.replace(rules, rules=tuple(rule for rule in rules.rules if not str(rule).startswith(unused)))


def _cast(array: Array, name: str, dtypes: Mapping[str, np.dtype[Any]]) -> Array:
    """Return an array in the dtype of the example's tensor, or of its variable if it is an added average."""
    name = name if name in dtypes else name.removesuffix(AVERAGE_SUFFIX)
    dtype = dtypes[name]
    if dtype.name not in FLOATS:
        raise ConversionError(
            f"{printable(name)} has dtype {dtype.name} in the checkpoint like, expected a floating-point dtype"
        )
    try:
        return cast_floats(array, dtype, name=name)
    except ValueError as error:
        raise ConversionError(f"{error}, its dtype in the checkpoint like") from None
