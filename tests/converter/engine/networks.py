"""The networks in `tests/data/networks`, assembled as SavedModels."""

from __future__ import annotations

import importlib.util
import lzma
import shutil
from pathlib import Path

import numpy as np

import tfckpt
from converter.engine.values import Array

FOLDER = Path(__file__).parents[2] / "data" / "networks"
NAMES = ("mobilenetv2", "resnet50", "bert")


def make_saved_model(name: str, folder: Path) -> Path:
    """Write the SavedModel of a network to `folder`: the unpacked graph, and the data that the index describes."""
    source = FOLDER / name
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(lzma.decompress((source / "saved_model.pb.xz").read_bytes()))
    shutil.copy(source / "variables.index", folder / "variables" / "variables.index")
    make_values = _load_recipe()
    with tfckpt.open(folder / "variables" / "variables") as checkpoint:
        infos = [info for info in checkpoint.infos() if info.dtype == np.float32]
    end = max((info.offset or 0) + info.nbytes for info in infos)
    data = bytearray(end)
    for info in infos:
        assert info.offset is not None
        data[info.offset : info.offset + info.nbytes] = make_values(info.name, info.shape).tobytes()
    data += lzma.decompress((source / "objects.xz").read_bytes())
    (folder / "variables" / "variables.data-00000-of-00001").write_bytes(data)
    return folder


def load_golden(name: str) -> dict[str, Array]:
    """Return TensorFlow's inputs and outputs."""
    with np.load(FOLDER / name / "golden.npz") as archive:
        return {key: archive[key] for key in archive.files}


def _load_recipe():  # type: ignore[no-untyped-def]  # a function of the script stored with the data
    spec = importlib.util.spec_from_file_location("recipe", FOLDER / "recipe.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.values
