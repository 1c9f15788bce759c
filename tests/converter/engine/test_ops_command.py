"""`tf2torch ops` on the command line."""

from __future__ import annotations

import json

import pytest

from converter.cli import main
from converter.engine import supported_ops


def test_ops_lists_every_supported_operation(capsys: pytest.CaptureFixture[str]) -> None:
    """There is one operation on each line, in alphabetical order."""
    code = main(["ops"])

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert tuple(lines) == supported_ops()
    assert {"Conv2D", "FusedBatchNormV3", "StatelessWhile", "ResizeBicubic"} <= {*lines}


@pytest.mark.parametrize(("names", "code"), [(["Conv2D", "Selu"], 0), (["Conv2D", "QuantizedConv2D"], 5)])
def test_ops_answers_for_names(names: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Each name gets a yes or no, and the exit code is 0 if all operations are supported."""
    assert main(["ops", *names]) == code

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [[names[0], "yes"], [names[1], "yes" if code == 0 else "no"]]


def test_ops_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Without names the list of operations, and with names an answer for each."""
    main(["ops", "--json"])
    table = json.loads(capsys.readouterr().out)["ops"]
    main(["ops", "--json", "Conv2D"])
    answers = json.loads(capsys.readouterr().out)["supported"]

    assert "Conv2D" in table
    assert answers == {"Conv2D": True}
