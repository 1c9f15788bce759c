"""Write the checkpoints that TensorFlow loads, and a manifest of the expected values.

    python -m tests.tensorflow_check.write FOLDER

The digest of a tensor is the SHA-256 of its bytes in C order, little-endian, one byte an element for types narrower
than a byte. A string element is its length in 8 little-endian bytes, followed by its bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import sys
from collections.abc import Iterator

import numpy as np

import converter
import tfckpt
from tests.arrays import digest
from tfckpt._typing import Array
from tfckpt.bundle.publishing import _set_aside
from tfckpt.graphs.object_graph import GRAPH_KEY
from tfckpt.tensors.dtypes import DataType, data_type

DATA = pathlib.Path(__file__).parents[1] / "data"


@dataclasses.dataclass(frozen=True)
class Case:
    """A checkpoint: its prefix in the folder, the function that restores its objects, and tensors not to compare."""

    prefix: str
    what: str
    objects: str | None = None
    skipped: tuple[str, ...] = ()


def main(folder: pathlib.Path) -> None:
    """Write all cases and `manifest.json`."""
    cases = []
    for case in write_all(folder):
        tensors, files = describe_tensors(folder / case.prefix), hash_files(folder, case)
        cases.append(dataclasses.asdict(case) | {"tensors": tensors, "files": files})
    manifest = {"cases": cases}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))


def write_all(folder: pathlib.Path) -> Iterator[Case]:
    """Write the checkpoints one by one."""
    yield from _values(folder)
    yield from _objects(folder)
    yield from _edited(folder)
    yield from _reverted(folder)


def _values(folder: pathlib.Path) -> Iterator[Case]:
    with tfckpt.Writer(folder / "types", shards=3, alignment=64, checkpoint_state=False) as writer:
        for row in map(data_type, range(1, 34)):
            if row.is_readable and not row.is_string:
                for number, shape in enumerate([(), (3, 5), (0, 2)]):
                    writer.add(f"{row.name}/{number}", random_values(row, shape), tf_dtype=row.name)
    yield Case("types", "every fixed-width type in three aligned shards")

    texts = np.array([b"", b"\x00\xff", "größe".encode(), b"x" * 70000, b"end", b""], object).reshape(3, 2)
    save(folder / "strings", {"texts": texts, "empty": np.empty((0, 3), object), "one": b"scalar"})
    yield Case("strings", "strings of all lengths")

    save(folder / "many", {f"scope/{n % 97}/variable_{n:05d}/kernel": np.int32(n) for n in range(20000)})
    yield Case("many", "20 000 tensors, an index of several blocks")

    names = ["with space", "tab\t", "größe/日本", "../../up", "a\0b", "quote\"'", "k" * 3000, "{}%s\\", "-"]
    save(folder / "names", {name: np.float32(number) for number, name in enumerate(names)})
    yield Case("names", "names of all kinds")

    whole = random_values(data_type(1), (6, 8))
    with tfckpt.Writer(folder / "slices", shards=3, checkpoint_state=False) as writer:
        for number, text in enumerate(["4,2:-", "0,4:0,3", "0,1:3,5", "1,3:3,5"]):
            piece = tfckpt.TensorSlice.parse(text)
            writer.add_slice("grid", whole[piece.index(whole.shape)], whole.shape, piece, shard=number % 3)
        writer.add("plain", np.arange(5))
    yield Case("slices", "a variable in slices over three shards")

    save(folder / "set_aside", {"w": np.arange(5), "text": b"kept"})
    _set_aside(str(folder / "set_aside"), 1)
    yield Case("set_aside", "as a killed writer leaves the checkpoint it was to replace")

    for step in (1, 2):
        tfckpt.save({"step": np.int64(step)}, folder / f"model-{step}", checkpoint_state="keep")
    yield Case("model-1", "kept in the state file")
    yield Case("model-2", "latest in the state file")


def _objects(folder: pathlib.Path) -> Iterator[Case]:
    net = {
        f"net/layers/{number}/{name}": random_values(data_type(1), shape)
        for number, (inputs, outputs) in enumerate([(3, 4), (4, 2)])
        for name, shape in (("kernel", (inputs, outputs)), ("bias", (outputs,)))
    }
    step = {"step": np.int64(7)}
    save(folder / "built", net | step, object_graph=True)
    yield Case("built", "an object graph built from names", "network")

    slots = {f"{name}/.OPTIMIZER_SLOT/optimizer/{slot}": array + 1 for name, array in net.items() for slot in "mv"}
    hypers = {f"optimizer/{name}": np.float32(0.5) for name in ("beta_1", "beta_2", "decay", "learning_rate")}
    save(folder / "slots", net | step | slots | hypers | {"optimizer/iter": np.int64(3)}, object_graph=True)
    yield Case("slots", "an object graph with slot variables, built from names", "legacy_optimizer")

    layers = {
        f"layer_with_weights-{n}/{name}": net[f"net/layers/{n}/{name}"] for n in (0, 1) for name in ("kernel", "bias")
    }
    save(folder / "keras", {f"model/{name}": array for name, array in layers.items()}, object_graph=True)
    yield Case("keras", "a Keras model's graph built from names", "keras")

    escaped = {f"{name}/{name}": np.int32(number) for number, name in enumerate(["a..b", "a.Sb", "größe", "..", ".S"])}
    save(folder / "escaped", escaped, object_graph=True)
    yield Case("escaped", "names that need escapes", "escaped")

    with tfckpt.open(DATA / "tensorflow" / "objects-more" / "legacy_optimizer" / "ckpt-1") as source:
        save(folder / "copied", {key: source[key] * 2 for key in source if key != GRAPH_KEY}, object_graph=source)
    yield Case("copied", "an object graph copied from TensorFlow's, other values", "legacy_optimizer")


def _edited(folder: pathlib.Path) -> Iterator[Case]:
    source = DATA / "digits-train" / "model.ckpt-322"
    tfckpt.copy(source, folder / "averaged", ema_to_raw=True, no_optimizer=True, shards=2)
    yield Case("averaged", "the averaged weights of a training checkpoint", "saver")

    tfckpt.copy(
        source, folder / "half", include=["*kernel"], dtype="float16", rename=[("^efficientnetv2-digits/", "net/")]
    )
    yield Case("half", "kernels in float16 under other names", "saver")

    objects = DATA / "tensorflow" / "objects-more" / "legacy_optimizer" / "ckpt-1"
    tfckpt.copy(objects, folder / "no_optimizer", no_optimizer=True)
    yield Case("no_optimizer", "an object-based checkpoint without its optimizer", "network")

    tfckpt.copy(objects, folder / "renamed", rename=[("^net/", "model/")])
    yield Case("renamed", "objects moved with their keys and slot variables", "renamed_optimizer")

    tfckpt.copy(
        objects,
        folder / "extracted",
        no_optimizer=True,
        include=["net/layers/1/*", "save_counter*"],
        rename=[("^.*1/", "net/")],
    )
    yield Case("extracted", "one layer, in the place of the network it was in", "layer")

    regroup = [(r"^net/layers/(\d)/(\w+)/", r"\2/of/\1/")]
    tfckpt.copy(objects, folder / "regrouped", no_optimizer=True, rename=regroup)
    yield Case("regrouped", "variables moved one by one", "any_objects")

    tfckpt.replace(objects, {"step": np.int64(99)}, folder / "replaced")
    yield Case("replaced", "one value replaced", "legacy_optimizer")

    tfckpt.copy(DATA / "tensorflow" / "variant" / "ckpt", folder / "variant")
    with tfckpt.open(folder / "variant") as checkpoint:
        opaque = tuple(info.name for info in checkpoint.infos() if info.tf_dtype == "DT_VARIANT")
    yield Case("variant", "variants copied as bytes", "variants", skipped=opaque)

    tfckpt.copy(DATA / "tensorflow" / "v1" / "saver" / "model.ckpt-0", folder / "from_v1", to_v2=True)
    yield Case("from_v1", "a V1 checkpoint as V2")

    tfckpt.copy(DATA / "tensorflow" / "bigendian" / "ckpt", folder / "from_big_endian", to_v2=True)
    yield Case("from_big_endian", "a big-endian checkpoint as little-endian")

    tfckpt.merge([folder / "names", folder / "strings", folder / "slices"], folder / "merged", shards=2)
    yield Case("merged", "three checkpoints merged")


def _reverted(folder: pathlib.Path) -> Iterator[Case]:
    digits = DATA / "digits" / "efficientnetv2-digits"
    finetuned = DATA / "reverted" / "finetuned.pth"
    converter.revert(finetuned, folder / "reverted", like=digits)
    np.savez(folder / "reverted.logits.npz", input=read_images(), logits=compute_logits(finetuned, digits))
    yield Case("reverted", "a network fine-tuned in PyTorch, in the graph it came from", "digits_graph")

    converter.revert(finetuned, folder / "reverted_names", scope="efficientnetv2-digits", with_averages=True)
    yield Case("reverted_names", "the same network with averages, by the released names alone", "saver")

    objects = DATA / "objects" / "ckpt"
    doubled = {name: array * 2 for name, array in converter.convert(objects, strides=(1, 2, 2, 1)).state_dict.items()}
    converter.revert(doubled, folder / "reverted_objects", like=objects)
    yield Case("reverted_objects", "a state dict in the object graph of the network it came from", "any_objects")


def read_images() -> Array:
    """Return the first test digits with inverted brightness, NHWC; `reverted/finetuned.pth` was trained for those."""
    with np.load(DATA / "digits" / "digits-test.npz") as test:
        pixels = -(test["images"][:20].repeat(4, 1).repeat(4, 2).astype(np.float32) - 8) / 8
    return np.repeat(pixels[..., None], 3, axis=3)


def compute_logits(finetuned: pathlib.Path, digits: pathlib.Path) -> Array:
    """Return the logits of our own module for these images with the fine-tuned state dict."""
    import torch

    model = converter.load_model(digits)
    model.load_state_dict(torch.load(finetuned, weights_only=True))
    with torch.inference_mode():
        logits: Array = model(torch.from_numpy(read_images()).permute(0, 3, 1, 2)).numpy()
    return logits


def save(
    prefix: pathlib.Path, tensors: dict[str, object], *, object_graph: tfckpt.Checkpoint | bool | None = None
) -> None:
    """Save without touching the state file."""
    tfckpt.save(tensors, prefix, object_graph=object_graph, checkpoint_state=False)


def random_values(row: DataType, shape: tuple[int, ...]) -> Array:
    """Return an array with random bits that are valid for the type."""
    generator = np.random.default_rng(row.number)
    raw = generator.integers(0, 256, (*shape, row.itemsize), np.uint8)
    if row.name == "bool":
        raw &= 1
    elif row.bits:
        raw &= (1 << row.bits) - 1
    return raw.view(row.to_numpy()).reshape(shape)


def describe_tensors(prefix: pathlib.Path) -> list[dict[str, object]]:
    """Return the name, type, shape and digest of each tensor."""
    with tfckpt.open(prefix) as checkpoint:
        return [
            {
                "name": info.name,
                "dtype": data_type_name(info.tf_dtype),
                "shape": list(info.shape),
                "sha256": None if info.tf_dtype == "DT_VARIANT" else digest(checkpoint[info.name]),
            }
            for info in checkpoint.infos()
        ]


def data_type_name(enum_name: str) -> str:
    """Return TensorFlow's short name; half and double are float16 and float64."""
    name = enum_name.removeprefix("DT_").lower()
    return {"float": "float32", "double": "float64", "half": "float16"}.get(name, name)


def hash_files(folder: pathlib.Path, case: Case) -> dict[str, str]:
    """Return the SHA-256 of each file of a case."""
    paths = [folder / f"{case.prefix}.index", *folder.glob(f"{case.prefix}.data-*")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(paths)}


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
