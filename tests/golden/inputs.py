"""Small inputs for the transcripts; each is made only if a command of the transcript names it."""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

import tfckpt
from converter.libraries.models import TargetName
from converter.libraries.tables import map_to_library
from converter.libraries.targets import TABLES
from converter.model.architectures import CONFIGS
from converter.model.names import native_targets
from tests import keras_files
from tests.builders import INT32, Bundle
from tests.converter import networks
from tests.tfckpt.v1.v1_files import V1File
from tfckpt import protos

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
#: Transcripts' names for files and folders of the repository.
COPIES = {
    "digits": DATA / "digits" / "efficientnetv2-digits",
    "digits.tgz": ROOT / "examples" / "efficientnetv2-digits.tgz",
    "probe.npz": DATA / "digits" / "probe.npz",
    "finetuned.pth": DATA / "reverted" / "finetuned.pth",
    "train": DATA / "digits-train",
    "objects": DATA / "objects",
    "savedmodel": DATA / "savedmodel",
    "keras": DATA / "keras" / "v2" / "saved_model",
    "bert": DATA / "bert",
    "bert.toml": ROOT / "examples" / "bert" / "bert.toml",
    "encoder": ROOT / "examples" / "bert" / "encoder.py",
    "saver": DATA / "tensorflow" / "v1" / "saver",
    "types": DATA / "tensorflow" / "v1" / "types",
    "moved": DATA / "tensorflow" / "manager" / "absolute",
    "exported": DATA / "tensorflow" / "savedmodel-tf1",
    **{
        name: DATA / "tensorflow" / name
        for name in ("bigendian", "dtypes", "partitioned", "sharded", "slices", "variant")
    },
    **{
        name: DATA / "tensorflow" / "objects-more" / name
        for name in ("escapes", "graph", "keras_weights", "legacy_optimizer", "tables")
    },
}
#: Contents of files that are not checkpoints.
KINDS = {
    "weights.h5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "old.pth": b"\x80\x02" + bytes(100),
    "model.safetensors": b"\x10\0\0\0\0\0\0\0{" + b" " * 100,
    "array.npy": b"\x93NUMPY" + bytes(100),
    "model.tflite": bytes(4) + b"TFL3" + bytes(100),
    "model.gguf": b"GGUF" + bytes(100),
    "frozen.pb": b"\x0a\xff" + bytes(100),
    "page.html": b"<!DOCTYPE html>",
    "answer.xml": b"<?xml version='1.0'?>",
    "notes.txt": b"some words\n",
    "nothing": b"",
    "noise.bin": bytes(range(128, 256)),
}
SCOPE = "efficientnetv2-digits"
_MAKERS: dict[str, Callable[[Path], object]] = {}


def make(folder: Path, commands: str) -> None:
    """Make every input that the commands name, in the folder."""
    for name in dict.fromkeys(re.split(r"[\s/=,:']+", commands)):
        if name in _MAKERS:
            _MAKERS[name](folder / name)
        elif name in COPIES and COPIES[name].is_dir():
            shutil.copytree(COPIES[name], folder / name)
        elif name in COPIES:
            shutil.copy(COPIES[name], folder / name.replace("encoder", "encoder.py"))


def served() -> dict[str, bytes]:
    """Return the files of the web server: the archive of a release, and a page in place of one."""
    with io.BytesIO() as buffer:
        with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
            for name, content in _release_files().items():
                member = tarfile.TarInfo(f"efficientnetv2-b0/{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return {
            "mirror/v2/efficientnetv2-b0.tgz": buffer.getvalue(),
            "page/v2/efficientnetv2-b0.tgz": b"<!DOCTYPE html>",
        }


def _makes(name: str) -> Callable[[Callable[[Path], object]], Callable[[Path], object]]:
    """Register the decorated function as the maker of this input."""

    def register(maker: Callable[[Path], object]) -> Callable[[Path], object]:
        _MAKERS[name] = maker
        return maker

    return register


# Damaged, incomplete and hostile checkpoints


def _digits(folder: Path) -> tuple[Path, Path]:
    """Copy the digits network, and return its index file and its data shard."""
    shutil.copytree(COPIES["digits"], folder)
    return folder / "model.ckpt-322.index", folder / "model.ckpt-322.data-00000-of-00001"


@_makes("truncated")
def _truncated(folder: Path) -> None:
    _, shard = _digits(folder)
    shard.write_bytes(shard.read_bytes()[:1000])


@_makes("damaged")
def _damaged(folder: Path) -> None:
    _, shard = _digits(folder)
    content = bytearray(shard.read_bytes())
    content[0] ^= 1
    content[-1] ^= 1
    shard.write_bytes(content)


@_makes("zeroed")
def _zeroed(folder: Path) -> None:
    _, shard = _digits(folder)
    shard.write_bytes(bytes(shard.stat().st_size))


@_makes("no-shard")
def _no_shard(folder: Path) -> None:
    _digits(folder)[1].unlink()


@_makes("objects-without-data")
def _objects_without_data(folder: Path) -> None:
    shutil.copytree(COPIES["legacy_optimizer"], folder, ignore=shutil.ignore_patterns("*.data-*"))


@_makes("no-index")
def _no_index(folder: Path) -> None:
    _digits(folder)[0].unlink()


@_makes("sparse")
def _sparse(folder: Path) -> None:
    """A SavedModel whose signature has a sparse input and a dense output."""
    (folder / "variables").mkdir(parents=True)
    tfckpt.save({"w": np.float32(1)}, folder / "variables" / "variables", checkpoint_state=False)
    parts = (("values", "v"), ("indices", "i"), ("dense_shape", "d"))
    names = " ".join(f'{part}_tensor_name: "{name}:0"' for part, name in parts)
    sparse = f"dtype: 1 tensor_shape {{ dim {{ size: -1 }} dim {{ size: 9 }} }} coo_sparse {{ {names} }}"
    dense = 'name: "v:0" dtype: 1 tensor_shape { dim { size: -1 } }'
    nodes = " ".join(f'node {{ name: "{name}" op: "Placeholder" }}' for _, name in parts)
    text = (
        f'saved_model_schema_version: 1 meta_graphs {{ meta_info_def {{ tags: "serve" }} graph_def {{ {nodes} }} '
        f'signature_def {{ key: "serving_default" value {{ inputs {{ key: "words" value {{ {sparse} }} }} '
        f'outputs {{ key: "values" value {{ {dense} }} }} }} }} }}'
    )
    (folder / "saved_model.pb").write_bytes(protos.parse_text("SavedModel", text).SerializeToString())


@_makes("no-graph")
def _no_graph(folder: Path) -> None:
    _digits(folder)
    (folder / "model.ckpt-322.meta").unlink()


@_makes("wrong-graph")
def _wrong_graph(folder: Path) -> None:
    _digits(folder)
    shutil.copy(COPIES["partitioned"] / "model.ckpt-12.meta", folder / "model.ckpt-322.meta")


@_makes("cut-index")
def _cut_index(folder: Path) -> None:
    index, _ = _digits(folder)
    index.write_bytes(index.read_bytes()[:-100])


@_makes("damaged-index")
def _damaged_index(folder: Path) -> None:
    index, _ = _digits(folder)
    content = bytearray(index.read_bytes())
    content[100] ^= 1
    index.write_bytes(content)


@_makes("gone")
def _gone(folder: Path) -> None:
    folder.mkdir()
    (folder / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-9"\n')


@_makes("several")
def _several(folder: Path) -> None:
    folder.mkdir()
    for name in ("m-9", "m-30"):
        Bundle().add("w", INT32, [], bytes(4)).write(folder, name)


@_makes("times")
def _times(folder: Path) -> None:
    _several(folder)
    times = (("m-20", "nan"), ("m-30", "1600000501.25"))
    lines = [f'all_model_checkpoint_paths: "{name}"\nall_model_checkpoint_timestamps: {time}' for name, time in times]
    (folder / "checkpoint").write_text("\n".join([*lines, 'model_checkpoint_path: "m-30"']))


@_makes("unfinished")
def _unfinished(folder: Path) -> None:
    (folder / "model.ckpt-9_temp").mkdir(parents=True)
    (folder / "model.ckpt-9_temp" / "part-00000-of-00001.data-00000-of-00001").write_bytes(bytes(100))


@_makes("confusing")
def _confusing(folder: Path) -> None:
    """Folders as people have them after downloads and copies that went wrong."""

    def write(name: str) -> Path:
        return Bundle().add("w", INT32, [40], bytes(160)).write(folder / name, "m")

    for name in ("hdf5", "lost-index", "gzipped", "only-graph", "pointer", "copy", "split", "nested/run"):
        (folder / name).mkdir(parents=True)
    (folder / "hdf5" / "checkpoint").write_bytes(KINDS["weights.h5"])
    write("lost-index").with_name("m.index").unlink()
    for member in write("gzipped").parent.iterdir():
        member.rename(f"{member}.gz")
    (folder / "only-graph" / "m.meta").write_bytes(b"")
    (folder / "only-graph" / "checkpoint").write_text('model_checkpoint_path: "m"')
    shard = "m.data-00000-of-00001"
    write("pointer").with_name(shard).write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    write("copy").with_name(shard).rename(folder / "copy" / f"{shard} (1)")
    write("split").with_name(shard).unlink()
    for part in ("aa", "ab"):
        (folder / "split" / f"{shard}.{part}").write_bytes(bytes(80))
    write("nested/run")


@_makes("two-of-three")
def _two_of_three(folder: Path) -> None:
    folder.mkdir()
    for number in (0, 2):
        V1File().add(b"v%d" % number, INT32, [], [1]).write(folder / f"model-{number:05d}-of-00003")


@_makes("hostile")
def _hostile(folder: Path) -> None:
    folder.mkdir()
    Bundle().add(b"\x1b[2J\x1b[31mred", INT32, [], bytes(4)).add("two\nlines", INT32, [], bytes(4)).write(folder)


@_makes("slashes")
def _slashes(folder: Path) -> None:
    folder.mkdir()
    bundle = Bundle()
    for name in ("/a", "a", "a/b", "a//c", "d/"):
        bundle.add(name, INT32, [], bytes(4))
    bundle.write(folder)


@_makes("empty")
def _empty(folder: Path) -> None:
    folder.mkdir()


@_makes("kinds")
def _kinds(folder: Path) -> None:
    folder.mkdir()
    for name, content in KINDS.items():
        (folder / name).write_bytes(content)
    for name in ("model.keras", "model.pth"):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("config.json", "{}")


@_makes("keras-files")
def _keras_files(folder: Path) -> None:
    folder.mkdir()
    for name in ("keras3.weights.h5", "keras3-optimizer.keras", "tf_keras-bfloat16.weights.h5"):
        (folder / name).write_bytes(keras_files.files_of(name)[name])
    for name in ("v2-keras3.keras", "v2-tf_keras.weights.h5"):
        (folder / name).write_bytes(keras_files.network_files(name)[name])
    (folder / "cut.h5").write_bytes(keras_files.files_of("keras3.h5")["keras3.h5"][:30_000])
    for name in ("chunked", "external-link", "superblock-2"):
        (folder / f"{name}.h5").write_bytes(keras_files.hostile(f"{name}.h5"))


@_makes("not-an-index")
def _not_an_index(folder: Path) -> None:
    folder.mkdir()
    (folder / "pointer.index").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    (folder / "noise.index").write_bytes(bytes(range(128, 256)))


@_makes("cut.tgz")
def _cut_tgz(path: Path) -> None:
    path.write_bytes(COPIES["digits.tgz"].read_bytes()[:200_000])


@_makes("digits.zip")
def _digits_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for member in sorted(COPIES["digits"].iterdir()):
            archive.write(member, member.name)


@_makes("cut.zip")
def _cut_zip(path: Path) -> None:
    _digits_zip(path)
    path.write_bytes(path.read_bytes()[:-100])


# Small checkpoints, arrays and scripts


@_makes("pair")
def _pair(folder: Path) -> None:
    tfckpt.save({"a": np.array([1, 2], np.float32), "b": np.int64(3)}, _in(folder), checkpoint_state=False)


@_makes("other")
def _other(folder: Path) -> None:
    tfckpt.save({"b": np.int64(3), "c": np.int64(4)}, _in(folder), checkpoint_state=False)


@_makes("arrays")
def _arrays(folder: Path) -> None:
    folder.mkdir()
    np.save(folder / "right.npy", np.array([7, 8], np.float32))
    np.save(folder / "long.npy", np.zeros(3, np.float32))
    np.save(folder / "bytes.npy", np.zeros(3, np.int8))
    np.save(folder / "pickled.npy", np.array([{}], object), allow_pickle=True)
    np.savez(folder / "several.npz", a=np.zeros(2))
    (folder / "text.npy").write_text("text")
    with tfckpt.open(COPIES["digits"]) as digits:
        gamma = digits[f"{SCOPE}/head/tpu_batch_normalization/gamma/ExponentialMovingAverage"].copy()
        bias = digits[f"{SCOPE}/head/dense/bias/ExponentialMovingAverage"].copy()
    gamma[5] *= 1.01
    bias[3] += 100
    np.save(folder / "gamma.npy", gamma)
    np.save(folder / "bias.npy", bias)
    (folder / "bytes.npz").write_bytes(bytes(range(100)))


@_makes("scripts")
def _scripts(folder: Path) -> None:
    folder.mkdir()
    for name, text in {
        "names": "import sys\nimport tensorflow as tf\nprint(tf.train.list_variables(sys.argv[1])[:2])",
        "keras": "import tensorflow as tf\ntf.keras.Sequential()",
        "module": "import tensorflow.keras",
        "nowhere": "import tensorflow as tf\ntf.train.load_checkpoint('nowhere')",
        "text": "import tensorflow as tf\ntf.train.load_checkpoint(__file__)",
        "ours": "import tfckpt\ntfckpt.open('nowhere')",
        "zero": "1 / 0",
    }.items():
        (folder / f"{name}.py").write_text(text + "\n")


# Inputs of conversions


def _in(folder: Path) -> Path:
    folder.mkdir()
    return folder / "model"


@_makes("b0")
def _b0(folder: Path) -> None:
    arrays = networks.arrays("efficientnet-b0", averages=False)
    tfckpt.save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, _in(folder), durable=False)


def _release_files() -> dict[str, bytes]:
    arrays = networks.arrays("efficientnetv2-b0", scope="eff_net_v2_model/", averages=False)
    with tempfile.TemporaryDirectory() as folder:
        tfckpt.save(arrays, Path(folder, "model"), checkpoint_state=False, durable=False)
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


@_makes("release.tgz")
def _release(path: Path) -> None:
    path.write_bytes(served()["mirror/v2/efficientnetv2-b0.tgz"])


@_makes("training.pth.tar")
def _training(path: Path) -> None:
    """Save the digits network as a training program does, with the averages of its weights."""
    import torch

    state_dict = torch.load(COPIES["finetuned.pth"], weights_only=True)
    wrapped = {f"module.{name}": tensor for name, tensor in state_dict.items()}
    torch.save({"epoch": 3, "state_dict": wrapped, "state_dict_ema": state_dict}, path)


@_makes("lightning.ckpt")
def _lightning(path: Path) -> None:
    import torch

    state_dict = torch.load(COPIES["finetuned.pth"], weights_only=True)
    wrapped = {f"model.{name}": tensor for name, tensor in state_dict.items()}
    torch.save({"global_step": 3, "state_dict": {**wrapped, "criterion.weight": torch.ones(10)}}, path)


def _save_b0(path: Path, target: TargetName, **more: str) -> None:
    """Save B0 under the names of a library, or with `more` keys like timm's training program."""
    import torch

    config = CONFIGS["efficientnet-b0"]
    names = map_to_library(TABLES[target], config, target)
    state_dict = {names[name]: torch.zeros(shape) for name, shape in native_targets(config).items()}
    torch.save({"state_dict": state_dict, **more} if more else state_dict, path)


@_makes("torchvision.pth")
def _torchvision(path: Path) -> None:
    _save_b0(path, "torchvision")


@_makes("timm.pth")
def _timm(path: Path) -> None:
    _save_b0(path, "timm")


@_makes("timm-training.pth")
def _timm_training(path: Path) -> None:
    _save_b0(path, "timm", arch="efficientnet_b0")


RULES = """\
[[rule]]
source = "a/kernel"
target = "a.weight"
layout = "dense"

[[rule]]
source = "a/{n}"
target = "a.{n}"

[words.n]
bias = "bias"

[[ignore]]
source = "step"
reason = "counter"
"""
WRONG_RULES = {
    "right": ("", ""),
    "two-matches": ('bias = "bias"', 'bias = "bias"\nkernel = "weight"'),
    "no-match": ('bias = "bias"', 'biass = "bias"'),
    "other-axes": ('layout = "dense"', 'layout = "conv2d"'),
    "no-layout": ('layout = "dense"', 'layout = "matrix"'),
    "no-group": ('target = "a.{n}"', 'target = "a.{m}"'),
    "no-toml": ('source = "step"', "source = step"),
}


@_makes("dense")
def _dense(folder: Path) -> None:
    arrays = {"a/kernel": np.ones((3, 2), np.float32), "a/bias": np.ones(2, np.float32), "step": np.array(1)}
    tfckpt.save(arrays, _in(folder))
    for name, change in WRONG_RULES.items():
        (folder / f"{name}.toml").write_text(RULES.replace(*change, 1))
    nothing = '[[rule]]\nsource = "b/{n}"\ntarget = "b.{n}"\n[[ignore]]\nsource = "{x...}"\nreason = "rest"\n'
    (folder / "nothing.toml").write_text(nothing)


@_makes("labels")
def _labels(folder: Path) -> None:
    folder.mkdir()
    (folder / "ten.txt").write_text("zero\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n")
    (folder / "twice.txt").write_text("zero\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\ntwo\n")
    (folder / "three.txt").write_text("a\nb\nc\n")
    (folder / "odd.json").write_text(json.dumps(["two\nlines", *map(str, range(9))]))


@_makes("images")
def _images(folder: Path) -> None:
    """Save labelled images that fit the digits network, and variants that do not."""
    folder.mkdir()
    with np.load(DATA / "digits" / "digits-test.npz") as test:
        pixels = (test["images"][:100].repeat(4, 1).repeat(4, 2).astype(np.float32) - 8) / 8
        arrays = {"images": pixels[..., None].repeat(3, axis=3), "labels": test["labels"][:100]}
    changes: dict[str, dict[str, object]] = {
        "digits": {},
        "pixels": {"images": np.zeros((100, 40, 40, 3), np.uint8)},
        "row": {"images": np.zeros((100, 1, 50, 3), np.uint8)},
        "no-images": {"images": None},
        "no-channels": {"images": np.zeros((100, 8, 8), np.float32)},
        "whole-numbers": {"images": np.zeros((100, 8, 8, 3), np.int16)},
        "few-labels": {"labels": np.zeros(99, np.int64)},
        "float-labels": {"labels": np.zeros(100, np.float32)},
        "high-label": {"labels": np.full(100, 10)},
    }
    for name, change in changes.items():
        changed = {key: value for key, value in (arrays | change).items() if value is not None}
        np.savez(folder / f"{name}.npz", **changed)  # type: ignore[arg-type]  # they are arrays


@_makes("folders")
def _folders(folder: Path) -> None:
    """Make class folders with black images, most of 40 by 44 pixels."""
    from PIL import Image

    ten = [f"class-{number}" for number in range(10)]
    for kind, names in {
        "ten": ten,
        "some": ["seven", "two"],
        "ten-and-more": ["seven", "ten"],
        "11": ["3", "10"],
        "numbers": ["7", "9"],
    }.items():
        for name in names:
            (folder / kind / name).mkdir(parents=True)
            Image.new("RGB", (40, 44)).save(folder / kind / name / "image.png")
    (folder / "row" / "3").mkdir(parents=True)
    Image.new("RGB", (50, 1)).save(folder / "row" / "3" / "row.png")
    (folder / "hollow" / "3").mkdir(parents=True)
    (folder / "empty").mkdir()


@_makes("probes")
def _probes(folder: Path) -> None:
    folder.mkdir()
    for name, array in {
        "pixels": np.zeros((1, 32, 32, 3), np.uint8),
        "channels-first": np.zeros((1, 3, 32, 32), np.float32),
        "large": np.zeros((1, 33, 33, 3), np.float32),
        "nan": np.full((1, 32, 32, 3), np.nan, np.float32),
    }.items():
        np.savez(folder / f"{name}.npz", input=array)
    np.savez(folder / "no-input.npz", logits=np.ones((1, 10)))
