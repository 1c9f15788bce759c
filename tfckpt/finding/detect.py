"""From what the user typed to the checkpoint it means, or to a sentence that says what stands there instead.

V2 is known by its index file, V1 by the content of a table: the value under the empty key is a bundle's header in one
and a list of tensors in the other.
Where both stand under one prefix, V2 wins, as in TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from .. import protos
from .._typing import ByteSource
from ..bundle import naming
from ..errors import (
    CheckpointError,
    CheckpointNotFoundError,
    CorruptionError,
    abridged,
    find_close_names,
    join_some,
    say_close_names,
)
from ..graphs import saved_model
from ..limits import DEFAULT_LIMITS, Limits
from ..sstable.format import is_table
from ..sstable.table import Table
from ..storage.base import Storage
from ..v1 import naming as v1_naming
from ..v1.keys import LIST_KEY
from .file_kinds import KERAS_ADVICE, KERAS_ENDINGS, UNKNOWN, what_is
from .state_file import STATE_NAME, read_state

V1, V2 = "V1", "V2"
_TEMPORARY = "_temp"
#: What the archiver and the Finder of macOS add to the files they pack.
CLUTTER = frozenset({"__MACOSX", ".DS_Store"})


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """A checkpoint: its prefix in the storage, its format, and what a person should know about how it was found."""

    prefix: str
    format: str = V2
    notes: tuple[str, ...] = ()


def find(storage: Storage, path: str, limits: Limits = DEFAULT_LIMITS) -> Found:
    """The checkpoint that a prefix, a member file, a state file or a folder means."""
    # A path that ends in a separator is a folder; elsewhere than on a disk it would cost a request to see that.
    if storage.split(path)[1] and storage.is_file(naming.index_name(path)):
        return Found(path)
    if storage.is_folder(path):
        return _find_in_folder(storage, path, limits)
    if storage.is_file(path):
        return _find_from_file(storage, path, limits)
    shards = _shard_set(storage, path, limits)
    if shards is not None:
        return shards
    raise _nothing_at(storage, path)


def find_prefix(storage: Storage, prefix: str, limits: Limits = DEFAULT_LIMITS) -> Found | None:
    """The checkpoint whose prefix this is, as a state file names it; None if there is none."""
    if storage.is_file(naming.index_name(prefix)):
        return Found(prefix)
    if storage.is_file(prefix):
        return Found(prefix, V1) if _looks_v1(storage, prefix, limits) else None
    return _shard_set(storage, prefix, limits)


def format_of_table(source: ByteSource, limits: Limits = DEFAULT_LIMITS) -> str | None:
    """The format whose table a file is, by its first value; None if it is neither, `CorruptionError` if damaged."""
    first = Table(source, limits).seek(LIST_KEY)
    if first is None or first[0] != LIST_KEY:
        return None
    if protos.parse("SavedTensorSlices", first[1]).HasField("meta"):
        return V1
    return V2 if protos.parse("BundleHeaderProto", first[1]).num_shards else None


def explain_index(storage: Storage, prefix: str, error: CorruptionError) -> CheckpointError:
    """For an index file that cannot be opened: what it is instead of one, or the error itself if it is a table."""
    source = storage.open(naming.index_name(prefix))
    if is_table(source):
        return error
    content = what_is(source, naming.index_name(prefix))
    if content == UNKNOWN:
        return CorruptionError(
            f"not an index file: {source.size} bytes that do not end in the magic number of a table; "
            "it may have been cut short or changed on the way here: fetch it again",
            path=source.name,
        )
    return CheckpointNotFoundError(f"not an index file: this is {content}", path=source.name)


def is_v1_file(storage: Storage, path: str, limits: Limits = DEFAULT_LIMITS) -> bool:
    """Whether a file is a sound table of a V1 checkpoint, whatever its name."""
    source = storage.open(path)
    try:
        return is_table(source) and format_of_table(source, limits) == V1
    except CheckpointError:
        return False
    finally:
        source.close()


def without_clutter(names: Iterable[str]) -> list[str]:
    """Return the names of a folder without those that macOS adds: `__MACOSX`, `.DS_Store`, and `._NAME` next to NAME.

    `._NAME` holds attributes of the file NAME; `._model.index` would be taken for another checkpoint.
    """
    names = list(names)
    present = set(names)
    return [
        name for name in names if name not in CLUTTER and not (name.startswith("._") and name[len("._") :] in present)
    ]


def prefixes_in(storage: Storage, folder: str, limits: Limits = DEFAULT_LIMITS) -> list[Found]:
    """Every checkpoint that stands directly in a folder: the V2 ones by name, then the V1 ones."""
    names = without_clutter(storage.list(folder))
    v2 = [name.removesuffix(naming.INDEX_SUFFIX) for name in names if name.endswith(naming.INDEX_SUFFIX)]
    found = [Found(storage.join(folder, name)) for name in v2]
    seen: set[str] = set()
    for name in names:
        if name in v2 or name == STATE_NAME or naming.prefix_of_member(name) is not None:
            continue
        shard = v1_naming.parse_shard(name)
        prefix = v1_naming.pattern_name(shard[0], shard[2]) if shard else name
        path = storage.join(folder, name)
        if prefix not in seen and storage.is_file(path) and _looks_v1(storage, path, limits):
            seen.add(prefix)
            found.append(Found(storage.join(folder, prefix), V1))
    return found


def _find_from_file(storage: Storage, path: str, limits: Limits) -> Found:
    folder, name = storage.split(path)
    prefix = naming.prefix_of_member(path)
    if prefix is not None and storage.is_file(naming.index_name(prefix)):
        return Found(prefix)
    source = storage.open(path)
    try:
        table_format = format_of_table(source, limits) or V1 if is_table(source) else None
        content = what_is(source, path)
    finally:
        source.close()
    if table_format is not None:
        return _from_table(storage, path, table_format, limits)
    if name == STATE_NAME:
        return _follow_state(storage, folder, limits)
    if name in (saved_model.FILE_NAME, saved_model.TEXT_FILE_NAME):
        return _in_saved_model(storage, folder)
    if prefix is not None and name.endswith(naming.META_SUFFIX):
        beside = _v1_of_graph(storage, prefix, limits)
        if beside is not None:
            return beside
        raise CheckpointNotFoundError(
            f"this is a graph without its checkpoint: {storage.split(naming.index_name(prefix))[1]} is not beside it",
            path=path,
        )
    if prefix is not None and name.startswith(storage.split(prefix)[1] + ".data-"):
        raise CheckpointNotFoundError(
            f"this is a data shard, and its index file {storage.split(naming.index_name(prefix))[1]} is not beside it; "
            "without the index nobody knows what the bytes mean",
            path=path,
        )
    raise CheckpointNotFoundError(f"not a TensorFlow checkpoint: this is {content}", path=path)


def _from_table(storage: Storage, path: str, table_format: str, limits: Limits) -> Found:
    """The checkpoint of a file that is a table and no index file by its name."""
    if table_format == V2:
        raise CheckpointNotFoundError(
            "this is the index of a V2 checkpoint under another name; name it PREFIX.index, "
            "with its data shards beside it as PREFIX.data-SSSSS-of-NNNNN",
            path=path,
        )
    shard = v1_naming.parse_shard(path)
    if shard is None or shard[2] < 2:
        return Found(path, V1)
    base, shard_id, num_shards = shard
    found = _shard_set(storage, v1_naming.pattern_name(base, num_shards), limits)
    if found is None:
        return Found(path, V1)
    note = f"{path} is shard {shard_id} of {num_shards}; all of them are read"
    return dataclasses.replace(found, notes=(note, *found.notes))


def _shard_set(storage: Storage, path: str, limits: Limits) -> Found | None:
    """The sharded V1 checkpoint that a pattern, or the base of its shards' names, means; None if there is none."""
    pattern = v1_naming.parse_pattern(path)
    folder, name = storage.split(path if pattern is None else pattern[0])
    present: dict[int, set[int]] = {}
    for other in storage.list(folder):
        shard = v1_naming.parse_shard(other)
        if shard is not None and shard[0] == name and (pattern is None or pattern[1] == shard[2]):
            present.setdefault(shard[2], set()).add(shard[1])
    if not present and pattern is not None:
        present = _probed(storage, *pattern, limits)
    sets = {
        num_shards: numbers
        for num_shards, numbers in present.items()
        if _looks_v1(storage, v1_naming.shard_name(storage.join(folder, name), min(numbers), num_shards), limits)
    }
    if not sets:
        return None
    base = storage.join(folder, name)
    if len(sets) > 1:
        raise CheckpointNotFoundError(
            "there are several sets of shards of this name; "
            f"name one of: {join_some(v1_naming.pattern_name(base, num_shards) for num_shards in sorted(sets))}",
            path=path,
        )
    ((num_shards, numbers),) = sets.items()
    missing = [number for number in range(min(num_shards, limits.max_shards)) if number not in numbers]
    notes: tuple[str, ...] = ()
    if missing:
        absent = join_some(v1_naming.shard_name(name, number, num_shards) for number in missing)
        notes = (
            f"{len(missing)} of {num_shards} shards of {base} are missing ({absent}): "
            "tensors that stand only in them are not listed",
        )
    return Found(v1_naming.pattern_name(base, num_shards), V1, notes)


def _probed(storage: Storage, base: str, num_shards: int, limits: Limits) -> dict[int, set[int]]:
    """The shards of a pattern that are there, asked for one by one where the storage lists no folders."""
    names = [v1_naming.shard_name(base, number, num_shards) for number in range(min(num_shards, limits.max_shards))]
    if not names or not (storage.is_file(names[0]) or storage.is_file(names[-1])):
        return {}
    return {num_shards: {number for number, name in enumerate(names) if storage.is_file(name)}}


def _looks_v1(storage: Storage, path: str, limits: Limits) -> bool:
    """Whether a file is a table of a V1 checkpoint, or a damaged table of which that cannot be told."""
    source = storage.open(path)
    try:
        return is_table(source) and format_of_table(source, limits) == V1
    except CorruptionError:
        return True
    finally:
        source.close()


def _v1_of_graph(storage: Storage, prefix: str, limits: Limits) -> Found | None:
    """The V1 checkpoint beside `prefix.meta`."""
    if storage.is_file(prefix):
        return Found(prefix, V1) if _looks_v1(storage, prefix, limits) else None
    return _shard_set(storage, prefix, limits)


def _without_names(storage: Storage, folder: str) -> str:
    """Say of a folder without names that it is empty, or that nobody can tell."""
    if storage.is_remote and folder.startswith(("http://", "https://")):
        return "HTTP has no listing; name a checkpoint in it, such as FOLDER/model.ckpt-7"
    return "it is empty"


def _find_in_folder(storage: Storage, folder: str, limits: Limits) -> Found:
    if storage.is_file(storage.join(folder, STATE_NAME)):
        return _follow_state(storage, folder, limits)
    if saved_model.is_saved_model(storage, folder):
        return _in_saved_model(storage, folder)
    found = prefixes_in(storage, folder, limits)
    if len(found) == 1:
        return found[0] if found[0].format == V2 else find_prefix(storage, found[0].prefix, limits) or found[0]
    if found:
        raise CheckpointNotFoundError(
            f"the folder has {len(found)} checkpoints and no state file that says which is the latest; "
            f"name one of: {join_some(one.prefix for one in found)}",
            path=folder,
        )
    inside = storage.join(folder, *saved_model.VARIABLES)
    if storage.is_file(naming.index_name(inside)):
        return Found(inside)
    names = storage.list(folder)
    there = f"it holds {join_some(names)}" if names else _without_names(storage, folder)
    endings = (name for name in names if name.endswith(KERAS_ENDINGS))
    keras = next((name for name in endings if storage.is_file(storage.join(folder, name))), None)
    if keras is not None:
        there += f"; {keras} is a Keras file: {KERAS_ADVICE}"
    raise CheckpointNotFoundError(
        _unfinished(storage, folder, "", names)
        or f"no checkpoint in this folder: no *.index file and no state file; {there}",
        path=folder,
    )


def _in_saved_model(storage: Storage, folder: str) -> Found:
    """The variables of a SavedModel."""
    prefix = storage.join(folder, *saved_model.VARIABLES)
    if storage.is_file(naming.index_name(prefix)):
        return Found(prefix)
    variables = storage.join(folder, saved_model.VARIABLES[0])
    names = storage.list(variables)
    if names:
        why = f"the index file {naming.index_name(prefix)} is missing; there is only {join_some(names)}"
    elif storage.is_folder(variables):
        why = "its folder variables is empty"
    else:
        why = "it has no folder variables"
    raise CheckpointNotFoundError(
        f"a SavedModel without variables: {why}; a model that was frozen keeps its values as constants of its graph",
        path=folder,
    )


def _follow_state(storage: Storage, folder: str, limits: Limits) -> Found:
    path = storage.join(folder, STATE_NAME)
    state = read_state(storage, folder, limits)
    if state is None or not state.model_checkpoint_path:
        raise CheckpointNotFoundError(
            f"the state file names no checkpoint{_instead(storage, folder, limits)}", path=path
        )
    found = follow(storage, folder, state.model_checkpoint_path, limits)
    if found is not None:
        return found
    named = storage.join(folder, state.model_checkpoint_path)
    raise CheckpointNotFoundError(
        f"the state file names {abridged(state.model_checkpoint_path)}, and there is no "
        f"{abridged(naming.index_name(named))}"
        f"{_instead(storage, folder, limits)}",
        path=path,
    )


def follow(storage: Storage, folder: str, path: str, limits: Limits = DEFAULT_LIMITS) -> Found | None:
    """The checkpoint that a path in a folder's state file means; None if there is none.

    A relative path counts from the folder.
    Where nothing stands at the path, the folder may have been moved: then the same name beside the state file is meant,
    and a note says so.
    """
    named = storage.join(folder, path)
    found = find_prefix(storage, named, limits)
    if found is not None:
        return found
    name = storage.split(path)[1]
    beside = storage.join(folder, name)
    if not name or beside == named:
        return None
    found = find_prefix(storage, beside, limits)
    if found is None:
        return None
    note = f"the state file names {abridged(named)}, which is not there; {beside} beside it is read instead"
    return dataclasses.replace(found, notes=(note, *found.notes))


def _instead(storage: Storage, folder: str, limits: Limits) -> str:
    """For the end of a message: the checkpoints in the folder that may be named."""
    found = prefixes_in(storage, folder, limits)
    return f"; the folder has {join_some(one.prefix for one in found)}" if found else ""


def _nothing_at(storage: Storage, path: str) -> CheckpointNotFoundError:
    if not path:
        return CheckpointNotFoundError("the path is empty; a folder is given by its name, this one by a dot")
    folder, name = storage.split(path)
    names = storage.list(folder)
    if name in names and not storage.is_folder(path):
        return CheckpointNotFoundError("this is neither a file nor a folder", path=path)
    unfinished = _unfinished(storage, folder, name, names)
    if unfinished:
        return CheckpointNotFoundError(unfinished, path=path)
    shards = [other for other in names if naming.prefix_of_member(other) == name]
    if shards:
        return CheckpointNotFoundError(
            f"the index file {name}{naming.INDEX_SUFFIX} is missing; there is only {join_some(shards)}", path=path
        )
    if storage.is_remote and not names:
        return CheckpointNotFoundError(
            f"no such checkpoint: there is no {name}{naming.INDEX_SUFFIX} and no {name}; this place lists no folders, "
            "so give the exact prefix, or the address of one of the files",
            path=path,
        )
    if folder and not storage.is_folder(folder):
        return CheckpointNotFoundError(f"no such checkpoint: there is no folder {folder}", path=path)
    known = sorted({naming.prefix_of_member(other) or other for other in names})
    hint = say_close_names(find_close_names(name, known))
    return CheckpointNotFoundError(f"no such checkpoint, file or folder{hint}", path=path)


def _unfinished(storage: Storage, folder: str, name: str, names: Iterable[str]) -> str:
    """A sentence on a checkpoint that is being written or whose writing ended half-way; empty if there is none.

    TensorFlow writes `PREFIX_temp/part-*`, in older releases `PREFIX_temp_ID/part-*`, and the index last.
    """
    for other in names:
        prefix, mark, _ = other.rpartition(_TEMPORARY)
        inside = storage.join(folder, other)
        if not mark or (name and prefix != name) or not storage.is_folder(inside):
            continue
        parts = sorted(
            {naming.prefix_of_member(part) or part for part in storage.list(inside) if part.startswith("part-")}
        )
        whole = [part for part in parts if storage.is_file(storage.join(inside, naming.index_name(part)))]
        if parts:
            paths = join_some(storage.join(inside, part) for part in whole)
            salvage = f"; its finished parts can be opened: {paths}" if whole else ""
            return (
                f"the checkpoint {storage.join(folder, prefix)} is being written, or its writing ended half-way: "
                f"{inside} holds {join_some(parts)} and there is no {prefix}{naming.INDEX_SUFFIX} yet{salvage}"
            )
    return ""
