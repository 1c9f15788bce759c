"""The valid files that fuzzing starts from: committed fixtures, most by TensorFlow, and small handmade ones."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import pathlib
import struct
import tarfile
import zipfile
from collections.abc import Callable

from tests import builders
from tests import keras_files as keras
from tests.builders import Bundle
from tests.tfckpt.v1.v1_files import V1File

DATA = pathlib.Path(__file__).parents[1] / "data"
TENSORFLOW = DATA / "tensorflow"
#: The largest size in bytes: in larger files most mutations hit data, not structure.
MAX_SIZE = 40_000

Files = dict[str, bytes]


@functools.cache
def bundles() -> tuple[Files, ...]:
    """Return V2 checkpoints as files in memory, each with the prefix `model`; the first three are handmade."""
    checkpoints = [handmade(), handmade(big_endian=True), handmade(framer=builders.snappy_frame)]
    for index in sorted(DATA.rglob("*.index")):
        prefix = index.name.removesuffix(".index")
        parts = [index, *sorted(index.parent.glob(f"{escape_glob(prefix)}.data-*"))]
        if sum(part.stat().st_size for part in parts) <= MAX_SIZE and len(parts) > 1:
            checkpoints.append({"model" + part.name[len(prefix) :]: part.read_bytes() for part in parts})
    return tuple(checkpoints)


def handmade(*, big_endian: bool = False, framer: Callable[[bytes], bytes] = builders.plain) -> Files:
    """Return a bundle with a bit of everything."""
    order = ">" if big_endian else "<"
    bundle = Bundle(num_shards=2, big_endian=big_endian)
    bundle.add("scope/w", builders.FLOAT, [2, 3], struct.pack(order + "6f", *range(6)))
    bundle.add_strings("scope/more", [b"one", b"", b"three" * 40], shard_id=1)
    bundle.add("scope/flags", builders.BOOL, [3], b"\1\0\1", shard_id=1)
    bundle.add("scope/empty", builders.DOUBLE, [3, 0], b"")
    halves = [([(1, 1), None], struct.pack(order + "2f", 3, 4)), ([(0, 1), None], struct.pack(order + "2f", 1, 2))]
    bundle.add_slices("scope/part", builders.FLOAT, [2, 2], halves)
    shards = {f"model.data-{number:05d}-of-00002": bytes(data) for number, data in bundle.shards.items()}
    return {"model.index": bundle.index(per_block=4, restart_interval=2, framer=framer), **shards}


def v1() -> list[bytes]:
    """Return V1 checkpoints of one file."""
    handmade_file = V1File().add(b"w", builders.FLOAT, [2, 2], [([None, None], [1, 2, 3, 4])])
    recorded = [path.read_bytes() for path in sorted(TENSORFLOW.glob("v1/**/*")) if _is_v1(path)]
    return [handmade_file.bytes(), *recorded]


def object_graphs() -> list[bytes]:
    """Return the TrackableObjectGraph messages of the checkpoints that have one."""
    import tfckpt
    from tfckpt.graphs.object_graph import GRAPH_KEY

    messages = []
    for files in bundles():
        with tfckpt.open(files) as checkpoint:
            if GRAPH_KEY in checkpoint:
                messages.append(bytes(checkpoint[GRAPH_KEY][()]))
    return messages


def state_files() -> list[bytes]:
    """Return state files, which are named `checkpoint`."""
    contents = {path.read_bytes() for path in sorted(DATA.rglob("checkpoint")) if path.is_file()}
    contents.add(b'model_checkpoint_path: "model"\nlast_preserved_timestamp: 7\n')
    contents.add(b'model_checkpoint_path: "../model"\nall_model_checkpoint_timestamps: 1.5\n')
    return sorted(contents)


def archives() -> list[bytes]:
    """Return the first bundle in tar archives, plain and compressed, and in zip archives, stored and deflated."""
    files = bundles()[0]
    contents = []
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode=mode, format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]  # the mode is not a literal
            for name, data in files.items():
                member = tarfile.TarInfo(f"folder/{name}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        contents.append(out.getvalue())
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as zipped:
            for name, data in files.items():
                zipped.writestr(zipfile.ZipInfo(name), data, method)
        contents.append(out.getvalue())
    return contents


def keras_files() -> list[bytes]:
    """Return the Keras files: HDF5, and zip archives with it."""
    names = [name for name in keras.expected() if not name.endswith(".json")]
    return [keras.files_of(name)[name] for name in names]


def graphs(ending: str) -> list[bytes]:
    """Return `.meta` or `.pb` files."""
    paths = [path for path in sorted(DATA.rglob(f"*{ending}")) if path.stat().st_size <= MAX_SIZE * 2]
    return [path.read_bytes() for path in paths if path.name != "fingerprint.pb"]


def frozen_graphs() -> list[bytes]:
    """Return the graphs of `.meta` files as frozen `.pb` files have them."""
    from tfckpt import protos

    return [protos.parse("MetaGraphDef", data).graph_def.SerializeToString() for data in graphs(".meta")]


def reports() -> list[bytes]:
    """Return names of tensors and bytes of their values in turn, with the separator between them."""
    names = [
        "w",
        "layer/kernel",
        "a|<script>alert(1)</script>\"'`*_x_[l](javascript:1)",
        "\x1b[31m\u202e",
        "</td>&amp;]]>",
    ]
    values = [bytes(4), b"\0\0\xc0\x7f", b"\0\0\x80\xff", struct.pack("<3f", 1e-45, 3e38, -0.0), b""]
    pieces = [piece for name, value in zip(names, values, strict=True) for piece in (name.encode(), value)]
    return [SEPARATOR.join(pieces), SEPARATOR.join(pieces[:2]), SEPARATOR.join(pieces[4:6])]


#: Separates the pieces of an input; it cannot occur in UTF-8.
SEPARATOR = b"\xff\xfe"


def records() -> list[bytes]:
    """Return records of releases from the cache; the first belongs to the first archive."""
    data = archives()[0]
    known = {"address": None, "size": len(data), "version": None, "sha256": hashlib.sha256(data).hexdigest()}
    return [json.dumps(known).encode(), json.dumps({"size": 1 << 60, "sha256": ""}).encode(), b"{}"]


def preprocessings() -> list[bytes]:
    """Return `preprocessing.json` files."""
    from converter.images.recipes import RECIPES, get_recipe

    return [get_recipe(name, size).to_json().encode() for name, size in zip(RECIPES, (8, 32, 224) * 2, strict=True)]


def labels() -> list[bytes]:
    """Return files of labels, each after a byte that is odd if the file is JSON."""
    lines = "tench\ngoldfish, Carassius auratus\ncrane \u00e9\n".encode()
    return [b"\0" + lines, b"\1" + b'["tench", "gold\\u00e9fish"]', b"\1" + b'{"0": "tench", "1": "goldfish"}']


def rules() -> list[bytes]:
    """Return TOML files of rules: a small one that uses every feature, and a built-in table."""
    from converter.families.automl import AUTOML
    from converter.mapping.rules_file import to_toml
    from converter.model.architectures import CONFIGS

    small = b"""name = "bert"
version = "1"
names = "path"
scope = ["bert/", ""]
[[rule]]
source = "cell/kernel"
target = ["ih", "hh"]
layout = "1IG -> (GI)1"
cut = "I"
order = "G: i j f o -> i f j o"
scope = ""
[[rule]]
source = ["{n}/q", "{n}/k"]
target = "{n}.qk"
layout = "O -> BO"
join = "B"
[[tied]]
target = "{layer}.head"
as = "{layer}.wte"
[[rule]]
source = "layer_{n}/{part}/kernel"
target = "layers.{n}.{part}.weight"
layout = "dense"
[[ignore]]
source = "{variable...}/adam_m"
reason = "optimizer"
[[constant]]
target = "{layer...}.num_batches_tracked"
value = [0, 1]
dtype = "int64"
reason = "not counted"
[words.part]
"output" = "out"
"""
    return [small, to_toml(AUTOML.build_rules(CONFIGS["efficientnetv2-s"], "efficientnetv2-s/")).encode()]


def weights(ending: str) -> list[bytes]:
    """Return files of converted weights: with all metadata and with none, including rare dtypes."""
    import numpy as np

    from converter.formats.safetensors import write_tensors
    from converter.images.recipes import get_recipe
    from converter.model.architectures import CONFIGS

    arrays = {
        "stem.conv.weight": np.ones((2, 3, 3, 3), np.float32),
        "stages.0.0.project.conv.weight": np.ones((2, 2, 3, 3), np.float32),
        "classifier.bias": np.zeros(2, np.float16),
        "empty": np.zeros((0, 3), np.int64),
    }
    metadata = {
        "tf2torch.config": json.dumps(CONFIGS["efficientnetv2-b0"].to_dict()),
        "tf2torch.provenance": json.dumps(
            {"weights": {"choice": "ema"}, "rules": {"name": "automl", "scope": "", "head": None}}
        ),
        "tf2torch.preprocessing": json.dumps(get_recipe("v2", 8).to_dict()),
        "tf2torch.target": json.dumps({"target": "timm", "model": "x"}),
    }
    contents = []
    for texts in (metadata, {}):
        file = io.BytesIO()
        if ending == "safetensors":
            write_tensors(arrays, texts, file)
        elif ending == "npz":
            encoded = np.frombuffer(json.dumps(texts).encode(), np.uint8)
            save = np.savez if texts else np.savez_compressed
            save(file, allow_pickle=False, **arrays, __metadata__=encoded)
        else:
            import torch

            tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
            torch.save(tensors, file, _use_new_zipfile_serialization=bool(texts))
        contents.append(file.getvalue())
    return contents


def escape_glob(name: str) -> str:
    """Return a glob that matches only this name."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def _is_v1(path: pathlib.Path) -> bool:
    return path.is_file() and path.stat().st_size <= MAX_SIZE and path.read_bytes()[-8:] == builders.MAGIC
