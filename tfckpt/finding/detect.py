"""From a path that the user typed to the checkpoint it refers to, or to an error that says what is there instead.

A V2 checkpoint is recognised by its index file, a V1 checkpoint by the content of a table: the value under the empty
key is a list of tensors in V1, and a bundle header in V2.
If both exist for one prefix, V2 wins, as in TensorFlow.
A Keras file is recognised by its content, and in a folder by its name.
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
    ResourceError,
    abridged,
    find_close_names,
    join_some,
    pluralize,
    say_close_names,
)
from ..graphs import saved_model
from ..keras import files as keras
from ..limits import DEFAULT_LIMITS, Limits
from ..sstable.format import is_table
from ..sstable.table import Table
from ..storage.base import Storage
from ..storage.clutter import drop_clutter
from ..v1 import naming as v1_naming
from ..v1.keys import LIST_KEY
from .file_kinds import HDF5, TEXT, UNKNOWN, describe_file
from .folder_advice import describe_missing_index, describe_subfolders
from .state_file import STATE_NAME, read_state, windows_name, windows_relative

V1, V2, KERAS = "V1", "V2", "Keras"
_TEMPORARY = "_temp"


@dataclasses.dataclass(frozen=True, slots=True)
class Match:
    """A checkpoint: its prefix in the storage, its format, and notes for the user on how it was found."""

    prefix: str
    format: str = V2
    notes: tuple[str, ...] = ()


def find(storage: Storage, path: str, limits: Limits = DEFAULT_LIMITS) -> Match:
    """Return the checkpoint that a prefix, a member file, a state file or a folder refers to."""
    # A path that ends in a separator is a folder; for a remote storage this saves a request.
    if storage.split(path)[1] and storage.is_file(naming.index_name(path)):
        return Match(path)
    if storage.is_folder(path):
        return _find_in_folder(storage, path, limits)
    if storage.is_file(path):
        return _find_from_file(storage, path, limits)
    shards = _find_shards(storage, path, limits)
    if shards is not None:
        return shards
    raise _not_found_error(storage, path)


def find_prefix(storage: Storage, prefix: str, limits: Limits = DEFAULT_LIMITS) -> Match | None:
    """Return the checkpoint with this prefix, as in a state file; None if it does not exist."""
    if storage.is_file(naming.index_name(prefix)):
        return Match(prefix)
    if storage.is_file(prefix):
        return Match(prefix, V1) if looks_v1(storage, prefix, limits) else None
    return _find_shards(storage, prefix, limits)


def format_of_table(source: ByteSource, limits: Limits = DEFAULT_LIMITS) -> str | None:
    """Return the format of a table by its first value; None if it has neither, `CorruptionError` if it is damaged."""
    first = Table(source, limits).seek(LIST_KEY)
    if first is None or first[0] != LIST_KEY:
        return None
    if protos.parse("SavedTensorSlices", first[1]).HasField("meta"):
        return V1
    return V2 if protos.parse("BundleHeaderProto", first[1]).num_shards else None


def explain_bad_index(storage: Storage, prefix: str, error: CorruptionError) -> CheckpointError:
    """Return the error for an index file that cannot be opened: `error` itself if it is a table, else what it is."""
    source = storage.open(naming.index_name(prefix))
    if is_table(source):
        return error
    content = describe_file(source, naming.index_name(prefix))
    if content == UNKNOWN:
        return CorruptionError(
            f"not an index file: {pluralize(source.size, 'byte')} without the magic number of a table at the end; "
            "it may be truncated or damaged: download it again",
            path=source.name,
        )
    advice = "; rename it to a name that does not end in .index" if content == HDF5 else ""
    return CheckpointNotFoundError(f"not an index file but {content}{advice}", path=source.name)


def is_v1_file(storage: Storage, path: str, limits: Limits = DEFAULT_LIMITS) -> bool:
    """Return whether a file is a valid table of a V1 checkpoint, whatever its name."""
    source = storage.open(path)
    try:
        return is_table(source) and format_of_table(source, limits) == V1
    except ResourceError:
        raise
    except CheckpointError:
        return False
    finally:
        source.close()


def list_checkpoints(storage: Storage, folder: str, limits: Limits = DEFAULT_LIMITS) -> list[Match]:
    """Return every checkpoint directly in a folder: the V2 ones by name, then the V1 ones."""
    names = drop_clutter(storage.list(folder))
    v2 = [name.removesuffix(naming.INDEX_SUFFIX) for name in names if name.endswith(naming.INDEX_SUFFIX)]
    matches = [Match(storage.join(folder, name)) for name in v2]
    seen: set[str] = set()
    for name in names:
        if name in v2 or name == STATE_NAME or naming.prefix_of_member(name) is not None:
            continue
        shard = v1_naming.parse_shard(name)
        prefix = v1_naming.pattern_name(shard[0], shard[2]) if shard else name
        path = storage.join(folder, name)
        if prefix not in seen and storage.is_file(path) and looks_v1(storage, path, limits):
            seen.add(prefix)
            matches.append(Match(storage.join(folder, prefix), V1))
    return matches


def _find_from_file(storage: Storage, path: str, limits: Limits) -> Match:
    folder, name = storage.split(path)
    prefix = naming.prefix_of_member(path)
    if prefix is not None and storage.is_file(naming.index_name(prefix)):
        return Match(prefix)
    source = storage.open(path)
    try:
        table_format = format_of_table(source, limits) or V1 if is_table(source) else None
        content = describe_file(source, path)
        is_keras = keras.is_hdf5(source) or path.endswith(keras.SHARDED_ENDING)
        is_keras = is_keras or (path.endswith(keras.ARCHIVE_ENDING) and keras.is_zip(source))
    finally:
        source.close()
    if table_format is not None:
        return _find_from_table(storage, path, table_format, limits)
    if is_keras:
        return _find_keras(storage, path)
    if name == STATE_NAME:
        return _follow_state(storage, folder, limits)
    if name in (saved_model.FILE_NAME, saved_model.TEXT_FILE_NAME):
        return _find_in_saved_model(storage, folder)
    if prefix is not None and name.endswith(naming.META_SUFFIX):
        match = _find_v1_of_graph(storage, prefix, limits)
        if match is not None:
            return match
        raise CheckpointNotFoundError(
            f"graph without a checkpoint: {storage.split(naming.index_name(prefix))[1]} is not next to it", path=path
        )
    if prefix is not None and name.startswith(storage.split(prefix)[1] + ".data-"):
        raise CheckpointNotFoundError(
            f"data shard without its index file: {storage.split(naming.index_name(prefix))[1]} is not next to it; "
            "only the index says which tensors the shard contains",
            path=path,
        )
    raise CheckpointNotFoundError(f"not a TensorFlow checkpoint but {content}", path=path)


def list_keras_files(storage: Storage, folder: str) -> list[Match]:
    """Return the Keras files directly in a folder, by their names; shards belong to their `.weights.json` file."""
    names = drop_clutter(storage.list(folder))
    paths = [storage.join(folder, name) for name in names if name.endswith(keras.ENDINGS)]
    return [Match(path, KERAS) for path in paths if keras.find_sharded(path) not in paths and storage.is_file(path)]


def _find_keras(storage: Storage, path: str) -> Match:
    """Return the Keras file, or the sharded one that it is a shard of."""
    sharded = keras.find_sharded(path)
    if sharded is None or not storage.is_file(sharded):
        return Match(path, KERAS)
    return Match(sharded, KERAS, (f"{path} is a shard of {sharded}; all shards are read",))


def _find_from_table(storage: Storage, path: str, table_format: str, limits: Limits) -> Match:
    """Return the checkpoint of a file that is a table, but not an index file by its name."""
    if table_format == V2:
        raise CheckpointNotFoundError(
            "index file of a V2 checkpoint with a wrong name; rename it to PREFIX.index, "
            "next to its data shards PREFIX.data-SSSSS-of-NNNNN",
            path=path,
        )
    shard = v1_naming.parse_shard(path)
    if shard is None or shard[2] < 2:
        return Match(path, V1)
    base, shard_id, num_shards = shard
    match = _find_shards(storage, v1_naming.pattern_name(base, num_shards), limits)
    if match is None:
        return Match(path, V1)
    note = f"{path} is shard {shard_id} of {num_shards}; all shards are read"
    return dataclasses.replace(match, notes=(note, *match.notes))


def _find_shards(storage: Storage, path: str, limits: Limits) -> Match | None:
    """Return the sharded V1 checkpoint with this pattern or this base name of shards; None if it does not exist."""
    pattern = v1_naming.parse_pattern(path)
    folder, name = storage.split(path if pattern is None else pattern[0])
    present: dict[int, set[int]] = {}
    for other in storage.list(folder):
        shard = v1_naming.parse_shard(other)
        if shard is not None and shard[0] == name and (pattern is None or pattern[1] == shard[2]):
            present.setdefault(shard[2], set()).add(shard[1])
    if not present and pattern is not None:
        present = _probe_shards(storage, *pattern, limits)
    sets = {
        num_shards: numbers
        for num_shards, numbers in present.items()
        if looks_v1(storage, v1_naming.shard_name(storage.join(folder, name), min(numbers), num_shards), limits)
    }
    if not sets:
        return None
    base = storage.join(folder, name)
    if len(sets) > 1:
        raise CheckpointNotFoundError(
            "several sets of shards have this name; specify one of: "
            f"{join_some(v1_naming.pattern_name(base, num_shards) for num_shards in sorted(sets))}",
            path=path,
        )
    ((num_shards, numbers),) = sets.items()
    missing = [number for number in range(min(num_shards, limits.max_shards)) if number not in numbers]
    notes: tuple[str, ...] = ()
    if missing:
        absent = join_some(v1_naming.shard_name(name, number, num_shards) for number in missing)
        notes = (
            f"{len(missing)} of {num_shards} shards of {base} are missing ({absent}): "
            "tensors that are only in these are not listed",
        )
    return Match(v1_naming.pattern_name(base, num_shards), V1, notes)


def _probe_shards(storage: Storage, base: str, num_shards: int, limits: Limits) -> dict[int, set[int]]:
    """Return the shards of a pattern that exist, by testing each name; for a storage that cannot list folders."""
    names = [v1_naming.shard_name(base, number, num_shards) for number in range(min(num_shards, limits.max_shards))]
    if not names or not (storage.is_file(names[0]) or storage.is_file(names[-1])):
        return {}
    return {num_shards: {number for number, name in enumerate(names) if storage.is_file(name)}}


def looks_v1(storage: Storage, path: str, limits: Limits = DEFAULT_LIMITS) -> bool:
    """Return whether a file is a table of a V1 checkpoint, or a damaged table that may be one."""
    source = storage.open(path)
    try:
        return is_table(source) and format_of_table(source, limits) == V1
    except CorruptionError:
        return True
    finally:
        source.close()


def _find_v1_of_graph(storage: Storage, prefix: str, limits: Limits) -> Match | None:
    """Return the V1 checkpoint next to `prefix.meta`."""
    if storage.is_file(prefix):
        return Match(prefix, V1) if looks_v1(storage, prefix, limits) else None
    return _find_shards(storage, prefix, limits)


def _describe_no_names(storage: Storage, folder: str) -> str:
    """Return why a folder has no names: it is empty, or it cannot be listed."""
    if storage.is_remote and folder.startswith(("http://", "https://")):
        return "HTTP cannot list folders; specify a checkpoint in it, such as FOLDER/model.ckpt-7"
    return "it is empty"


def _find_in_folder(storage: Storage, folder: str, limits: Limits) -> Match:
    if storage.is_file(storage.join(folder, STATE_NAME)):
        return _follow_state(storage, folder, limits)
    if saved_model.is_saved_model(storage, folder):
        return _find_in_saved_model(storage, folder)
    matches = list_checkpoints(storage, folder, limits)
    if len(matches) == 1:
        return matches[0] if matches[0].format == V2 else find_prefix(storage, matches[0].prefix, limits) or matches[0]
    if matches:
        raise CheckpointNotFoundError(
            f"the folder has {len(matches)} checkpoints and no state file that names the latest; "
            f"specify one of: {join_some(match.prefix for match in matches)}",
            path=folder,
        )
    inside = storage.join(folder, *saved_model.VARIABLES)
    if storage.is_file(naming.index_name(inside)):
        return Match(inside)
    keras_files = list_keras_files(storage, folder)
    if len(keras_files) == 1:
        return keras_files[0]
    if keras_files:
        raise CheckpointNotFoundError(
            f"the folder has {len(keras_files)} Keras files; specify one of: "
            f"{join_some(match.prefix for match in keras_files)}",
            path=folder,
        )
    names = storage.list(folder)
    content = f"it contains {join_some(names)}" if names else _describe_no_names(storage, folder)
    reason = describe_missing_index(names) or describe_subfolders(storage, folder, names)
    raise CheckpointNotFoundError(
        _describe_unfinished(storage, folder, "", names)
        or f"no checkpoint in this folder: {reason or f'no *.index file and no state file; {content}'}",
        path=folder,
    )


def _find_in_saved_model(storage: Storage, folder: str) -> Match:
    """Return the variables of a SavedModel."""
    prefix = storage.join(folder, *saved_model.VARIABLES)
    if storage.is_file(naming.index_name(prefix)):
        return Match(prefix)
    variables = storage.join(folder, saved_model.VARIABLES[0])
    names = storage.list(variables)
    if names:
        reason = f"the index file {naming.index_name(prefix)} is missing; there is only {join_some(names)}"
    elif storage.is_folder(variables):
        reason = "its variables folder is empty"
    else:
        reason = "it has no variables folder"
    raise CheckpointNotFoundError(
        f"SavedModel without variables: {reason}; a frozen model stores its values as constants of its graph",
        path=folder,
    )


def _follow_state(storage: Storage, folder: str, limits: Limits) -> Match:
    path = storage.join(folder, STATE_NAME)
    try:
        state = read_state(storage, folder, limits)
    except CorruptionError as error:
        raise _explain_bad_state(storage, path, error) from None
    if state is None or not state.model_checkpoint_path:
        raise CheckpointNotFoundError(
            f"the state file names no checkpoint{_describe_alternatives(storage, folder, limits)}", path=path
        )
    match = find_named(storage, folder, state.model_checkpoint_path, limits)
    if match is not None:
        return match
    named = storage.join(folder, state.model_checkpoint_path)
    reason = describe_missing_index(storage.list(folder), storage.split(named)[1])
    raise CheckpointNotFoundError(
        f"the state file names {abridged(state.model_checkpoint_path)}, but "
        f"{abridged(naming.index_name(named))} does not exist{': ' if reason else ''}{reason}"
        f"{_describe_alternatives(storage, folder, limits)}",
        path=path,
    )


def _explain_bad_state(storage: Storage, path: str, error: CorruptionError) -> CheckpointError:
    """Return the error for a state file that cannot be parsed: `error` itself if it is text, else what the file is."""
    source = storage.open(path)
    content = describe_file(source)
    source.close()
    if content in (UNKNOWN, TEXT):
        return error
    advice = f"; open it by its own path, {path}" if content == HDF5 else ""
    return CheckpointNotFoundError(f"not a state file but {content}{advice}", path=path)


def find_named(storage: Storage, folder: str, path: str, limits: Limits = DEFAULT_LIMITS) -> Match | None:
    """Return the checkpoint that a path in a folder's state file refers to; None if it does not exist.

    A relative path is relative to the folder.
    If the path does not exist, the folder may have been moved, or be from Windows: then the same name next to the state
    file is used, and a note says so.
    """
    named = storage.join(folder, path)
    match = find_prefix(storage, named, limits)
    if match is not None:
        return match
    for name in (storage.split(path)[1], windows_relative(path), windows_name(path)):
        moved = storage.join(folder, name) if name else named
        match = find_prefix(storage, moved, limits) if moved != named else None
        if match is not None:
            break
    else:
        return None
    shown = named if windows_name(path) is None else path
    note = f"the state file names {abridged(shown)}, which does not exist; reading {moved} next to it instead"
    return dataclasses.replace(match, notes=(note, *match.notes))


def _describe_alternatives(storage: Storage, folder: str, limits: Limits) -> str:
    """Return the end of a message: the checkpoints of the folder that could be meant."""
    matches = list_checkpoints(storage, folder, limits)
    return f"; the folder has {join_some(match.prefix for match in matches)}" if matches else ""


def _not_found_error(storage: Storage, path: str) -> CheckpointNotFoundError:
    if not path:
        return CheckpointNotFoundError("the path is empty; use . for the current folder")
    folder, name = storage.split(path)
    names = storage.list(folder)
    if name in names and not storage.is_folder(path):
        return CheckpointNotFoundError("neither a regular file nor a folder", path=path)
    unfinished = _describe_unfinished(storage, folder, name, names)
    if unfinished:
        return CheckpointNotFoundError(unfinished, path=path)
    reason = describe_missing_index(names, f"{name}.")
    if reason:
        return CheckpointNotFoundError(f"no such checkpoint: {reason}", path=path)
    shards = [other for other in names if naming.prefix_of_member(other) == name]
    if shards:
        return CheckpointNotFoundError(
            f"the index file {name}{naming.INDEX_SUFFIX} is missing; there is only {join_some(shards)}", path=path
        )
    if storage.is_remote and not names:
        return CheckpointNotFoundError(
            f"no such checkpoint: neither {name}{naming.INDEX_SUFFIX} nor {name} exists; "
            "folders cannot be listed here, so use the exact prefix, or the address of one of the files",
            path=path,
        )
    if folder and not storage.is_folder(folder):
        return CheckpointNotFoundError(f"no such checkpoint: folder {folder} does not exist", path=path)
    known = sorted({naming.prefix_of_member(other) or other for other in names})
    hint = say_close_names(find_close_names(name, known))
    return CheckpointNotFoundError(f"no such checkpoint, file or folder{hint}", path=path)


def _describe_unfinished(storage: Storage, folder: str, name: str, names: Iterable[str]) -> str:
    """Describe a checkpoint that is being written or whose writing was interrupted; empty if there is none.

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
        finished = [part for part in parts if storage.is_file(storage.join(inside, naming.index_name(part)))]
        if parts:
            paths = join_some(storage.join(inside, part) for part in finished)
            hint = f"; its finished parts can be opened: {paths}" if finished else ""
            return (
                f"the checkpoint {storage.join(folder, prefix)} is being written, or writing it was interrupted: "
                f"{inside} contains {join_some(parts)}, but {prefix}{naming.INDEX_SUFFIX} does not exist yet{hint}"
            )
    return ""
