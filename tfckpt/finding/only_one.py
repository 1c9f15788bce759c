"""The only checkpoint in an archive, or in a set of files in memory, that is passed without a path inside it."""

from __future__ import annotations

from ..errors import CheckpointNotFoundError, join_some, pluralize
from ..graphs import saved_model
from ..limits import DEFAULT_LIMITS, Limits
from ..storage.clutter import CLUTTER
from ..storage.memory import TreeStorage
from . import detect
from .state_file import STATE_NAME


def find_anywhere(storage: TreeStorage, limits: Limits = DEFAULT_LIMITS) -> detect.Match:
    """Return the only checkpoint in a tree of files.

    The top folder decides if it is a SavedModel or has a state file.
    Otherwise there must be one checkpoint in all, or one folder with checkpoints, which has a state file.
    Keras files count only if there are no checkpoints.
    Raises `CheckpointNotFoundError` that lists the checkpoints if there are several, and the files if there is none.
    """
    folder = storage.top_folder()
    if _names_its_checkpoint(storage, folder):
        return detect.find(storage, folder, limits)
    matches_of: dict[str, list[detect.Match]] = {}
    names = (name for name in storage.names() if CLUTTER.isdisjoint(name.split("/")))
    subfolders = sorted({storage.split(storage.root + name)[0] for name in names})
    for subfolder in subfolders:
        matches = detect.list_checkpoints(storage, subfolder, limits)
        if matches:
            matches_of[subfolder] = matches
    if not matches_of:
        for subfolder in subfolders:
            matches = detect.list_keras_files(storage, subfolder)
            if matches:
                matches_of[subfolder] = matches
    if not matches_of:
        raise _not_found_error(storage)
    if len(matches_of) == 1:
        ((subfolder, matches),) = matches_of.items()
        if len(matches) == 1 and matches[0].format == detect.KERAS:
            return matches[0]
        if len(matches) == 1 or _names_its_checkpoint(storage, subfolder):
            return detect.find(storage, subfolder, limits)
    choices = [_choice_of(storage, match.prefix) for matches in matches_of.values() for match in matches]
    raise CheckpointNotFoundError(
        f"contains {pluralize(len(choices), 'checkpoint')}; specify one of: {join_some(choices)}", path=storage.title
    )


def _names_its_checkpoint(storage: TreeStorage, folder: str) -> bool:
    return storage.is_file(storage.join(folder, STATE_NAME)) or saved_model.is_saved_model(storage, folder)


def _choice_of(storage: TreeStorage, prefix: str) -> str:
    """Return what a person would type: the folder of a SavedModel, else the prefix."""
    return saved_model.find_folder(storage, prefix) or prefix


def _not_found_error(storage: TreeStorage) -> CheckpointNotFoundError:
    names = storage.names()
    message = f"contains no checkpoint, only {join_some(names)}" if names else "contains no checkpoint: it is empty"
    for ending, advice in _FOREIGN_ENDINGS:
        if any(name.endswith(ending) for name in names):
            message += f"; {advice}"
            break
    return CheckpointNotFoundError(message, path=storage.title)


_FOREIGN_ENDINGS = (
    ("data.pkl", "this is a PyTorch file; open it with torch.load(path, weights_only=True)"),
    (".npy", "these are NumPy arrays; open them with numpy.load"),
)
