"""Every operation, compared with values that real TensorFlow computed."""

from __future__ import annotations

import numpy as np
import pytest

from converter.engine import supported_ops
from converter.engine.registry import CONTROL, find_op
from converter.engine.values import Array
from converter.engine.writes import ASSIGNS

from .recorded import FAMILIES, Case, cases_of

#: Relative to the largest number of a tensor. Recorded float32 values have rounding errors of their own,
#: and half-precision ones have large errors.
TOLERANCES = {"float64": 1e-12, "float32": 1e-5, "half": 1e-2}
#: Tested in `test_variables.py` and `test_writes.py`: variables need a checkpoint. TensorFlow 2.21 no longer creates
#: some other operations. Those of TensorFlow.js are tested in `test_loading.py`.
ELSEWHERE = {
    *ASSIGNS,
    "BatchNormWithGlobalNormalization",
    "FusedDepthwiseConv2dNative",
    "IsVariableInitialized",
    "Prelu",
    "_FusedDepthwiseConv2dNative",
    "ReadVariableOp",
    "RefIdentity",
    "RefMerge",
    "RefSwitch",
    "ResourceGather",
    "ResourceGatherNd",
    "VarHandleOp",
    "VarIsInitializedOp",
    "Variable",
    "VariableShape",
    "VariableV2",
}


def assert_close(actual: Array, expected: Array, tolerance: float, label: str) -> None:
    """Compare two arrays: shapes, integers, infinities and NaNs exactly, other numbers relative to the largest one."""
    assert actual.shape == expected.shape, label
    if expected.dtype.kind not in "fc":
        np.testing.assert_array_equal(actual, expected, err_msg=label)
        assert actual.dtype == expected.dtype, label
        return
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(np.where(finite, 0, actual), np.where(finite, 0, expected), err_msg=label)
    scale = np.abs(expected[finite]).max(initial=0)
    worst = np.abs(actual.astype(np.result_type(actual, np.float64))[finite] - expected[finite]).max(initial=0)
    assert worst <= tolerance * scale, f"{label}: {worst / scale} of the largest number"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_operations_agree_with_tensorflow(family: str, dtype: str) -> None:
    """Each recorded case has TensorFlow's values: to 1e-12 in float64, to 1e-5 in float32."""
    failures = []
    for case in cases_of(family):
        tolerance = max(TOLERANCES[dtype], TOLERANCES[case.precision])

        try:
            _check(case, dtype, tolerance)
        except Exception as error:
            failures.append(f"{case.name}: {type(error).__name__}: {error}")

    assert not failures, "\n".join(failures)


def _check(case: Case, dtype: str, tolerance: float) -> None:
    outputs = case.graph.run(list(case.outputs), case.feeds, dtype=dtype)
    for name, value in zip(case.outputs, outputs, strict=True):
        assert_close(value, case.outputs[name], tolerance, f"{case.name} {name}")


def test_every_supported_operation_has_a_recorded_case() -> None:
    """No operation is supported without recorded values from TensorFlow."""
    recorded = frozenset().union(*(case.ops for family in FAMILIES for case in cases_of(family)))

    assert {*supported_ops()} - recorded == ELSEWHERE


def test_control_operations_have_no_kernel() -> None:
    """An operation that the evaluator runs itself is not registered as a kernel, too."""
    assert [name for name in CONTROL if find_op(name) is not None] == []
