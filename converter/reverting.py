"""Back to TensorFlow: from a state dict, ours or a library's, to a checkpoint with TensorFlow's names and layouts.

The way back is the conversion's own tables read from right to left (`converter.mapping.reversal`,
`converter.libraries.recognition`).
With a checkpoint of the same network to be like, names, dtypes, the object graph and all that is not the network's,
`global_step` for example, are that checkpoint's; without one, names are those of the released code or of Keras.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np

import tfckpt
from tfckpt.errors import CorruptionError, printable
from tfckpt.graphs.training_state import AVERAGE_SUFFIX
from tfckpt.tensors.casting import FLOATS, cast_floats

from ._typing import Array, PathLike, SourceLike
from .conversion import opened, plan_conversion, plan_with_strides_of
from .errors import ConversionError, ExportError, MappingError, UnknownModelError
from .families.automl import AUTOML
from .families.averages import is_average
from .families.family import Family
from .families.keras_applications import KERAS
from .families.state_dict import config_without_strides
from .families.variables import exported_copies
from .formats.files import is_output, read_native
from .formats.pth import to_array
from .libraries.recognition import config_of, library_of, require_none, to_native
from .mapping.reversal import reverse
from .mapping.rules import RuleSet
from .model.config import CONFIGS, EfficientNetConfig
from .verification.weights import Recorded

FamilyName: TypeAlias = Literal["automl", "keras-applications"]
#: Whether the folder's `checkpoint` file is to name the new checkpoint; see `tfckpt.Writer`.
StateUpdate: TypeAlias = bool | Literal["keep"]

FAMILIES: dict[FamilyName, Family] = {"automl": AUTOML, "keras-applications": KERAS}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RevertReport:
    """A checkpoint that was written.

    `names` are those of the network's variables, `averages` those of the moving averages that are copies of them, and
    `copied` those of tensors that stand as they are in the checkpoint it is like.
    """

    prefix: str
    network: str
    names: tuple[str, ...]
    averages: tuple[str, ...]
    copied: tuple[str, ...]
    nbytes: int


def to_tensorflow_names(
    state_dict: Mapping[str, Any],
    *,
    like: SourceLike | None = None,
    family: FamilyName | None = None,
    scope: str | None = None,
    head: str | None = None,
    with_averages: bool = False,
    config: EfficientNetConfig | None = None,
) -> dict[str, Array]:
    """Give TensorFlow's arrays by name, for a state dict of arrays or PyTorch tensors under any library's names.

    The libraries are those that `export` writes for, and our own.
    Batches are not counted in TensorFlow, so that a state dict may lack `num_batches_tracked`, and values are left out.

    With `like`, a checkpoint of the same network, names, shapes and dtypes are those there, and a variable that has a
    moving average there gets the same values for both; `scope` and `head` are those of `convert`.
    Without, `family` is `automl` (the default) or `keras-applications`, and names begin with `scope`, by default the
    name of the published network and a slash for `automl`, nothing for Keras; dtypes stay as they are.
    `with_averages` adds to every variable a moving average of the same values.
    `config` says which network it is where names and shapes do not.

    Arrays are views of the state dict's memory where that is possible.
    Raises `UnknownModelError`, or `ConversionError` that lists all that is missing, unexpected or mismatched.
    """
    made, _ = _named(
        _arrays(state_dict), like, Recorded(config), family=family, scope=scope, head=head, averages=with_averages
    )
    return made


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
) -> RevertReport:
    """Write a TensorFlow checkpoint of a state dict, or of a file or folder that holds one.

    What an output of `export` says of itself, its network, scope and head, counts where nothing else is given.
    `checkpoint_state` and `overwrite` are those of `tfckpt.save`, the other options those of `to_tensorflow_names`.
    With `like` the new checkpoint has everything that one has, tensors of the network with new values.
    Nothing stands under the prefix unless all of it does.
    """
    if not os.path.basename(prefix) and not os.path.isdir(prefix):
        raise ExportError(f"the prefix {os.fspath(prefix)!r} has no name after the folder")
    if os.path.isdir(prefix):
        example = os.path.join(os.fspath(prefix), "model.ckpt")
        raise ExportError(f"the output is a folder, expected a prefix such as {printable(example)}", path=str(prefix))
    tensors, recorded = _read(source)
    with contextlib.ExitStack() as stack:
        if like is not None and not isinstance(like, tfckpt.Checkpoint):
            like = stack.enter_context(tfckpt.open(like))
        made, network = _named(tensors, like, recorded, family=family, scope=scope, head=head, averages=with_averages)
        copied: tuple[str, ...] = ()
        if like is None:
            in_order = {name: made[name] for name in sorted(made)}  # the order of TensorFlow's Saver
            tfckpt.save(in_order, prefix, checkpoint_state=checkpoint_state, overwrite=overwrite)
            nbytes = sum(array.nbytes for array in made.values())
        else:
            report = tfckpt.replace(
                like,
                made,
                prefix,
                allow_change=with_averages,
                checkpoint_state=checkpoint_state,
                overwrite=overwrite,
            )
            copied = tuple(name for name in like if name not in made)
            nbytes = report.nbytes
    averages = tuple(name for name in made if is_average(name) and name.removesuffix(AVERAGE_SUFFIX) in made)
    return RevertReport(
        prefix=os.fspath(prefix),
        network=network,
        names=tuple(name for name in made if name not in averages),
        averages=averages,
        copied=copied,
        nbytes=nbytes,
    )


def _read(source: PathLike | Mapping[str, Any]) -> tuple[dict[str, Array], Recorded]:
    """Read a state dict, and what its file says about it."""
    if isinstance(source, Mapping):
        return _arrays(source), Recorded()
    if not is_output(source):
        raise ConversionError(
            f"{printable(os.fspath(source))} is no file or folder of PyTorch weights that can be read"
        )
    found = read_native(source)
    recorded = Recorded.of(found, os.fspath(source))
    if recorded.config is not None and sum(stage.repeats for stage in recorded.config.stages) > len(found.tensors):
        raise CorruptionError("config of more blocks than the file has tensors", path=os.fspath(source))
    return found.tensors, recorded


def _arrays(state_dict: Mapping[str, Any]) -> dict[str, Array]:
    """View every tensor as an array, without its gradient."""
    arrays: dict[str, Array] = {}
    problems = []
    for name, value in state_dict.items():
        if hasattr(value, "detach"):
            try:
                arrays[name] = to_array(value)
            except TypeError as error:
                problems.append(f"{printable(str(name))} is {error}")
        elif isinstance(value, np.ndarray | np.generic):
            arrays[name] = np.asarray(value)
        else:
            problems.append(f"{printable(str(name))} is a {type(value).__name__}, expected a tensor")
    require_none(problems, "the state dict holds other things than tensors")
    return arrays


def _config_of(tensors: Mapping[str, Array]) -> EfficientNetConfig:
    """Return the network of a state dict, under our names or a library's."""
    target = library_of(tensors)
    return config_without_strides(tensors) if target == "native" else config_of(target, tensors)


def _named(
    tensors: Mapping[str, Array],
    like: SourceLike | None,
    recorded: Recorded,
    *,
    family: FamilyName | None,
    scope: str | None,
    head: str | None,
    averages: bool,
) -> tuple[dict[str, Array], str]:
    """Give the arrays under TensorFlow's names, averages last, and the network's name."""
    if family is not None and family not in FAMILIES:
        raise ExportError(f"there is no family {family!r}, expected one of {', '.join(FAMILIES)}")
    if like is not None:
        if family is not None:
            raise ExportError(
                "a family says what names to write, and so does a checkpoint to be like: give one of them"
            )
        with opened(like) as source:
            return _like(
                tensors,
                _example_of(source),
                recorded,
                scope=recorded.scope if scope is None else scope,
                head=recorded.head if head is None else head,
                averages=averages,
            )
    if head is not None:
        raise ExportError("head names a layer of a checkpoint to be like, and there is none")
    target = library_of(tensors)
    config = recorded.config or _config_of(tensors)
    native = to_native(tensors, target, config)
    made = reverse(native, _rule_set(config, recorded, family, scope))
    if averages:
        made |= {name + AVERAGE_SUFFIX: array for name, array in made.items()}
    return made, config.name


@dataclasses.dataclass(frozen=True, slots=True)
class _Example:
    """The checkpoint, or the arrays in memory, whose names and dtypes the new tensors get.

    `copies` maps the second copies of variables, which Keras 3 exports, to the first ones.
    """

    tensors: Mapping[str, Array]
    dtypes: Mapping[str, np.dtype[Any]]
    copies: Mapping[str, str]
    is_object_based: bool


def _example_of(tensors: Mapping[str, Array]) -> _Example:
    """Describe an example; nothing else here asks what kind it is."""
    if not isinstance(tensors, tfckpt.Checkpoint):
        dtypes = {name: array.dtype for name, array in tensors.items()}
        return _Example(tensors, dtypes, copies={}, is_object_based=False)
    return _Example(
        tensors,
        {info.name: info.dtype for info in tensors.infos()},
        copies=exported_copies(tensors),
        is_object_based=tensors.object_graph is not None,
    )


def _like(
    tensors: Mapping[str, Array],
    example: _Example,
    recorded: Recorded,
    *,
    scope: str | None,
    head: str | None,
    averages: bool,
) -> tuple[dict[str, Array], str]:
    """Give the arrays under a checkpoint's own names, in its dtypes; raw values and averages alike."""
    target = library_of(tensors)
    planned = plan_with_strides_of(
        example.tensors,
        lambda: recorded.config or _config_of(tensors),  # strides change no name
        scope=scope,
        head=head,
    )
    assert planned.config is not None  # rules of the user's own were not given
    native = to_native(tensors, target, planned.config)
    raw = reverse(native, planned.report)
    averaged: dict[str, Array] = {}
    if planned.report.averaged:
        averaged = {name: array for name, array in raw.items() if is_average(name)}
        with contextlib.suppress(MappingError):  # averages alone, without the values they are of
            strides = tuple(stage.stride for stage in planned.config.stages)
            beside = plan_conversion(
                example.tensors, weights="raw", strides=strides, scope=planned.report.scope, head=head
            )
            raw = reverse(native, beside.report)
    if averages:
        if example.is_object_based:
            raise ExportError("an object-based checkpoint has no moving averages by name, and none can be added")
        averaged |= {name + AVERAGE_SUFFIX: array for name, array in raw.items() if not is_average(name)}
    raw |= {copy: raw[name] for copy, name in example.copies.items() if name in raw}
    made = {name: _cast(array, name, example.dtypes) for name, array in (raw | averaged).items()}
    return made, planned.config.name


def _rule_set(config: EfficientNetConfig, recorded: Recorded, family: FamilyName | None, scope: str | None) -> RuleSet:
    """Write the table of a family for a network, with the layers that its version has."""
    if family is None:
        family = "keras-applications" if recorded.rules == KERAS.name else "automl"
    table = FAMILIES[family]
    if scope is None and recorded.rules == table.name:
        scope = recorded.scope
    if scope is None and family == "automl":
        if config.name not in CONFIGS:
            raise UnknownModelError(
                "the network is not a published one, whose name its variables' names would begin with: "
                "say what they begin with, such as --scope my-network, or which checkpoint they are like (--like)"
            )
        scope = config.name
    scope = scope or ""
    rules = table.rule_set(config, scope if not scope or scope.endswith("/") else scope + "/")
    first = config.stages[0].block == "mbconv"
    # Keras calls one layer differently in version 1, which alone begins without a fused MBConv block.
    dropped = "block{block}_dwconv2/" if first else "block{block}_dwconv/"
    return dataclasses.replace(rules, rules=tuple(one for one in rules.rules if not one.source.startswith(dropped)))


def _cast(array: Array, name: str, dtypes: Mapping[str, np.dtype[Any]]) -> Array:
    """Give an array the dtype that a checkpoint has for it, or for the variable it is the average of."""
    name = name if name in dtypes else name.removesuffix(AVERAGE_SUFFIX)
    dtype = dtypes[name]
    if dtype.name not in FLOATS:
        raise ConversionError(f"{printable(name)} is {dtype.name} there, expected floating-point numbers")
    try:
        return cast_floats(array, dtype, name=name)
    except ValueError as error:
        raise ConversionError(f"{error}, its dtype there") from None
