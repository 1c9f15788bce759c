"""Contrast, hue and saturation of images, and their projective transformation."""

from __future__ import annotations

import torch

from converter.engine.registry import Call, op
from converter.engine.values import Tensor, Value, to_ints, to_number, to_tensor, to_tensors
from converter.errors import GraphError


@op("AdjustContrastv2")
def adjust_contrast(call: Call, images: Value, factor: Value) -> Value:
    """Multiply the distance of each pixel from the mean of its channel."""
    x = to_tensor(images, call.dtype)
    mean: Tensor = x.mean((-3, -2), keepdim=True)
    return (x - mean) * float(to_number(factor)) + mean


def _to_hsv(rgb: Tensor) -> Tensor:
    red, green, blue = rgb.unbind(-1)
    value, lowest = rgb.amax(-1), rgb.amin(-1)
    spread = value - lowest
    one, zero = torch.ones_like(value), torch.zeros_like(value)
    saturation = torch.where(value > 0, spread / torch.where(value > 0, value, one), zero)
    width = torch.where(spread > 0, spread, one) * 6
    hue = torch.where(
        red == value,
        (green - blue) / width,
        torch.where(green == value, (blue - red) / width + 1 / 3, (red - green) / width + 2 / 3),
    )
    hue = torch.where(spread > 0, torch.where(hue < 0, hue + 1, hue), zero)
    return torch.stack([hue, saturation, value], -1)


def _to_rgb(hsv: Tensor) -> Tensor:
    hue, saturation, value = hsv.unbind(-1)
    place = hue * 6
    parts = [
        ((place - 3).abs() - 1).clamp(0, 1),
        (2 - (place - 2).abs()).clamp(0, 1),
        (2 - (place - 4).abs()).clamp(0, 1),
    ]
    return torch.stack([(1 - saturation + saturation * part) * value for part in parts], -1)


@op("RGBToHSV")
def rgb_to_hsv(call: Call, images: Value) -> Value:
    """Return hue, saturation and value of red, green and blue."""
    return _to_hsv(to_tensor(images, call.dtype))


@op("HSVToRGB")
def hsv_to_rgb(call: Call, images: Value) -> Value:
    """Return red, green and blue of hue, saturation and value."""
    return _to_rgb(to_tensor(images, call.dtype))


@op("AdjustHue")
def adjust_hue(call: Call, images: Value, delta: Value) -> Value:
    """Turn the hue; a whole turn is 1."""
    hue, saturation, value = _to_hsv(to_tensor(images, call.dtype)).unbind(-1)
    turned = torch.remainder(hue + to_number(delta), 1)
    return _to_rgb(torch.stack([turned, saturation, value], -1))


@op("AdjustSaturation")
def adjust_saturation(call: Call, images: Value, scale: Value) -> Value:
    """Multiply the saturation, up to 1."""
    hue, saturation, value = _to_hsv(to_tensor(images, call.dtype)).unbind(-1)
    return _to_rgb(torch.stack([hue, (saturation * to_number(scale)).clamp(0, 1), value], -1))


@op("ImageProjectiveTransformV2", "ImageProjectiveTransformV3", outputs=("transformed_images",))
def transform_images(call: Call, images: Value, transforms: Value, size: Value, *fill: Value) -> Value:
    """Take each pixel from the place that eight numbers of a projection say."""
    x, numbers = to_tensors(call.dtype, images, transforms)
    height, width = to_ints(size)
    call.check_size([x.shape[0], height, width, x.shape[3]])
    numbers = numbers.expand(x.shape[0], 8)[:, :, None, None]
    rows = torch.arange(height, dtype=call.dtype)[:, None]
    columns = torch.arange(width, dtype=call.dtype)
    depth = numbers[:, 6] * columns + numbers[:, 7] * rows + 1
    at_column = (numbers[:, 0] * columns + numbers[:, 1] * rows + numbers[:, 2]) / depth
    at_row = (numbers[:, 3] * columns + numbers[:, 4] * rows + numbers[:, 5]) / depth
    mode = str(call.get("fill_mode", "CONSTANT"))
    at_row, at_column = _wrap(at_row, x.shape[1], mode), _wrap(at_column, x.shape[2], mode)
    value = to_number(fill[0]) if fill else 0.0
    interpolation = str(call.get("interpolation", "NEAREST"))
    if interpolation == "NEAREST":
        y = _read(x, _round(at_row), _round(at_column), value)
    elif interpolation == "BILINEAR":
        top, left = at_row.floor(), at_column.floor()
        down, across = (at_row - top)[..., None], (at_column - left)[..., None]
        above = _read(x, top, left, value) * (1 - across) + _read(x, top, left + 1, value) * across
        below = _read(x, top + 1, left, value) * (1 - across) + _read(x, top + 1, left + 1, value) * across
        y = above * (1 - down) + below * down
    else:
        raise GraphError(f"unknown interpolation {interpolation}, expected NEAREST or BILINEAR")
    return torch.where((depth == 0)[..., None], torch.full((), value, dtype=y.dtype), y)


def _round(places: Tensor) -> Tensor:
    """Round halves away from zero, unlike `torch.round`."""
    return torch.sign(places) * torch.floor(places.abs() + 0.5)


def _wrap(places: Tensor, length: int, mode: str) -> Tensor:
    """Return the place inside of an image for one outside of it; CONSTANT leaves it outside."""
    if mode == "CONSTANT":
        return places
    last = length - 1
    if mode == "NEAREST":
        return places.clamp(0, last)
    if mode == "WRAP":
        if length == 1:
            return torch.zeros_like(places)
        below = torch.where(places < 0, places + length * (torch.trunc(-places / last) + 1), places)
        wrapped = torch.where(places > last, places - length * torch.trunc(places / last), below)
        return wrapped.clamp(0, last)
    if mode == "REFLECT":
        period = 2 * length
        low = torch.where(places < -period, places + period * torch.trunc(-places / period), places)
        low = torch.where(low < -length, low + period, -low - 1)
        high = places - period * torch.trunc(places / period)
        high = torch.where(high >= length, period - high - 1, high)
        reflected = torch.where(places < 0, low, torch.where(places > last, high, places))
        return reflected.clamp(0, last) if length > 1 else torch.zeros_like(places)
    raise GraphError(f"unknown fill mode {mode}")


def _read(x: Tensor, rows: Tensor, columns: Tensor, fill: float) -> Tensor:
    """Return the pixels at whole places, and the fill value outside of the image."""
    height, width = x.shape[1:3]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    batch = torch.arange(x.shape[0])[:, None, None]
    taken = x[batch, rows.clamp(0, height - 1).long(), columns.clamp(0, width - 1).long()]
    return torch.where(inside[..., None], taken, torch.full((), fill, dtype=x.dtype))
