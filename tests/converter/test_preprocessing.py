"""Preprocessing agrees with the released pipelines, run by TensorFlow 2.21 on the same images.

`tests/data/preprocess/generate.py` wrote the expected arrays: every 17th row and column, and the mean of all values.
Both sides compute in float32. The tolerance covers the order of additions, but not a shift by a tenth of a pixel.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import random
import subprocess
import sys
import time
import tracemalloc
from typing import Any, TypeAlias

import numpy as np
import pytest

import converter
import tfckpt
from converter.conversion import convert
from converter.errors import ConversionError, UnknownModelError
from converter.exporting import export
from converter.formats.files import PREPROCESSING_KEY
from converter.formats.safetensors import write_tensors
from converter.images.recipes import MAX_SIZE, RECIPES, get_recipe
from converter.preprocessing import preprocess, preprocessing_of
from tests.conftest import slow
from tests.converter import networks
from tests.hostile.sealing import mutate
from tfckpt.errors import CheckpointNotFoundError, CorruptionError, MissingDependencyError

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

DATA = pathlib.Path(__file__).parents[1] / "data" / "preprocess"
STEP = 17
#: For normalized pixels; float32 rounding was measured at 1.2e-6.
TOLERANCE = 1e-4
SETTINGS = get_recipe("v2", 8)


def read_arrays(name: str) -> dict[str, Array]:
    """Return the arrays of a recorded file."""
    with np.load(DATA / name) as file:
        return dict(file)


IMAGES = read_arrays("inputs.npz")
EXPECTED = read_arrays("expected.npz")
CASES = sorted(name for name in EXPECTED if not name.endswith("/mean"))


def make_image(height: int = 40, width: int = 50) -> Array:
    """Return an image of random pixels."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


#: The smallest size of each recipe and image.
QUICK = {
    case.rpartition("/")[0]: case for case in sorted(CASES, key=lambda case: int(case.rpartition("/")[2]), reverse=True)
}


@pytest.mark.parametrize("case", [case if case in QUICK.values() else slow(case) for case in CASES])
def test_input_agrees_with_tensorflow(case: str) -> None:
    """All recipes, recorded images and sizes are compared; the input is NCHW."""
    name, image, size = case.split("/")

    result = preprocess(IMAGES[image], get_recipe(name, int(size)))

    assert result.dtype == np.float32
    assert result.shape == (1, 3, int(size), int(size))
    pixels = result[0].transpose(1, 2, 0)
    assert np.abs(pixels[::STEP, ::STEP] - EXPECTED[case]).max() < TOLERANCE
    assert abs(pixels.mean(dtype=np.float64) - EXPECTED[f"{case}/mean"]) < TOLERANCE


def test_every_recipe_is_recorded_for_every_image() -> None:
    """New recipes must be recorded too; some recipes cannot crop the image that is a single line."""
    pairs = {tuple(case.split("/")[:2]) for case in CASES}

    assert pairs == {(name, image) for name in RECIPES for image in IMAGES} - {
        (name, "line") for name in ("v1", "v1-advprop", "lite")
    }
    assert {case.rpartition("/")[2] for case in CASES} == {"224", "300", "384"}


@pytest.mark.parametrize("other", sorted(RECIPES))
def test_recorded_recipes_differ_by_more_than_the_tolerance(other: str) -> None:
    """No recipe can pass as a different one.

    The size is below 320 pixels, where the V2 recipe crops; otherwise `keras-v2` would be equal.
    """
    for name in RECIPES:
        if name != other:
            difference = np.abs(EXPECTED[f"{name}/portrait/224"] - EXPECTED[f"{other}/portrait/224"]).max()
            assert difference > 10 * TOLERANCE, name


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_result_for_a_tensor_is_a_tensor(name: str) -> None:
    """The values are those for the equal array."""
    torch = pytest.importorskip("torch", reason="tensors are PyTorch's")
    settings = get_recipe(name, 32)

    result = converter.preprocess(torch.from_numpy(make_image()), settings)

    assert isinstance(result, torch.Tensor)
    assert result.dtype == torch.float32
    np.testing.assert_array_equal(result.numpy(), preprocess(make_image(), settings))


def test_array_is_preprocessed_without_torch() -> None:
    """In a new process neither torch nor Pillow is imported."""
    program = (
        "import sys, numpy, converter\n"
        "result = converter.preprocess(numpy.zeros((9, 9, 3), numpy.uint8), 'efficientnetv2-s')\n"
        "print(result.shape, {'torch', 'PIL', 'tensorflow'} & set(sys.modules))\n"
    )

    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout

    assert printed == "(1, 3, 384, 384) set()\n"


@pytest.mark.parametrize("name", ["v2", "v1"])
def test_photo_needs_little_time_and_memory(name: str) -> None:
    """12 megapixels took 0.03 seconds; no array has the size of the photo."""
    photo = np.broadcast_to(np.arange(4000, dtype=np.uint8)[None, :, None], (3000, 4000, 3))
    settings = get_recipe(name, 384)
    tracemalloc.start()
    start = time.process_time()

    preprocess(photo, settings)

    seconds = time.process_time() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 5
    assert peak < 32 << 20


def test_image_file_is_preprocessed_like_its_pixels(tmp_path: pathlib.Path) -> None:
    """The path may be a string, and grey images get three channels."""
    pillow = pytest.importorskip("PIL.Image", reason="images are opened by Pillow")
    path = tmp_path / "x.png"
    pillow.fromarray(make_image()).save(path)
    pillow.fromarray(make_image()[:, :, 0]).save(tmp_path / "grey.png")

    np.testing.assert_array_equal(preprocess(path, SETTINGS), preprocess(make_image(), SETTINGS))
    np.testing.assert_array_equal(preprocess(str(path), SETTINGS), preprocess(make_image(), SETTINGS))
    grey = preprocess(tmp_path / "grey.png", SETTINGS)
    np.testing.assert_array_equal(grey, preprocess(make_image()[:, :, :1].repeat(3, 2), SETTINGS))


def test_image_file_without_pillow_names_the_extra(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has the extra, even if the file does not exist; arrays do not need Pillow."""
    monkeypatch.setitem(sys.modules, "PIL", None)

    with pytest.raises(MissingDependencyError) as caught:
        preprocess(tmp_path / "x.png", SETTINGS)

    assert caught.value.extra == "images"
    assert preprocess(make_image(), SETTINGS).shape == (1, 3, 8, 8)


def test_invalid_image_file_is_rejected(tmp_path: pathlib.Path) -> None:
    """The file is missing, a directory, text, or truncated; the complete file is accepted."""
    pillow = pytest.importorskip("PIL.Image", reason="images are opened by Pillow")
    whole = tmp_path / "whole.png"
    pillow.fromarray(make_image()).save(whole)
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "short.png").write_bytes(whole.read_bytes()[:-2000])

    assert preprocess(whole, SETTINGS).shape == (1, 3, 8, 8)
    for path, error in {
        tmp_path / "none.png": CheckpointNotFoundError,
        tmp_path: CheckpointNotFoundError,
        tmp_path / "text.png": CorruptionError,
        tmp_path / "short.png": CorruptionError,
    }.items():
        with pytest.raises(error) as caught:
            preprocess(path, SETTINGS)
        assert caught.value.path == str(path)


def test_postscript_file_is_rejected(tmp_path: pathlib.Path) -> None:
    """Pillow would run Ghostscript on it, which executes the file as a program."""
    pytest.importorskip("PIL.Image", reason="images are opened by Pillow")
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / "x.png").write_bytes(program)

    with pytest.raises(CorruptionError):
        preprocess(tmp_path / "x.png", SETTINGS)


def test_damaged_images_are_read_or_rejected(tmp_path: pathlib.Path) -> None:
    """No other exception of Pillow's decoders is passed on."""
    pillow = pytest.importorskip("PIL.Image", reason="images are opened by Pillow")
    generator = random.Random(1)
    for kind in ("png", "gif", "bmp", "jpeg", "tiff", "ppm", "webp"):
        pillow.fromarray(make_image()).save(tmp_path / f"intact.{kind}")
        intact = (tmp_path / f"intact.{kind}").read_bytes()
        assert preprocess(tmp_path / f"intact.{kind}", SETTINGS).shape == (1, 3, 8, 8)
        for _ in range(40):
            (tmp_path / "x").write_bytes(mutate(intact, generator))
            with contextlib.suppress(tfckpt.CorruptionError, ConversionError):
                preprocess(tmp_path / "x", SETTINGS)


def test_image_file_with_too_many_pixels_is_rejected(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exception of Pillow's limit becomes a `CorruptionError`."""
    pillow = pytest.importorskip("PIL.Image", reason="images are opened by Pillow")
    pillow.fromarray(make_image()).save(tmp_path / "x.png")
    monkeypatch.setattr(pillow, "MAX_IMAGE_PIXELS", 900)

    with pytest.raises(CorruptionError):
        preprocess(tmp_path / "x.png", SETTINGS)


@pytest.mark.parametrize(
    ("wrong", "token"),
    [
        (make_image().astype(np.float32), "float32"),
        (make_image()[:, :, 0], r"\[40, 50\]"),
        (make_image()[:, :, :1], r"\[40, 50, 1\]"),
        (make_image()[None, None], r"\[1, 1, 40, 50, 3\]"),
        (make_image(0, 50), r"\[0, 50, 3\]"),
        (make_image(1, 50), r"\[1, 50, 3\]"),
    ],
    ids=["floats", "grey", "one channel", "five axes", "no rows", "a line, cropped"],
)
def test_invalid_image_is_rejected(wrong: Array, token: str) -> None:
    """The error contains the dtype or shape, of an array and of a tensor; a similar image is accepted."""
    assert preprocess(make_image(5, 50), SETTINGS).shape == (1, 3, 8, 8)
    with pytest.raises(ValueError, match=token):
        preprocess(wrong, SETTINGS)
    torch = pytest.importorskip("torch", reason="tensors are PyTorch's")
    with pytest.raises(ValueError, match=token):
        preprocess(torch.from_numpy(wrong.copy()), SETTINGS)


def test_error_for_an_invalid_image_is_a_conversion_error() -> None:
    """It is a `ValueError` too."""
    with pytest.raises(converter.FeedError):
        preprocess(make_image()[:, :, 0], SETTINGS)
    assert issubclass(converter.FeedError, ConversionError)
    assert issubclass(converter.FeedError, ValueError)


def test_subclass_of_tensor_is_accepted() -> None:
    """Libraries return images as subclasses of PyTorch's tensor."""
    torch = pytest.importorskip("torch", reason="tensors are PyTorch's")

    class Image(torch.Tensor):  # type: ignore[misc]  # torch is Any here
        """A subclass of tensor."""

    result = preprocess(torch.from_numpy(make_image()).as_subclass(Image), SETTINGS)

    np.testing.assert_array_equal(result.numpy(), preprocess(make_image(), SETTINGS))


def test_tensor_with_a_dtype_unknown_to_numpy_is_rejected() -> None:
    """The error contains the dtype."""
    torch = pytest.importorskip("torch", reason="tensors are PyTorch's")

    with pytest.raises(ValueError, match="bfloat16"):
        preprocess(torch.zeros(9, 9, 3, dtype=torch.bfloat16), SETTINGS)


def test_other_objects_are_rejected() -> None:
    """The error contains the type."""
    with pytest.raises(TypeError, match="list"):
        preprocess([[1, 2, 3]], SETTINGS)  # type: ignore[call-overload]  # the mistake is the test


def test_size_replaces_the_input_size_and_the_crop() -> None:
    """The V2 recipe crops only below 320 pixels; custom settings keep their crop."""
    release = "efficientnetv2-s"

    assert preprocessing_of(release).crop == "none"
    np.testing.assert_array_equal(
        preprocess(make_image(), release, size=224), preprocess(make_image(), get_recipe("v2", 224))
    )
    custom = converter.Preprocessing(
        recipe="mine", size=8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), crop="none", resize="bilinear"
    )
    assert preprocess(make_image(), custom, size=16).shape == (1, 3, 16, 16)
    with pytest.raises(ValueError, match="size"):
        preprocess(make_image(), release, size=0)


def test_release_can_be_a_name_a_file_or_a_directory(tmp_path: pathlib.Path) -> None:
    """The file can be a `preprocessing.json` or converted weights of each format."""
    settings = get_recipe("v1", 48)
    result = convert(networks.arrays("efficientnetv2-b0", averages=False))
    for name in ("b0.safetensors", "b0.npz", "folder"):
        export(result, tmp_path / name, preprocessing=settings, proof="none")
    expected = preprocess(make_image(), settings)

    assert preprocessing_of("efficientnetv2-b0") == get_recipe("v1", 224)
    for name in ("b0.safetensors", "b0.npz", "folder", "folder/preprocessing.json"):
        assert preprocessing_of(tmp_path / name) == settings, name
        np.testing.assert_array_equal(preprocess(make_image(), str(tmp_path / name)), expected)


def test_directory_without_preprocessing_json_is_accepted(tmp_path: pathlib.Path) -> None:
    """The weights in the directory record the same settings."""
    result = convert(networks.arrays("efficientnetv2-b0", averages=False))
    export(result, tmp_path / "folder", preprocessing=get_recipe("v1", 48), proof="none")
    (tmp_path / "folder" / "preprocessing.json").unlink()

    assert preprocessing_of(tmp_path / "folder") == get_recipe("v1", 48)


def test_error_for_an_unknown_release_contains_close_names() -> None:
    """A name without extension and directory is looked up as a release."""
    with pytest.raises(UnknownModelError, match="efficientnetv2-s"):
        preprocess(make_image(), "efficientnetv2-z")


@pytest.mark.parametrize("name", ["preprocessing.json", "s.safetensors", "folder/efficientnetv2-s"])
def test_missing_file_is_not_looked_up_as_a_release(name: str, tmp_path: pathlib.Path) -> None:
    """The error has the path of the file."""
    with pytest.raises(CheckpointNotFoundError) as caught:
        preprocessing_of(tmp_path / name)

    assert caught.value.path == str(tmp_path / name)


def test_weights_without_recorded_preprocessing_are_rejected(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The digits network is not a release; the error contains the path."""
    export(convert(digits), tmp_path / "digits.safetensors", proof="none")

    with pytest.raises(ConversionError, match=r"digits\.safetensors"):
        preprocessing_of(tmp_path / "digits.safetensors")


def test_other_files_and_directories_are_rejected(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A TensorFlow checkpoint does not record its preprocessing."""
    for path in (digits.with_suffix(".ckpt-322.index"), digits.parent, tmp_path):
        with pytest.raises(ConversionError, match=path.name):
            preprocessing_of(path)


VALID = json.dumps(get_recipe("v2", 224).to_dict())


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[" * 100_000,
        "[]",
        '{"exact": 1}',
        VALID.replace('"size": 224', '"size": 0'),
        VALID.replace('"size": 224', '"size": 1e99'),
        VALID.replace('"size": 224', f'"size": {MAX_SIZE + 1}'),
        VALID.replace('"crop": "floor"', '"crop": "left"'),
        VALID.replace('"resize": "bilinear"', '"resize": ["x"]'),
        VALID.replace("[128.0, 128.0, 128.0]", "[128.0, 128.0]"),
        VALID.replace("[128.0, 128.0, 128.0]", "[NaN, 128.0, 128.0]"),
        VALID.replace("[128.0, 128.0, 128.0]", f"[1{'0' * 400}, 128.0, 128.0]"),
        VALID.replace('"pixel_std": [128.0', '"pixel_std": [0'),
        VALID.replace('"pixel_std": [128.0', '"pixel_std": [1e-50'),
        VALID.replace('"pixel_std": [128.0', '"pixel_std": [Infinity'),
        f"[{'[],' * 400_000}[]]",
        "\udcff",
    ],
    ids=[
        *("not json", "deep", "a list", "not a record", "size 0", "fractional size", "huge size", "unknown crop"),
        *("unknown resize", "two means", "NaN", "400 digits", "division by zero", "nearly zero", "infinite"),
        *("a megabyte", "not utf-8"),
    ],
)
def test_invalid_preprocessing_is_rejected(text: str, tmp_path: pathlib.Path) -> None:
    """The error has the path; the unchanged text is accepted."""
    path = tmp_path / "preprocessing.json"
    path.write_text(VALID)
    assert preprocessing_of(path) == get_recipe("v2", 224)
    path.write_bytes(text.encode(errors="surrogateescape"))

    with pytest.raises(CorruptionError) as caught:
        preprocessing_of(path)

    assert caught.value.path == str(path)


def test_weights_with_invalid_preprocessing_are_rejected(tmp_path: pathlib.Path) -> None:
    """The metadata of converted weights is checked as well."""
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        write_tensors({"w": np.zeros(1, np.float32)}, {PREPROCESSING_KEY: "{"}, file)

    with pytest.raises(tfckpt.CorruptionError) as caught:
        preprocessing_of(path)

    assert caught.value.path == str(path)


def test_a_usual_normalization_is_named_only_if_mean_and_deviation_are_its_own() -> None:
    """Settings of the user's own may share the mean of a recipe."""
    usual = get_recipe("v2", 224)
    own = dataclasses.replace(usual, std=(1.0, 1.0, 1.0))

    assert usual.describe().endswith("(x - 128) / 128")
    assert own.describe().endswith("(x - [128, 128, 128]) / [1, 1, 1]")
