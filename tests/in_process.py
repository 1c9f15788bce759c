"""Programs run in the process of the tests, which saves importing torch again for each."""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest


def run_programs_here(patch: pytest.MonkeyPatch) -> None:
    """Replace the processes that check and measure programs by calls of what they run.

    tests/converter/programs/conftest.py and tests/converter/cli/test_comparison.py run some in processes.
    """
    from converter.programs import comparing, exporting, judging, measuring, runner

    def run_program(
        path: str, subject: Any, cases: Sequence[Any], *, destination: str, double: bool = False
    ) -> tuple[list[list[Any]], dict[str, str]]:
        import torch

        names = [argument.name for argument in subject.arguments]
        job = {"program": path, "inputs": names, "outputs": list(subject.outputs), "by_name": subject.by_name}
        results = []
        try:
            for is_double in (False, True) if double else (False,):
                run, versions = runner.RUNTIMES[destination](job | {"double": is_double})
                results += [[np.asarray(value) for value in run(list(case.inputs.values()))] for case in cases]
        finally:
            torch.set_default_dtype(torch.float32)  # what is run in float64 changes it
        return results, versions

    def measure(command: Sequence[str], **options: Any) -> types.SimpleNamespace:
        measuring.main(command[-1])
        return types.SimpleNamespace(returncode=0)

    for module in (exporting, judging):
        patch.setattr(module, "run_program", run_program)
    patch.setattr(comparing, "subprocess", types.SimpleNamespace(run=measure))
