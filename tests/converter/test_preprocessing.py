"""Images become inputs as in TensorFlow 2.21, which ran the released pipelines on the same pixels.

`tests/data/preprocess/generate.py` made the expected arrays: every 17th row and column, and the mean of the whole.
Both sides compute in float32, so that a shift by a tenth of a pixel shows and an order of additions does not.
"""

from __future__ import annotations

import contextlib
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
from converter.images.recipes import MAX_SIZE, RECIPES, recipe
from converter.preprocessing import preprocess, preprocessing_of
from tests.converter import networks
from tests.hostile.sealing import mutate
from tfckpt.errors import CheckpointNotFoundError, CorruptionError, MissingDependencyError

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

DATA = pathlib.Path(__file__).parents[1] / "data" / "preprocess"
STEP = 17
#: Of a pixel after normalisation; float32 itself was measured at 1.2e-6.
TOLERANCE = 1e-4
SETTINGS = recipe("v2", 8)


def arrays_of(name: str) -> dict[str, Array]:
    """Read one of the recorded files."""
    with np.load(DATA / name) as file:
        return dict(file)


IMAGES = arrays_of("inputs.npz")
EXPECTED = arrays_of("expected.npz")
CASES = sorted(name for name in EXPECTED if not name.endswith("/mean"))


def image(height: int = 40, width: int = 50) -> Array:
    """Pixels of no meaning."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("case", CASES)
def test_input_is_tensorflows(case: str) -> None:
    """Every recipe on every recorded image at every size, in NCHW."""
    name, of, size = case.split("/")

    made = preprocess(IMAGES[of], recipe(name, int(size)))

    assert made.dtype == np.float32
    assert made.shape == (1, 3, int(size), int(size))
    found = made[0].transpose(1, 2, 0)
    assert np.abs(found[::STEP, ::STEP] - EXPECTED[case]).max() < TOLERANCE
    assert abs(found.mean(dtype=np.float64) - EXPECTED[f"{case}/mean"]) < TOLERANCE


def test_recorded_arrays_cover_every_recipe_on_every_kind_of_image() -> None:
    """A recipe that is added later has to be recorded, too; a line of pixels is what some recipes cannot crop."""
    pairs = {tuple(case.split("/")[:2]) for case in CASES}

    assert pairs == {(name, of) for name in RECIPES for of in IMAGES} - {("v1", "line"), ("v1-advprop", "line")}
    assert {case.rpartition("/")[2] for case in CASES} == {"224", "300", "384"}


@pytest.mark.parametrize("other", sorted(RECIPES))
def test_every_recipe_is_told_from_every_other(other: str) -> None:
    """Their recorded arrays differ by more than is allowed, so that no recipe passes for another.

    Below 320 pixels, where the V2 recipe crops; `keras-v2` is then the same without the crop.
    """
    for name in RECIPES:
        if name != other:
            difference = np.abs(EXPECTED[f"{name}/portrait/224"] - EXPECTED[f"{other}/portrait/224"]).max()
            assert difference > 10 * TOLERANCE, name


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_tensor_in_gives_a_tensor_out(name: str) -> None:
    """The same numbers, and of the same kind as the image."""
    torch = pytest.importorskip("torch", reason="tensors are PyTorch's")
    settings = recipe(name, 32)

    made = converter.preprocess(torch.from_numpy(image()), settings)

    assert isinstance(made, torch.Tensor)
    assert made.dtype == torch.float32
    np.testing.assert_array_equal(made.numpy(), preprocess(image(), settings))


def test_array_is_preprocessed_without_torch() -> None:
    """In a fresh process, and neither is Pillow loaded."""
    program = (
        "import sys, numpy, converter\n"
        "made = converter.preprocess(numpy.zeros((9, 9, 3), numpy.uint8), 'efficientnetv2-s')\n"
        "print(made.shape, {'torch', 'PIL', 'tensorflow'} & set(sys.modules))\n"
    )

    shown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout

    assert shown == "(1, 3, 384, 384) set()\n"


@pytest.mark.parametrize("name", ["v2", "v1"])
def test_photo_takes_little_time_and_memory(name: str) -> None:
    """12 megapixels to 384 pixels a side were measured at 0.03 seconds; nothing is made of the size of the photo."""
    photo = np.broadcast_to(np.arange(4000, dtype=np.uint8)[None, :, None], (3000, 4000, 3))
    settings = recipe(name, 384)
    tracemalloc.start()
    began = time.perf_counter()

    preprocess(photo, settings)

    taken = time.perf_counter() - began
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < 5
    assert peak < 32 << 20


def test_image_file_gives_what_its_pixels_give(tmp_path: pathlib.Path) -> None:
    """As an array, whether the path is text or not; grey files become three channels."""
    pillow = pytest.importorskip("PIL.Image", reason="images are opened by Pillow")
    path = tmp_path / "x.png"
    pillow.fromarray(image()).save(path)
    pillow.fromarray(image()[:, :, 0]).save(tmp_path / "grey.png")

    np.testing.assert_array_equal(preprocess(path, SETTINGS), preprocess(image(), SETTINGS))
    np.testing.assert_array_equal(preprocess(str(path), SETTINGS), preprocess(image(), SETTINGS))
    grey = preprocess(tmp_path / "grey.png", SETTINGS)
    np.testing.assert_array_equal(grey, preprocess(image()[:, :, :1].repeat(3, 2), SETTINGS))


def test_image_file_without_pillow_names_the_extra(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the file is there does not matter then; arrays need no Pillow."""
    monkeypatch.setitem(sys.modules, "PIL", None)

    with pytest.raises(MissingDependencyError, match=r"pip install 'tfckpt\[images\]'") as caught:
        preprocess(tmp_path / "x.png", SETTINGS)

    assert caught.value.extra == "images"
    assert preprocess(image(), SETTINGS).shape == (1, 3, 8, 8)


def test_image_file_that_is_none_is_said(tmp_path: pathlib.Path) -> None:
    """Not there, a folder, text, and an image whose end is missing; the whole file is read."""
    pillow = pytest.importorskip("PIL.Image", reason="images are opened by Pillow")
    whole = tmp_path / "whole.png"
    pillow.fromarray(image()).save(whole)
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "short.png").write_bytes(whole.read_bytes()[:-2000])

    assert preprocess(whole, SETTINGS).shape == (1, 3, 8, 8)
    with pytest.raises(CheckpointNotFoundError, match="there is no such file"):
        preprocess(tmp_path / "none.png", SETTINGS)
    with pytest.raises(CheckpointNotFoundError, match="cannot be read"):
        preprocess(tmp_path, SETTINGS)
    with pytest.raises(CorruptionError, match="no image that is read"):
        preprocess(tmp_path / "text.png", SETTINGS)
    with pytest.raises(CorruptionError, match="the image cannot be decoded"):
        preprocess(tmp_path / "short.png", SETTINGS)


def test_image_that_another_program_would_draw_is_refused(tmp_path: pathlib.Path) -> None:
    """Pillow has Ghostscript run the program that a PostScript file is."""
    pytest.importorskip("PIL.Image", reason="images are opened by Pillow")
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / "x.png").write_bytes(program)

    with pytest.raises(CorruptionError, match="no image that is read"):
        preprocess(tmp_path / "x.png", SETTINGS)


def test_damaged_images_are_corrupt_or_images(tmp_path: pathlib.Path) -> None:
    """Whatever Pillow's decoders end in."""
    pillow = pytest.importorskip("PIL.Image", reason="images are opened by Pillow")
    draw = random.Random(1)
    for kind in ("png", "gif", "bmp", "jpeg", "tiff", "ppm", "webp"):
        pillow.fromarray(image()).save(tmp_path / f"sound.{kind}")
        sound = (tmp_path / f"sound.{kind}").read_bytes()
        assert preprocess(tmp_path / f"sound.{kind}", SETTINGS).shape == (1, 3, 8, 8)
        for _ in range(40):
            (tmp_path / "x").write_bytes(mutate(sound, draw))
            with contextlib.suppress(tfckpt.CorruptionError, ConversionError):
                preprocess(tmp_path / "x", SETTINGS)


def test_image_file_that_claims_too_many_pixels_is_refused(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow's own limit against decompression bombs becomes an error of the family."""
    pillow = pytest.importorskip("PIL.Image", reason="images are opened by Pillow")
    pillow.fromarray(image()).save(tmp_path / "x.png")
    monkeypatch.setattr(pillow, "MAX_IMAGE_PIXELS", 900)

    with pytest.raises(CorruptionError, match="decompression bomb"):
        preprocess(tmp_path / "x.png", SETTINGS)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (image().astype(np.float32), "image has dtype float32, expected uint8 pixels from 0 to 255"),
        (image()[:, :, 0], r"image has shape \[40, 50\], expected \(height, width, 3\)"),
        (image()[:, :, :1], r"image has shape \[40, 50, 1\], expected \(height, width, 3\)"),
        (image()[None], r"image has shape \[1, 40, 50, 3\], expected \(height, width, 3\)"),
        (image(0, 50), r"image has shape \[0, 50, 3\], of which the crop leaves nothing"),
        (image(1, 50), r"image has shape \[1, 50, 3\], of which the crop leaves nothing"),
    ],
    ids=["floats", "grey", "one channel", "batch", "no rows", "a line, cropped"],
)
def test_array_that_is_no_image_is_misuse(wrong: Array, message: str) -> None:
    """As an array and as a tensor alike; the nearest image is taken."""
    assert preprocess(image(5, 50), SETTINGS).shape == (1, 3, 8, 8)
    with pytest.raises(ValueError, match=message.replace("float32", "(torch.)?float32")):
        preprocess(wrong, SETTINGS)
    torch = pytest.importorskip("torch", reason="tensors are PyTorch's")
    with pytest.raises(ValueError, match=message.replace("float32", "(torch.)?float32")):
        preprocess(torch.from_numpy(wrong.copy()), SETTINGS)


def test_wrong_image_is_an_error_of_the_family() -> None:
    """Programs that catch `ConversionError` catch it, and those that expect a `ValueError` do too."""
    with pytest.raises(converter.FeedError):
        preprocess(image()[:, :, 0], SETTINGS)
    assert issubclass(converter.FeedError, ConversionError)
    assert issubclass(converter.FeedError, ValueError)


def test_tensor_of_a_class_of_its_own_is_a_tensor() -> None:
    """Libraries give images as subclasses of PyTorch's tensor."""
    torch = pytest.importorskip("torch", reason="tensors are PyTorch's")

    class Image(torch.Tensor):  # type: ignore[misc]  # torch is Any here
        """A tensor."""

    made = preprocess(torch.from_numpy(image()).as_subclass(Image), SETTINGS)

    np.testing.assert_array_equal(made.numpy(), preprocess(image(), SETTINGS))


def test_tensor_of_a_dtype_that_numpy_lacks_is_misuse() -> None:
    """The error is about the image and not about the conversion."""
    torch = pytest.importorskip("torch", reason="tensors are PyTorch's")

    with pytest.raises(ValueError, match=r"image has dtype torch\.bfloat16, expected uint8"):
        preprocess(torch.zeros(9, 9, 3, dtype=torch.bfloat16), SETTINGS)


def test_what_is_neither_array_nor_path_is_misuse() -> None:
    """The type is named."""
    with pytest.raises(TypeError, match="image is list, expected an array or tensor"):
        preprocess([[1, 2, 3]], SETTINGS)  # type: ignore[call-overload]  # the mistake is the test


def test_size_changes_the_input_and_with_it_the_crop() -> None:
    """The V2 recipe crops below 320 pixels only; settings of no recipe keep their crop."""
    release = "efficientnetv2-s"

    assert preprocessing_of(release).crop == "none"
    np.testing.assert_array_equal(preprocess(image(), release, size=224), preprocess(image(), recipe("v2", 224)))
    own = converter.Preprocessing(
        recipe="mine", size=8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), crop="none", resize="bilinear"
    )
    assert preprocess(image(), own, size=16).shape == (1, 3, 16, 16)
    with pytest.raises(ValueError, match=f"size is 0, expected a whole number from 1 to {MAX_SIZE}"):
        preprocess(image(), release, size=0)


def test_release_is_a_name_a_file_or_a_folder(tmp_path: pathlib.Path) -> None:
    """`preprocessing.json`, the folder it stands in, and converted weights of each format."""
    settings = recipe("v1", 48)
    result = convert(networks.arrays("efficientnetv2-b0", averages=False))
    for name in ("b0.safetensors", "b0.npz", "folder"):
        export(result, tmp_path / name, preprocessing=settings)
    expected = preprocess(image(), settings)

    assert preprocessing_of("efficientnetv2-b0") == recipe("v1", 224)
    for place in ("b0.safetensors", "b0.npz", "folder", "folder/preprocessing.json"):
        assert preprocessing_of(tmp_path / place) == settings, place
        np.testing.assert_array_equal(preprocess(image(), str(tmp_path / place)), expected)


def test_folder_of_weights_without_the_json_says_it_in_them(tmp_path: pathlib.Path) -> None:
    """The weights in a folder hold the same."""
    result = convert(networks.arrays("efficientnetv2-b0", averages=False))
    export(result, tmp_path / "folder", preprocessing=recipe("v1", 48))
    (tmp_path / "folder" / "preprocessing.json").unlink()

    assert preprocessing_of(tmp_path / "folder") == recipe("v1", 48)


def test_unknown_release_offers_close_ones() -> None:
    """A name without an ending or a folder is meant as a release's."""
    with pytest.raises(UnknownModelError, match=r"no release 'efficientnetv2-z'; close names: .*efficientnetv2-s"):
        preprocess(image(), "efficientnetv2-z")


@pytest.mark.parametrize("name", ["preprocessing.json", "s.safetensors", "folder/efficientnetv2-s"])
def test_file_that_is_not_there_is_not_taken_for_a_release(name: str, tmp_path: pathlib.Path) -> None:
    """The error is about the file."""
    with pytest.raises(CheckpointNotFoundError, match="there is no such file"):
        preprocessing_of(tmp_path / name)


def test_weights_that_do_not_say_their_preprocessing_ask_for_a_release(
    digits: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """The digits network is nobody's release."""
    export(convert(digits), tmp_path / "digits.safetensors")

    with pytest.raises(
        ConversionError, match=r"does not say which preprocessing .* give a release, such as efficientnetv2-s"
    ):
        preprocessing_of(tmp_path / "digits.safetensors")


def test_other_files_and_folders_are_no_release(digits: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A TensorFlow checkpoint does not say how images become inputs."""
    for path in (digits.with_suffix(".ckpt-322.index"), digits.parent, tmp_path):
        with pytest.raises(ConversionError, match=r"is neither converted weights nor a preprocessing\.json"):
            preprocessing_of(path)


GOOD = json.dumps(recipe("v2", 224).to_dict())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be understood"),
        ("[" * 100_000, "cannot be understood"),
        ("[]", "no preprocessing that was written here"),
        ('{"exact": 1}', "no preprocessing that was written here"),
        (GOOD.replace('"size": 224', '"size": 0'), "size is 0"),
        (GOOD.replace('"size": 224', '"size": 1e99'), r"size is 1e\+99"),
        (GOOD.replace('"size": 224', f'"size": {MAX_SIZE + 1}'), f"expected a whole number from 1 to {MAX_SIZE}"),
        (GOOD.replace('"crop": "floor"', '"crop": "left"'), "crop is 'left'"),
        (GOOD.replace('"resize": "bilinear"', '"resize": ["x"]'), "resize is"),
        (GOOD.replace("[128.0, 128.0, 128.0]", "[128.0, 128.0]"), "mean is"),
        (GOOD.replace("[128.0, 128.0, 128.0]", "[NaN, 128.0, 128.0]"), "mean is"),
        (GOOD.replace("[128.0, 128.0, 128.0]", f"[1{'0' * 400}, 128.0, 128.0]"), "mean is"),
        (GOOD.replace('"pixel_std": [128.0', '"pixel_std": [0'), "std is"),
        (GOOD.replace('"pixel_std": [128.0', '"pixel_std": [1e-50'), "std is"),
        (GOOD.replace('"pixel_std": [128.0', '"pixel_std": [Infinity'), "std is"),
        (f"[{'[],' * 400_000}[]]", "more than 1048576 bytes"),
        ("\udcff", "no text"),
    ],
    ids=[
        *("no json", "deep", "a list", "no record", "no pixels", "size no whole number", "vast", "unknown crop"),
        *("no resize", "two means", "no number", "400 digits", "division by zero", "nearly zero", "infinite"),
        *("a megabyte", "no utf-8"),
    ],
)
def test_preprocessing_that_cannot_be_computed_is_corrupt(text: str, message: str, tmp_path: pathlib.Path) -> None:
    """Whatever the file claims; the same text unchanged is read."""
    path = tmp_path / "preprocessing.json"
    path.write_text(GOOD)
    assert preprocessing_of(path) == recipe("v2", 224)
    path.write_bytes(text.encode(errors="surrogateescape"))

    with pytest.raises(CorruptionError, match=message):
        preprocessing_of(path)


def test_weights_whose_preprocessing_is_no_json_are_corrupt(tmp_path: pathlib.Path) -> None:
    """The metadata of a file is as little trusted as a file of its own."""
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        write_tensors({"w": np.zeros(1, np.float32)}, {PREPROCESSING_KEY: "{"}, file)

    with pytest.raises(tfckpt.CorruptionError, match="its preprocessing cannot be understood"):
        preprocessing_of(path)
