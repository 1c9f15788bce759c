"""Make the image files of every mode, and what TensorFlow decodes them to: tests/data/preprocess/modes.

The files are written with Pillow, and PNGs that Pillow does not write, by hand. TensorFlow 2.21 decodes them in an
environment of its own:

    python tests/data/regenerate/image_modes.py write
    python tests/data/regenerate/image_modes.py decode
"""

from __future__ import annotations

import pathlib
import struct
import sys
import zlib
from typing import Any

import numpy as np

FOLDER = pathlib.Path(__file__).parents[1] / "preprocess" / "modes"
HEIGHT, WIDTH = 12, 17
#: Colour types of PNG.
GREY, RGB, GREY_ALPHA, RGBA = 0, 2, 4, 6


def write_png(name: str, samples: Any, bits: int, kind: int, *chunks: tuple[bytes, bytes]) -> None:
    """Write samples of shape (height, width, channels) as a PNG of a bit depth and colour type."""
    rows = []
    for row in samples.reshape(samples.shape[0], -1):
        if bits == 16:
            packed = row.astype(">u2").tobytes()
        elif bits == 8:
            packed = row.astype(np.uint8).tobytes()
        else:
            digits = "".join(f"{sample:0{bits}b}" for sample in row)
            digits += "0" * (-len(digits) % 8)
            packed = int(digits, 2).to_bytes(len(digits) // 8, "big")
        rows.append(b"\0" + packed)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, kind, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for chunk, data in ((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + chunk + data + struct.pack(">I", zlib.crc32(chunk + data))
    (FOLDER / name).write_bytes(content)


def write() -> None:
    """Write the files."""
    from PIL import Image

    FOLDER.mkdir(exist_ok=True)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    smooth = np.stack([x * 15, y * 20, 255 - x * 7 - y * 8], -1).astype(np.uint8)
    wide = np.stack([x * 4000 + y, y * 5000 + x * 7, 65535 - x * 2000 - y * 2500], -1).astype(np.uint16)
    alpha = ((x * 8 + y * 10) % 256)[..., None]
    for bits in (1, 2, 4):
        write_png(f"grey{bits}.png", (x + y)[..., None] % (1 << bits), bits, GREY)
    write_png("grey16.png", wide[..., :1], 16, GREY)
    write_png("grey16-alpha.png", np.concatenate([wide[..., :1], alpha * 257], -1), 16, GREY_ALPHA)
    write_png("rgb16.png", wide, 16, RGB)
    write_png("rgba16.png", np.concatenate([wide, alpha * 257], -1), 16, RGBA)
    write_png("grey-key.png", smooth[..., :1], 8, GREY, (b"tRNS", struct.pack(">H", 30)))
    write_png("grey-gamma.png", smooth[..., :1], 8, GREY, (b"gAMA", struct.pack(">I", 100000)))
    image = Image.fromarray(smooth)
    rgba = Image.fromarray(np.concatenate([smooth, alpha.astype(np.uint8)], -1))
    palette = image.quantize(16)
    image.save(FOLDER / "rgb.png")
    rgba.save(FOLDER / "rgba.png")
    image.convert("L").save(FOLDER / "grey8.png")
    rgba.convert("LA").save(FOLDER / "grey8-alpha.png")
    palette.save(FOLDER / "palette.png")
    palette.save(FOLDER / "palette-transparent.png", transparency=3)
    for mode in ("RGB", "L", "CMYK"):
        image.convert(mode).save(FOLDER / f"{mode.lower()}.jpg", quality=95, subsampling=0 if mode == "RGB" else -1)
    turned = Image.Exif()
    turned[0x0112] = 6
    image.save(FOLDER / "turned.jpg", quality=95, subsampling=0, exif=turned)
    palette.save(FOLDER / "palette.gif", transparency=3)
    palette.save(FOLDER / "moving.gif", save_all=True, append_images=[palette.transpose(Image.Transpose.ROTATE_180)])
    for mode in ("L", "P", "RGB", "RGBA"):
        (palette if mode == "P" else rgba.convert(mode)).save(FOLDER / f"{mode.lower()}.bmp")
    image.save(FOLDER / "rgb.webp", lossless=True)
    rgba.save(FOLDER / "rgba.webp", lossless=True, exact=True)


def decode() -> None:
    """Decode all files as uint8 with three channels, animations as their first image."""
    import tensorflow as tf

    decoded = {}
    for path in sorted(FOLDER.glob("*.*")):
        if path.suffix == ".npz":
            continue
        content = tf.constant(path.read_bytes())
        try:
            pixels = (
                tf.io.decode_image(content, channels=3, expand_animations=False)
                if path.suffix != ".webp"
                else tf.io.decode_webp(content, channels=0)
            )
        except tf.errors.InvalidArgumentError as error:
            print(path.name, error.message[:200])
            continue
        decoded[path.name] = pixels.numpy()
        print(path.name, pixels.shape, pixels.dtype.name)
    np.savez_compressed(FOLDER / "decoded.npz", **decoded)


if __name__ == "__main__":
    {"write": write, "decode": decode}[sys.argv[1]]()
