"""Image files of every mode become the pixels that TensorFlow 2.21 decodes, or are refused.

`tests/data/regenerate/image_modes.py` wrote the files and recorded the pixels.
"""

from __future__ import annotations

import pathlib
import pickle
from typing import Any

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image", reason="Pillow decodes the files")

from converter import ImageTransform, preprocess  # noqa: E402
from converter.errors import FeedError  # noqa: E402
from converter.images.decoding import open_image, to_pixels  # noqa: E402
from converter.images.recipes import get_recipe  # noqa: E402

MODES = pathlib.Path(__file__).parents[1] / "data" / "preprocess" / "modes"
SETTINGS = get_recipe("keras-v2", 8)
#: TensorFlow's decoder of JPEG uses a faster and less exact transform by default.
JPEG_TOLERANCE = 8
#: Files that TensorFlow decodes to something else, see `converter.images.decoding`.
OTHER = {"p.bmp"}


def read_decoded() -> dict[str, Any]:
    """Return the recorded pixels by the names of the files; TensorFlow keeps the alpha of WebP."""
    with np.load(MODES / "decoded.npz") as file:
        return {name: array.reshape(array.shape[-3:])[..., :3] for name, array in file.items()}


DECODED = read_decoded()


@pytest.mark.parametrize("name", sorted(DECODED))
def test_pixels_are_those_that_tensorflow_decodes(name: str) -> None:
    """Grey, colour and alpha of 1 to 16 bits, palettes, transparency, animations and orientation."""
    pixels = open_image(str(MODES / name))

    assert pixels.dtype == np.uint8
    difference = np.abs(pixels.astype(int) - DECODED[name]).max()
    assert (difference <= (JPEG_TOLERANCE if name.endswith(".jpg") else 0)) == (name not in OTHER)


def test_palette_of_a_bmp_gives_its_colours() -> None:
    """They are those of the same palette in a PNG; TensorFlow returns the numbers of the colours."""
    colours = open_image(str(MODES / "palette.png"))

    assert np.array_equal(open_image(str(MODES / "p.bmp")), colours)
    assert DECODED["p.bmp"].max() < 16


@pytest.mark.parametrize(
    ("dtype", "ending"), [("<u2", ".tif"), (">u2", ".tif"), ("<u2", ".png"), ("<u2", ".pgm"), ("<u2", ".jp2")]
)
def test_sixteen_bits_become_the_high_byte(dtype: str, ending: str, tmp_path: pathlib.Path) -> None:
    """Pillow alone would clip at 255, and everything above would be white."""
    grey = np.array([[0, 255, 256], [0x1234, 0x80FF, 65535]], np.uint16)
    mode = "I;16" if dtype == "<u2" else "I;16B"
    image = Image.frombytes(mode, (3, 2), grey.astype(dtype).tobytes())
    image.save(tmp_path / f"x{ending}")

    pixels = open_image(str(tmp_path / f"x{ending}"))

    assert pixels[..., 0].tolist() == [[0, 0, 1], [0x12, 0x80, 255]]
    assert (pixels == pixels[..., :1]).all()


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_without_a_fixed_range_are_refused(mode: str, tmp_path: pathlib.Path) -> None:
    """The error names the mode and the file; nobody can say which value is white."""
    image = Image.fromarray(np.full((4, 4), 1, np.uint8)).convert(mode)
    image.save(tmp_path / "x.tif")

    with pytest.raises(FeedError, match=f"x.tif has pixels of mode {mode}"):
        preprocess(tmp_path / "x.tif", SETTINGS)
    with pytest.raises(FeedError, match=f"mode {mode}"):
        preprocess(image, SETTINGS)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV"])
def test_pillows_image_is_like_its_pixels(mode: str) -> None:
    """Every mode of eight bits is converted."""
    image = Image.open(MODES / "rgb.png").convert(mode)

    expected = preprocess(np.asarray(image.convert("RGB")), SETTINGS)

    assert np.array_equal(preprocess(image, SETTINGS), expected)


def test_modes_that_pillow_does_not_convert_are_refused() -> None:
    """Premultiplied alpha is one of them."""
    with pytest.raises(FeedError, match="RGBa"):
        to_pixels(Image.new("RGBa", (2, 2)))


def test_batch_is_the_images_one_after_the_other() -> None:
    """Arrays of one size in one array, or images of any kind and size in a list."""
    images = np.random.default_rng(0).integers(0, 256, (3, 9, 11, 3), np.uint8)
    path = MODES / "rgb.png"

    batch = preprocess(images, SETTINGS)
    mixed = preprocess([images[0], path, Image.open(path)], SETTINGS)

    assert np.array_equal(batch, np.concatenate([preprocess(image, SETTINGS) for image in images]))
    assert np.array_equal(mixed[1], mixed[2]) and np.array_equal(mixed[0], batch[0])
    for empty in ([], images[:0]):
        with pytest.raises(FeedError):
            preprocess(empty, SETTINGS)


def test_batch_of_tensors_is_a_tensor() -> None:
    """In one tensor or in a list."""
    torch = pytest.importorskip("torch", reason="the images are tensors")
    images = torch.randint(0, 256, (2, 9, 11, 3), dtype=torch.uint8)

    batch = preprocess(images, SETTINGS)

    assert isinstance(batch, torch.Tensor) and batch.shape == (2, 3, 8, 8)
    assert torch.equal(preprocess(list(images), SETTINGS), batch)


def test_transform_serves_a_data_loader_with_workers(tmp_path: pathlib.Path) -> None:
    """It gives one input of the network, in this process and in others."""
    torch = pytest.importorskip("torch", reason="the data loader is PyTorch's")
    transform = ImageTransform(SETTINGS, size=6)
    paths = [MODES / "rgb.png", MODES / "grey16.png"]

    again = pickle.loads(pickle.dumps(transform))
    loader = torch.utils.data.DataLoader(Mapped(paths, transform), batch_size=2, num_workers=1)
    (batch,) = list(loader)

    assert again.settings == transform.settings and "6" in repr(transform)
    assert batch.shape == (2, 3, 6, 6)
    assert np.array_equal(batch.numpy(), preprocess(paths, SETTINGS, size=6))
    with pytest.raises(FeedError):
        transform(np.zeros((2, 9, 9, 3), np.uint8))


class Mapped:
    """A data set of image files."""

    def __init__(self, paths: list[pathlib.Path], transform: ImageTransform) -> None:
        self.paths = paths
        self.transform = transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        return self.transform(self.paths[index])
