"""The checkpoint that is meant when only the archive around it is named, or a set of files in memory."""

from __future__ import annotations

from ..errors import CheckpointNotFoundError, join_some, pluralize
from ..graphs import saved_model
from ..limits import DEFAULT_LIMITS, Limits
from ..storage.memory import TreeStorage
from . import detect
from .state_file import STATE_NAME


def only_folder(storage: TreeStorage) -> str:
    """Return the folder that holds everything: from the root down, as long as there is one folder and nothing else."""
    folder = storage.root
    while True:
        names = detect.without_clutter(storage.list(folder))
        below = storage.join(folder, names[0]) if len(names) == 1 else None
        if below is None or not storage.is_folder(below):
            return folder
        folder = below


def find_anywhere(storage: TreeStorage, limits: Limits = DEFAULT_LIMITS) -> detect.Found:
    """The one checkpoint in a tree of files.

    The folder that holds everything decides if it is a SavedModel or has a state file; it is found through folders that
    hold nothing but one folder.
    Otherwise there must be one checkpoint in all, or one folder that has any, with a state file.
    Raises `CheckpointNotFoundError` that lists them if there are several, and that says what is there if there is none.
    """
    folder = only_folder(storage)
    if _says_which(storage, folder):
        return detect.find(storage, folder, limits)
    found: dict[str, list[detect.Found]] = {}
    names = (name for name in storage.names() if detect.CLUTTER.isdisjoint(name.split("/")))
    for below in sorted({storage.split(storage.root + name)[0] for name in names}):
        here = detect.prefixes_in(storage, below, limits)
        if here:
            found[below] = here
    if len(found) == 1:
        ((below, here),) = found.items()
        if len(here) == 1 or _says_which(storage, below):
            return detect.find(storage, below, limits)
    if not found:
        raise _nothing_in(storage)
    choices = [_choice(storage, one.prefix) for here in found.values() for one in here]
    raise CheckpointNotFoundError(
        f"there are {pluralize(len(choices), 'checkpoint')} in it; name one of: {join_some(choices)}",
        path=storage.title,
    )


def _says_which(storage: TreeStorage, folder: str) -> bool:
    return storage.is_file(storage.join(folder, STATE_NAME)) or saved_model.is_saved_model(storage, folder)


def _choice(storage: TreeStorage, prefix: str) -> str:
    """What a person types: the folder of a SavedModel, else the prefix."""
    return saved_model.find_folder(storage, prefix) or prefix


def _nothing_in(storage: TreeStorage) -> CheckpointNotFoundError:
    names = storage.names()
    message = f"no checkpoint in it: {f'it holds {join_some(names)}' if names else 'it is empty'}"
    for ending, words in _OTHERS:
        if any(name.endswith(ending) for name in names):
            message += f"; {words}"
            break
    return CheckpointNotFoundError(message, path=storage.title)


_OTHERS = (
    (
        ".weights.h5",
        "this is a Keras 3 model (.keras); load it with Keras and save a checkpoint: "
        "tf.train.Checkpoint(model=model).write('PREFIX')",
    ),
    ("data.pkl", "this is a PyTorch file; open it with torch.load(path, weights_only=True)"),
    (".npy", "these are NumPy arrays; open them with numpy.load"),
)
