"""State dicts in the files of training programs: where they are, which prefix their names have, and which is chosen."""

from __future__ import annotations

import argparse
import collections
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the files are PyTorch's")

from converter import load_model, revert, to_tensorflow_names  # noqa: E402
from converter.conversion import ConversionResult  # noqa: E402
from converter.errors import ConversionError  # noqa: E402
from converter.formats.files import is_output, read_native, read_network  # noqa: E402
from converter.formats.state_dicts import choose_state, find_state_dicts  # noqa: E402
from tests.conftest import slow  # noqa: E402
from tfckpt.errors import CorruptionError  # noqa: E402

State = dict[str, Any]
STRIDES = (1, 2, 2, 1)


@pytest.fixture
def state(result: ConversionResult) -> State:
    """The state dict of the digits network, as tensors."""
    return {name: torch.from_numpy(np.array(array)) for name, array in result.state_dict.items()}


def prefix(state: State, text: str) -> State:
    """Return the tensors with a prefix before their names."""
    return {text + name: tensor for name, tensor in state.items()}


def timm_checkpoint(state: State) -> State:
    """Return what timm's `CheckpointSaver` saves, without averages."""
    arguments = argparse.Namespace(model="tf_efficientnet_b0", lr=0.1)
    optimizer = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    return {
        "epoch": 3,
        "arch": arguments.model,
        "state_dict": state,
        "optimizer": optimizer,
        "version": 2,
        "args": arguments,
        "amp_scaler": {"scale": 1.0},
        "metric": 0.5,
    }


def lightning_checkpoint(state: State) -> State:
    """Return what Lightning's `Trainer.save_checkpoint` saves for a module with the attribute `model` and a metric."""
    return {
        "epoch": 1,
        "global_step": 10,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": collections.OrderedDict({**prefix(state, "model."), "criterion.weight": torch.ones(10)}),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 1}}}},
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(0.5), "monitor": None}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": []}],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {"lr": 0.1},
    }


def averaged_model(state: State) -> State:
    """Return the state dict of `torch.optim.swa_utils.AveragedModel`."""
    return {"n_averaged": torch.tensor(5), **prefix(state, "module.")}


FORMS: dict[str, Callable[[State], object]] = {
    "plain": lambda state: state,
    "DataParallel": lambda state: prefix(state, "module."),
    "compiled": lambda state: prefix(state, "_orig_mod."),
    "compiled in DataParallel": lambda state: prefix(state, "module._orig_mod."),
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "model": lambda state: {"model": prefix(state, "module."), "optimizer": {"state": {}}, "epoch": 3},
    "in two": lambda state: {"ema": {"module": state, "decay": 0.999}},
    "averaged": averaged_model,
    "timm": timm_checkpoint,
    "Lightning": lightning_checkpoint,
}


ENDINGS = (".pth", ".ckpt", ".pt", ".pth.tar", ".bin")


@pytest.mark.parametrize(
    ("ending", "form"),
    [
        (ending, form) if ending == ".pth" or form == "plain" else slow(ending, form)
        for ending in ENDINGS
        for form in FORMS
    ],
)
def test_network_of_a_training_file_is_read(form: str, ending: str, state: State, tmp_path: pathlib.Path) -> None:
    """Nothing but the network is taken; whatever is not the whole file is named."""
    path = tmp_path / f"file{ending}"
    torch.save(FORMS[form](state), path)

    file = read_network(path)

    assert is_output(path)
    assert list(file.tensors) == list(state)
    assert all(np.array_equal(file.tensors[name], tensor.numpy()) for name, tensor in state.items())
    assert bool(file.notes) == (form != "plain")
    assert file.architecture == ("tf_efficientnet_b0" if form == "timm" else None)


@pytest.mark.parametrize("form", FORMS)
def test_training_file_is_reverted_and_loaded(form: str, state: State, tmp_path: pathlib.Path) -> None:
    """Both take the same weights and say so; a dict in memory is taken like a file."""
    torch.save(FORMS[form](state), tmp_path / "file.ckpt")
    said: list[str] = []

    model = load_model(tmp_path / "file.ckpt", strides=STRIDES, talk=said.append)
    report = revert(tmp_path / "file.ckpt", tmp_path / "model", scope="net")
    content = FORMS[form](state)
    assert isinstance(content, Mapping)
    arrays = to_tensorflow_names(content, scope="net")

    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert list(report.notes) == said
    assert set(arrays) == set(report.names)


def test_tensors_outside_the_prefix_are_named(state: State, tmp_path: pathlib.Path) -> None:
    """The weights of a loss are left out, and the notes say so."""
    torch.save(lightning_checkpoint(state), tmp_path / "file.ckpt")

    notes = read_network(tmp_path / "file.ckpt").notes

    assert "state_dict" in notes[0] and "model." in notes[0]
    assert "criterion.weight" in notes[1]


def test_several_networks_have_to_be_chosen_from(state: State, tmp_path: pathlib.Path) -> None:
    """The error lists the keys; each of them, or the beginning of one, chooses."""
    other = {name: tensor + 1 for name, tensor in state.items()}
    path = tmp_path / "file.pth"
    torch.save({"state_dict": prefix(state, "model."), "state_dict_ema": other}, path)

    with pytest.raises(ConversionError, match=r"state_dict\.model, state_dict_ema.*--key"):
        load_model(path, strides=STRIDES)
    with pytest.raises(ConversionError, match=r"state_dict\.model, state_dict_ema"):
        revert(path, tmp_path / "model", scope="net", key="model")

    averages = read_network(path, "state_dict_ema")
    for key in ("state_dict.model", "state_dict"):
        assert np.array_equal(read_network(path, key).tensors["classifier.bias"], state["classifier.bias"])
    assert np.array_equal(averages.tensors["classifier.bias"], other["classifier.bias"])
    assert "state_dict.model" in averages.notes[0]
    assert revert(path, tmp_path / "model", scope="net", key="state_dict").notes


def test_two_networks_in_one_state_dict_are_told_apart_by_prefix(state: State) -> None:
    """A student and its teacher; an empty key is the network without prefix."""
    both = {**state, **prefix(state, "teacher.")}

    with pytest.raises(ConversionError, match="teacher"):
        choose_state({"": both})

    assert list(choose_state({"": both}, "teacher").tensors) == list(state)
    assert len(choose_state({"": both}, "").tensors) == 2 * len(state)


def test_state_dict_of_another_network_keeps_its_names(tmp_path: pathlib.Path) -> None:
    """Only known networks have a prefix; nested ones are found all the same."""
    torch.save({"state_dict": {"module.layer.weight": torch.ones(2)}}, tmp_path / "x.pth")

    assert list(read_native(tmp_path / "x.pth").tensors) == ["module.layer.weight"]


def test_dicts_that_are_no_state_dicts_are_skipped() -> None:
    """Empty ones, those with other values or keys, those too deep, and lists."""
    tensor = np.zeros(1)
    value = {
        "empty": {},
        "mixed": {"a": tensor, "b": 3},
        "numbers": {0: tensor},
        "list": [{"a": tensor}],
        "deep": {"a": {"b": {"c": {"d": tensor}}}},
        "right": {"a": {"b": {"c": tensor}}},
    }

    found = find_state_dicts(value, lambda value: isinstance(value, np.ndarray))

    assert list(found) == ["right.a.b"]


def test_key_is_refused_for_a_file_with_its_own_description(output: pathlib.Path) -> None:
    """Such a file has one network."""
    with pytest.raises(ConversionError):
        load_model(output, key="state_dict")


def test_file_with_other_objects_is_refused_by_their_names(state: State, tmp_path: pathlib.Path) -> None:
    """They are never built; the error says what to save instead."""
    torch.save({"state_dict": state, "path": pathlib.PurePosixPath("x")}, tmp_path / "x.pth")

    with pytest.raises(CorruptionError, match="weights_only"):
        read_network(tmp_path / "x.pth")


def test_files_of_other_programs_are_no_training_files(tmp_path: pathlib.Path) -> None:
    """An ending is not enough."""
    (tmp_path / "model.ckpt").write_bytes(b"something else")
    np.savez(tmp_path / "arrays.npz", a=np.zeros(2))
    (tmp_path / "arrays.npz").rename(tmp_path / "arrays.pt")

    assert not is_output(tmp_path / "model.ckpt")
    assert not is_output(tmp_path / "arrays.pt")
    assert not is_output(tmp_path / "nowhere.ckpt")
