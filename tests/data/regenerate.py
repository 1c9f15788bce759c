"""Write the checkpoints of tests/data/tensorflow with real TensorFlow, and record what TensorFlow reads back.

TensorFlow never enters the project's own environment; make one beside it, once::

    python3.11 -m venv .tensorflow
    .tensorflow/bin/pip install tensorflow-cpu==2.21.0 tf_keras==2.21.0 python-snappy

and run, from the root of the repository, for all cases or for the named ones::

    TF_USE_LEGACY_KERAS=1 .tensorflow/bin/python tests/data/regenerate.py [NAME ...]

Each case is one folder under tests/data/tensorflow, or one .tgz where the files are large and compress well.
A case holds the checkpoint files and `expected.json`.
README.md in that folder tells what every case is and how to read its JSON.
A case is made in a process of its own, so that neither TensorFlow's counters nor a crash in one case reach another.
Running again gives the same bytes, but for the files README.md lists, where TensorFlow puts random numbers.
The cases `train-api` and `stand-in` describe how TensorFlow's functions behave on the others, so they are made last.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = HERE / "tensorflow"

CASES = {
    "dtypes": "bundles:make_dtypes",
    "variant": "bundles:make_variant",
    "names": "bundles:make_names",
    "non-utf8-name": "bundles:make_non_utf8_name",
    "many": "bundles:make_many",
    "slices": "slices:make_slices",
    "partitioned": "slices:make_partitioned",
    "sharded": "shards:make_sharded",
    "sharded-saver": "shards:make_sharded_saver",
    "shard-size": "shards:make_shard_size",
    "bigendian": "handmade:make_bigendian",
    "snappy": "handmade:make_snappy",
    "aligned": "handmade:make_aligned",
    "v1": "v1:make_v1",
    "objects-more": "objects:make_objects",
    "optimizers": "optimizers:make_optimizers",
    "manager": "objects:make_manager",
    "savedmodel-tf1": "savedmodels:make_tf1",
    "savedmodel-tf2": "savedmodels:make_tf2",
    "writer": "writer:make_writer",
    "writer-long-keys": "writer:make_long_keys",
    "graph-writes": "graph_writes:make_graph_writes",
    "statefile": "statefile:make_statefile",
    "train-api": "train_api:make_train_api",
    "stand-in": "stand_in:make_stand_in",
}
"""Case name -> module and function in the folder regenerate, in the order they are made."""

PACKED = {"many", "writer-long-keys"}
"""Cases kept as one .tgz."""


ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    "PYTHONHASHSEED": "0",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_USE_LEGACY_KERAS": "1",
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the checkpoints of tests/data/tensorflow with TensorFlow.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"cases to make, all when none is named: {', '.join(CASES)}"
    )
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in CASES]
    if unknown:
        parser.error(f"no such case: {', '.join(unknown)}")
    if arguments.here:
        for name in arguments.names:
            make(name)
        return 0
    failed = []
    for name in CASES:
        if arguments.names and name not in arguments.names:
            continue
        print(f"{name} ...", flush=True)
        environment = {**os.environ, **ENVIRONMENT}
        command = [sys.executable, __file__, "--here", name]
        if subprocess.run(command, env=environment, check=False).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def make(name: str) -> None:
    """Make one case in this process: its folder is the working directory, so every path TensorFlow sees is relative."""
    folder = TARGET / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.chdir(folder)
    module, function = CASES[name].split(":")
    getattr(importlib.import_module(f"regenerate.{module}"), function)()
    if name in PACKED:
        importlib.import_module("regenerate.recording").pack(folder)


if __name__ == "__main__":
    sys.exit(main())
