"""Networks that are written after training: loaded, evaluated, timed and reverted without more options."""

from __future__ import annotations

import pathlib
import pickle
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="a model is a PyTorch module")

import converter.cli  # noqa: E402
import tfckpt  # noqa: E402
from converter import load_model, revert, save_model  # noqa: E402
from converter.conversion import ConversionResult, convert  # noqa: E402
from converter.errors import ExportError, MappingError  # noqa: E402
from converter.formats.files import read_output  # noqa: E402
from converter.images.recipes import get_recipe  # noqa: E402
from converter.model import EfficientNet  # noqa: E402
from converter.preprocessing import preprocessing_of  # noqa: E402

LABELS = ["zero", "one", "two"]
SETTINGS = get_recipe("v2", 32)


@pytest.fixture
def tuned(result: ConversionResult) -> EfficientNet:
    """The digits network with three classes and changed weights."""
    model = load_model(result, num_classes=3)
    with torch.no_grad():
        model.stem.conv.weight.add_(0.5)
    return model


def require_same(model: EfficientNet, expected: EfficientNet) -> None:
    """Assert that two networks have the same configuration and the same weights."""
    assert model.config == expected.config
    assert all(torch.equal(tensor, expected.state_dict()[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", ["tuned.safetensors", "tuned.npz", "tuned"])
def test_saved_network_is_loaded_with_its_configuration(name: str, tuned: EfficientNet, tmp_path: pathlib.Path) -> None:
    """Strides are not needed; preprocessing and labels are recorded."""
    save_model(tuned, tmp_path / name, preprocessing=SETTINGS, labels=LABELS)

    require_same(load_model(tmp_path / name), tuned)
    assert preprocessing_of(tmp_path / name) == SETTINGS


def test_saved_network_is_reverted_timed_and_evaluated(
    tuned: EfficientNet, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands take it like a conversion."""
    path = tmp_path / "tuned.safetensors"
    save_model(tuned, path)
    np.savez(tmp_path / "data.npz", images=np.zeros((2, 32, 32, 3), np.float32), labels=np.array([0, 1]))

    report = revert(path, tmp_path / "model", scope="net")
    codes = [
        converter.cli.main(["bench", str(path), "--size", "32", "--runs", "1"]),
        converter.cli.main(["evaluate", str(path), "--data", str(tmp_path / "data.npz")]),
    ]

    assert codes == [0, 0] and "3 classes" in capsys.readouterr().out
    assert report.notes == ()
    strides = tuple(stage.stride for stage in tuned.config.stages)
    again = convert(tmp_path / "model", strides=strides).state_dict
    assert np.array_equal(again["stem.conv.weight"], tuned.state_dict()["stem.conv.weight"].numpy())


def test_wrappers_and_replaced_classifiers_are_accepted(tuned: EfficientNet, tmp_path: pathlib.Path) -> None:
    """A new linear layer decides the number of classes, and `Identity` removes the classifier."""
    wrapped = torch.nn.DataParallel(torch.compile(tuned, backend="eager"))
    save_model(wrapped, tmp_path / "wrapped.safetensors")
    tuned.classifier = torch.nn.Linear(tuned.config.head_channels, 7)
    save_model(tuned, tmp_path / "seven.safetensors")
    tuned.classifier = torch.nn.Identity()
    save_model(tuned, tmp_path / "none.safetensors")

    counts = [load_model(tmp_path / f"{name}.safetensors").config.num_classes for name in ("wrapped", "seven", "none")]
    assert counts == [3, 7, 0]


def test_dtype_of_the_network_is_written(tuned: EfficientNet, tmp_path: pathlib.Path) -> None:
    """Loading gives float32 again."""
    save_model(tuned.bfloat16(), tmp_path / "half.safetensors")

    assert read_output(tmp_path / "half.safetensors").tensors["stem.conv.weight"].dtype.name == "bfloat16"
    assert load_model(tmp_path / "half.safetensors").stem.conv.weight.dtype == torch.float32


def test_unsuitable_networks_and_outputs_are_refused(tuned: EfficientNet, tmp_path: pathlib.Path) -> None:
    """Other modules, changed ones, `.pth`, existing files, and labels of another number; nothing is written."""
    (tmp_path / "there.npz").write_bytes(b"")
    for path, options in (("x.pth", {}), ("there.npz", {}), ("x.npz", {"labels": ["one"]})):
        with pytest.raises(ExportError):
            save_model(tuned, tmp_path / path, **options)  # type: ignore[arg-type]  # they are labels
    with pytest.raises(TypeError, match="Linear"):
        save_model(torch.nn.Linear(2, 2), tmp_path / "x.npz")
    tuned.extra = torch.nn.Linear(2, 2)
    with pytest.raises(MappingError):
        save_model(tuned, tmp_path / "x.npz")

    assert [path.name for path in tmp_path.iterdir()] == ["there.npz"]


def test_model_loads_from_a_result_and_from_an_open_checkpoint(result: ConversionResult, digits: pathlib.Path) -> None:
    """Like from the path of the checkpoint; a result has been converted, so options of the conversion are refused."""
    expected = load_model(digits)

    with tfckpt.open(digits) as checkpoint:
        require_same(load_model(checkpoint), expected)
    require_same(load_model(result), expected)
    for options in ({"strides": (1, 2, 2, 1)}, {"weights": "raw"}, {"key": "ema"}):
        wrong: Any = options
        with pytest.raises(ValueError, match="conversion"):
            load_model(result, **wrong)
    with pytest.raises(ValueError, match="key"):
        load_model(digits, key="ema")


def test_result_is_shown_in_one_line(result: ConversionResult) -> None:
    """Network, size and source; notebooks show the summary, and nothing in it is markup."""
    text = repr(result)

    assert "\n" not in text and len(text) < 120
    assert all(part in text for part in ("custom", "132 tensors", "model.ckpt-322"))
    assert result._repr_html_().count("<") == 2 and "113 moving averages" in result._repr_html_()
    assert repr(pickle.loads(pickle.dumps(result))) == text
