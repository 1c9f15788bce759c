"""State files of every spelling, and what TensorFlow makes of each."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from regenerate.recording import Record, save, write_json

HERE = "{folder}"
"""Stands for the absolute path of the folder in the texts and the answers."""

LATEST = 'model_checkpoint_path: "ckpt-1"\n'

TEXTS: dict[str, str | bytes] = {
    "as_written": 'model_checkpoint_path: "ckpt-1"\nall_model_checkpoint_paths: "ckpt-1"\n',
    "several": 'model_checkpoint_path: "ckpt-2"\nall_model_checkpoint_paths: "ckpt-1"\n'
    'all_model_checkpoint_paths: "ckpt-2"\n',
    "timestamps": 'model_checkpoint_path: "ckpt-1"\nall_model_checkpoint_paths: "ckpt-1"\n'
    "all_model_checkpoint_timestamps: 1600000000.5\nlast_preserved_timestamp: 1.5e9\n",
    "latest_is_not_last": 'all_model_checkpoint_paths: "ckpt-1"\nall_model_checkpoint_paths: "ckpt-2"\n'
    'model_checkpoint_path: "ckpt-1"\n',
    "without_latest": 'all_model_checkpoint_paths: "ckpt-1"\n',
    "latest_not_listed": 'model_checkpoint_path: "ckpt-2"\nall_model_checkpoint_paths: "ckpt-1"\n',
    "latest_only": 'model_checkpoint_path: "ckpt-1"\n',
    "comments": '# the state\nmodel_checkpoint_path: "ckpt-1"  # latest\n#all_model_checkpoint_paths: "no"\n',
    "hash_in_string": 'model_checkpoint_path: "ck#pt-1"\n',
    "single_quotes": "model_checkpoint_path: 'ckpt-1'\n",
    "single_quote_inside": 'model_checkpoint_path: "it\'s-1"\n',
    "escaped_quote": 'model_checkpoint_path: "say\\"so\\"-1"\n',
    "octal_escapes": 'model_checkpoint_path: "gr\\303\\266\\303\\237e-1"\n',
    "hex_escapes": 'model_checkpoint_path: "gr\\xc3\\xb6\\xc3\\x9fe-1"\n',
    "unicode_escapes": 'model_checkpoint_path: "gr\\u00f6\\u00dfe-1"\n',
    "raw_utf8": 'model_checkpoint_path: "größe-1"\n',
    "octal_not_utf8": 'model_checkpoint_path: "\\377-1"\n',
    "raw_not_utf8": b'model_checkpoint_path: "\xff-1"\n',
    "backslash": 'model_checkpoint_path: "back\\\\slash-1"\n',
    "tab_escape": 'model_checkpoint_path: "tab\\tinside-1"\n',
    "unknown_escape": 'model_checkpoint_path: "ck\\qpt-1"\n',
    "adjacent_strings": 'model_checkpoint_path: "ck" \'pt\'\n  "-1"\n',
    "repeated_field": 'model_checkpoint_path: "ckpt-1"\nmodel_checkpoint_path: "ckpt-2"\n',
    "one_line": 'model_checkpoint_path: "ckpt-1" all_model_checkpoint_paths: "ckpt-1"',
    "separators": 'model_checkpoint_path: "ckpt-1", all_model_checkpoint_paths: "ckpt-1"; '
    'all_model_checkpoint_paths: "ckpt-2"',
    "list_syntax": 'model_checkpoint_path: "ckpt-2"\nall_model_checkpoint_paths: ["ckpt-1", "ckpt-2"]\n',
    "no_spaces": 'model_checkpoint_path:"ckpt-1"all_model_checkpoint_paths:"ckpt-1"',
    "much_space": '\n\n  model_checkpoint_path \t :\n\t"ckpt-1"\n\n',
    "carriage_returns": 'model_checkpoint_path: "ckpt-1"\r\nall_model_checkpoint_paths: "ckpt-1"\r\n',
    "no_final_newline": 'model_checkpoint_path: "ckpt-1"',
    "byte_order_mark": '\ufeffmodel_checkpoint_path: "ckpt-1"\n',
    "number_inf": LATEST + "all_model_checkpoint_timestamps: inf\nall_model_checkpoint_timestamps: -Infinity\n",
    "number_nan": LATEST + "last_preserved_timestamp: nan\n",
    "number_negative_nan": LATEST + "last_preserved_timestamp: -nan\n",
    "number_with_f": LATEST + "last_preserved_timestamp: 15f\n",
    "number_without_digits_first": LATEST + "last_preserved_timestamp: .5\n",
    "number_hexadecimal": LATEST + "last_preserved_timestamp: 0x10\n",
    "number_octal": LATEST + "last_preserved_timestamp: 010\n",
    "number_negative": LATEST + "last_preserved_timestamp: -1.5e3\n",
    "number_spaced_minus": LATEST + "last_preserved_timestamp: - 1.5\n",
    "number_repeated": LATEST + "last_preserved_timestamp: 1\nlast_preserved_timestamp: 2\n",
    "number_is_string": 'model_checkpoint_path: "ckpt-1"\nlast_preserved_timestamp: "5"\n',
    "string_is_number": "model_checkpoint_path: 5\n",
    "string_is_bare": "model_checkpoint_path: ckpt-1\n",
    "field_number": '1: "ckpt-1"\n',
    "unknown_field": 'model_checkpoint_path: "ckpt-1"\ncolour: "blue"\n',
    "no_colon": 'model_checkpoint_path "ckpt-1"\n',
    "unterminated": 'model_checkpoint_path: "ckpt-1\n',
    "newline_in_string": 'model_checkpoint_path: "ckpt\n-1"\n',
    "json": '{"model_checkpoint_path": "ckpt-1"}\n',
    "braces": 'model_checkpoint_path { "ckpt-1" }\n',
    "empty": "",
    "blank": " \n\n",
    "comment_only": "# nothing\n",
    "empty_path": 'model_checkpoint_path: ""\n',
    "empty_listed": 'model_checkpoint_path: "ckpt-1"\nall_model_checkpoint_paths: ""\n',
    "missing_files": 'model_checkpoint_path: "gone-7"\nall_model_checkpoint_paths: "ckpt-1"\n',
    "with_index_ending": 'model_checkpoint_path: "ckpt-1.index"\n',
    "relative_up": 'model_checkpoint_path: "../FOLDER/ckpt-1"\n',
    "relative_dot": 'model_checkpoint_path: "./ckpt-1"\n',
    "double_slash": 'model_checkpoint_path: "sub//ckpt-3"\n',
    "sub_folder": 'model_checkpoint_path: "sub/ckpt-3"\n',
    "absolute": f'model_checkpoint_path: "{HERE}/ckpt-1"\nall_model_checkpoint_paths: "{HERE}/ckpt-1"\n',
    "absolute_gone": 'model_checkpoint_path: "/nowhere/at/all/ckpt-1"\n',
    "v1_file": 'model_checkpoint_path: "old-5"\n',
    "v1_shards": 'model_checkpoint_path: "many-6-?????-of-00002"\n',
    "glob": 'model_checkpoint_path: "ckpt-*"\n',
    "address": 'model_checkpoint_path: "file://{folder}/ckpt-1"\n',
    "brackets": 'model_checkpoint_path: "run[1]-1"\n',
    "two_commas": 'model_checkpoint_path: "ckpt-1",, all_model_checkpoint_paths: "ckpt-1"\n',
    "comma_first": ', model_checkpoint_path: "ckpt-1"\n',
    "extension": LATEST + '[some.extension]: "value"\n',
    "nul": b'model_checkpoint_path: "ckpt-1\x00"\n',
}
"""Name of a case -> the text of the file `checkpoint`."""

V2 = [
    "ckpt-1",
    "ckpt-2",
    "ck#pt-1",
    "it's-1",
    'say"so"-1',
    "größe-1",
    "back\\slash-1",
    "tab\tinside-1",
    "run[1]-1",
    "sub/ckpt-3",
]
V1 = ["old-5", "many-6-00000-of-00002", "many-6-00001-of-00002"]
"""Prefixes in the folder the state files stand in: `.index` and data files, and single V1 files."""


def make_statefile() -> None:
    """A table of texts and answers, for relative folder names, made with the prefixes of V1 and V2 in place."""
    folder = Path("folder")
    (folder / "sub").mkdir(parents=True)
    for prefix in V2:
        save(f"folder/{prefix}", [("x", "", tf.constant(1.0))])
    for name in V1:
        tf.raw_ops.SaveSlices(
            filename=f"folder/{name}", tensor_names=["x"], shapes_and_slices=[""], data=[tf.constant(1.0)]
        )
    cases = [answer(name, text, folder) for name, text in TEXTS.items()]
    (folder / "checkpoint").unlink()
    missing = {
        "no_state_file": answers("folder"),
        "no_folder": answers("nowhere"),
        "a_file": answers("folder/ckpt-1.index"),
        "empty_name": answers(""),
        "other_name": other_name(folder),
        "trailing_slash": trailing_slash(folder),
    }
    shutil.rmtree(folder)
    shape = {"folder": "folder", "v2_prefixes": V2, "v1_files": V1}
    write_json("expected.json", {"tensorflow": tf.__version__, **shape, "cases": cases, "others": missing})


def answer(name: str, text: str | bytes, folder: Path) -> Record:
    """What TensorFlow makes of one text."""
    raw = text if isinstance(text, bytes) else text.encode()
    raw = raw.replace(HERE.encode(), str(folder.resolve()).encode()).replace(b"FOLDER", folder.name.encode())
    (folder / "checkpoint").write_bytes(raw)
    shown = raw.replace(str(folder.resolve()).encode(), HERE.encode())
    entry: Record = {"name": name, "text": shown.decode("utf-8", "surrogateescape")}
    return entry | answers("folder")


def other_name(folder: Path) -> Record:
    """Another name for the state file."""
    (folder / "state").write_text('model_checkpoint_path: "ckpt-2"\n', encoding="ascii")
    return {
        "latest_checkpoint": attempt(lambda: tf.train.latest_checkpoint("folder", latest_filename="state")),
        "get_checkpoint_state": attempt(
            lambda: state(tf.train.get_checkpoint_state("folder", latest_filename="state"))
        ),
    }


def trailing_slash(folder: Path) -> Record:
    """A folder name that ends with a slash."""
    (folder / "checkpoint").write_text('model_checkpoint_path: "ckpt-2"\n', encoding="ascii")
    return answers("folder/")


def answers(folder: str) -> Record:
    """Both functions' answers for a folder."""
    return {
        "latest_checkpoint": attempt(lambda: tf.train.latest_checkpoint(folder)),
        "get_checkpoint_state": attempt(lambda: state(tf.train.get_checkpoint_state(folder))),
    }


def attempt(call: Callable[[], Any]) -> Any:
    """What a call returns, or the class and message of what it raises; the folder's own path is a placeholder."""
    here = str(Path("folder").resolve())
    try:
        return replaced(call(), here)
    except Exception as error:
        return {"raises": type(error).__name__, "message": str(error).replace(here, HERE)}


def replaced(value: Any, here: str) -> Any:
    if isinstance(value, dict):
        return {key: replaced(item, here) for key, item in value.items()}
    if isinstance(value, list):
        return [replaced(item, here) for item in value]
    return value.replace(here, HERE) if isinstance(value, str) else value


def state(message: Any) -> Record | None:
    """The fields of a CheckpointState; numbers as text, because JSON has no infinity."""
    if message is None:
        return None
    return {
        "model_checkpoint_path": message.model_checkpoint_path,
        "all_model_checkpoint_paths": list(message.all_model_checkpoint_paths),
        "all_model_checkpoint_timestamps": [repr(item) for item in message.all_model_checkpoint_timestamps],
        "last_preserved_timestamp": repr(message.last_preserved_timestamp),
    }
