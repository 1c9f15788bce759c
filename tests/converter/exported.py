"""Modules exported to ONNX with open sizes, and run by onnxruntime."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

#: Odd, even and not square; most are not divisible by a stride.
SIZES = ((32, 32), (33, 33), (45, 38), (47, 47), (64, 33))


def export_to_onnx(module: nn.Module, example: torch.Tensor, shapes: Any) -> Callable[[torch.Tensor], Any]:
    """Export a module of one input with dynamic shapes, and return the function that onnxruntime computes."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime runs the exported files")
    pytest.importorskip("onnxscript", reason="torch.onnx exports with onnxscript")
    program = torch.export.export(module.eval(), (example,), dynamic_shapes=shapes)
    file = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter and the libraries it uses warn about each other.
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            exported = torch.onnx.export(program, dynamo=True, verbose=False)
        finally:
            logging.disable(logging.NOTSET)
    assert exported is not None
    exported.save(file)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x.numpy()})[0]


def check_sizes(module: nn.Module, run: Callable[[torch.Tensor], Any], images: Sequence[torch.Tensor]) -> None:
    """Compare what onnxruntime computes with the module, relative to the largest value."""
    for x in images:
        with torch.no_grad():
            expected = module(x).numpy()
        computed = run(x)
        assert computed.shape == expected.shape, x.shape
        # Rounding of float32; one row of padding at the wrong side would be off by 1e-2.
        assert np.abs(computed - expected).max() <= 2e-5 * np.abs(expected).max(), x.shape
