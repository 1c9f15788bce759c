"""`tfckpt ls --all`: the checkpoints of a folder."""

from __future__ import annotations

import dataclasses
import datetime
import math

from ..checkpoint_folder import KnownCheckpoint, checkpoints
from ..errors import printable
from . import render


def list_checkpoints(path: str, *, json: bool) -> int:
    """List, from the oldest to the newest; exit code 3 when there is none."""
    found = checkpoints(path)
    if json:
        print(render.as_json([dataclasses.asdict(one) | {"timestamp": _json_time(one.timestamp)} for one in found]))
    elif found:
        rows = [[printable(one.prefix), _time(one.timestamp), _state(one)] for one in found]
        print(render.table(["checkpoint", "written (UTC)", ""], rows))
    else:
        render.complain(f"{path}: no checkpoint in this folder")
    for one in found:
        for note in one.notes:
            render.say(note)
    return 0 if found else 3


def _time(timestamp: float | None) -> str:
    """Seconds since 1970 as a date; what is none, such as nan, as the number."""
    if timestamp is None:
        return "-"
    try:
        return datetime.datetime.fromtimestamp(timestamp, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return str(timestamp)


def _json_time(timestamp: float | None) -> object:
    """JSON has no NaN and no infinities: they become their names."""
    return timestamp if timestamp is None or math.isfinite(timestamp) else str(timestamp)


def _state(one: KnownCheckpoint) -> str:
    """What is to be said of a checkpoint besides its name."""
    words = [
        "latest" if one.is_latest else "",
        "" if one.exists else "not there",
        "" if one.in_state_file else "not in the state file",
    ]
    return ", ".join(word for word in words if word)
