"""Test that commands accept the name of a release, download it and read it inside its archive."""

from __future__ import annotations

import io
import json
import os
import pathlib
import tarfile
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

import tfckpt
from converter.cli import main
from converter.formats.files import PREPROCESSING_KEY, read_output
from converter.model.architectures import CONFIGS
from converter.releases.table import RELEASES
from tests.contracts.server import Server, serving
from tfckpt.storage.remote import http, transport

from .. import networks

Capture = pytest.CaptureFixture[str]

#: One release of each form: its name, its folder in the archive, the prefix, the scope, whether it has a state file.
FORMS = {
    "V2": ("efficientnetv2-b0", "efficientnetv2-b0", "model", "eff_net_v2_model/", False),
    "V2, fine-tuned": ("efficientnetv2-b0-21k-ft1k", "efficientnetv2-b0", "model.ckpt-7", "eff_net_v2_model/", True),
    "V1, AdvProp": ("efficientnet-b0-advprop", "efficientnet-b0", "model.ckpt", "efficientnet-b0/", False),
    "V1, Noisy Student": (
        "efficientnet-b0-noisystudent",
        "noisy_student_efficientnet-b0",
        "model.ckpt",
        "efficientnet-b0/",
        True,
    ),
}


def pack_folder(folder: pathlib.Path) -> bytes:
    """Return an archive of the folder, with fast compression."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        archive.add(folder, folder.name)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The archive of one release of each form, by path; each tensor repeats one number, so archives are small."""
    archives = {}
    for release, folder, prefix, scope, has_state in FORMS.values():
        config = CONFIGS[RELEASES[release].architecture]
        root = tmp_path_factory.mktemp("release") / folder
        root.mkdir()
        arrays = networks.arrays(config, scope=scope, averages=False)
        tfckpt.save(arrays, root / prefix, checkpoint_state=has_state)
        archives[RELEASES[release].path] = pack_folder(root)
    return archives


@pytest.fixture
def server(archives: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that has these releases, in the folder `mirror`."""
    patience = transport.Patience(attempts=2, delay=0.001, timeout=5.0, total=20.0)
    monkeypatch.setattr(http, "DEFAULT_PATIENCE", patience)
    with serving({f"mirror/{path}": content for path, content in archives.items()}) as running:
        yield running


@pytest.fixture(autouse=True)
def empty_folder_and_cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current folder, and a separate cache."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("TFCKPT_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("form", FORMS)
def test_release_is_converted_by_name(form: str, server: Server, capsys: Capture) -> None:
    """The output has the right network, release and preprocessing."""
    release = RELEASES[FORMS[form][0]]

    code = main(
        ["convert", release.name, "-o", "out.safetensors", "--report", "out.json", "--base-url", f"{server.url}mirror"]
    )

    shown = capsys.readouterr()
    assert code == 0, shown.err
    report = json.loads(pathlib.Path("out.json").read_bytes())
    assert report["config"]["name"] == release.architecture
    assert report["releases"] == [release.name]
    assert report["notes"] == []
    index, shard = report["files"]
    assert (index["name"], shard["name"]) == (f"{FORMS[form][2]}.index", f"{FORMS[form][2]}.data-00000-of-00001")
    assert index["nbytes"] > 0 and len(index["sha256"]) == 64
    assert shard["nbytes"] == report["totals"]["bytes"] + 8  # the step, which is left out
    output = read_output("out.safetensors")
    assert json.loads(output.metadata[PREPROCESSING_KEY]) == release.preprocessing.to_dict()
    names = [variable.target for variable in networks.variables(release.config)]
    assert [float(output.tensors[name].flat[0]) for name in names] == list(range(len(names)))
    size = len(server.files[f"mirror/{release.path}"])
    assert f"{size:,}" in shown.err.splitlines()[0]
    assert f"{server.url}mirror/{release.path}" in shown.err.splitlines()[0]


def run(verb: str, release: str, server: Server, *more: str) -> int:
    """Run a verb with the name of a release, and `out.safetensors` if it needs an output."""
    arguments = {
        "convert": ["convert", release, "-o", "out.safetensors", "--force"],
        "plan": ["plan", release],
        "verify": ["verify", release, "out.safetensors"],
    }[verb]
    return main([*arguments, "--base-url", f"{server.url}mirror/", *more])


def test_second_command_uses_the_cache(server: Server, tmp_path: pathlib.Path, capsys: Capture) -> None:
    """It sends no request, and says which file it uses."""
    assert run("convert", "efficientnetv2-b0", server) == 0
    server.forget()
    capsys.readouterr()

    assert run("plan", "efficientnetv2-b0", server) == 0
    assert run("verify", "efficientnetv2-b0", server) == 0

    shown = capsys.readouterr()
    path = tmp_path / "cache" / "releases" / "v2" / "efficientnetv2-b0.tgz"
    assert shown.err.count(str(path)) == shown.err.count("\n") == 2
    assert server.requests == []


def test_evaluate_downloads_the_release_to_compare_with(server: Server, capsys: Capture) -> None:
    """This archive has no graph, and the error says so."""
    pytest.importorskip("torch", reason="the network runs in PyTorch")
    assert run("convert", "efficientnetv2-b0", server) == 0
    np.savez("data.npz", images=np.zeros((1, 224, 224, 3), np.float32), labels=np.zeros(1, np.int64))
    capsys.readouterr()

    source = ["--against", "efficientnetv2-b0", "--base-url", f"{server.url}mirror"]
    code = main(["evaluate", "out.safetensors", "--data", "data.npz", *source])

    shown = capsys.readouterr()
    assert code == 5
    assert shown.err.startswith("efficientnetv2-b0 ")
    assert shown.err.splitlines()[1].startswith("tf2torch: ")


def test_cache_option_has_priority_over_the_variable(server: Server, tmp_path: pathlib.Path) -> None:
    """Nothing is written to the folder in TFCKPT_CACHE."""
    assert run("plan", "efficientnetv2-b0", server, "--cache", str(tmp_path / "other")) == 0

    assert (tmp_path / "other" / "releases" / "v2" / "efficientnetv2-b0.tgz").is_file()
    assert not (tmp_path / "cache").exists()
    assert os.listdir() == []


@pytest.mark.parametrize("what", ["folder", "prefix", "archive", "empty folder"])
def test_existing_path_has_priority_over_a_release(
    what: str, server: Server, archives: dict[str, bytes], capsys: Capture, tmp_path: pathlib.Path
) -> None:
    """The path is used even if it is not a checkpoint, and no request is sent."""
    name = "efficientnetv2-b0"
    if what == "empty folder":
        os.mkdir(name)
    elif what == "archive":
        pathlib.Path(name).write_bytes(archives["v2/efficientnetv2-b0.tgz"])
    else:
        arrays = networks.arrays(name, averages=False)
        (pathlib.Path.cwd() / name).mkdir() if what == "folder" else None
        tfckpt.save(arrays, f"{name}/model" if what == "folder" else name)

    code = run("plan", name, server)

    shown = capsys.readouterr()
    assert code == (3 if what == "empty folder" else 0)
    assert server.requests == []
    assert "releases" not in shown.err
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("efficientnet-b0", "efficientnet-b0-advprop, efficientnet-b0-noisystudent"),
        ("efficientnetv2-xl", "efficientnetv2-xl-21k, efficientnetv2-xl-21k-ft1k"),
        ("efficientnetv2_b0", "efficientnetv2-b0, "),
    ],
)
def test_error_about_an_unknown_release_suggests_close_names(
    name: str, close: str, server: Server, capsys: Capture
) -> None:
    """A name that is not similar to a release gets no suggestions."""
    code = run("plan", name, server)
    shown = capsys.readouterr()
    other = run("plan", "my-checkpoint", server)

    assert (code, other, shown.out) == (3, 3, "")
    assert close in shown.err
    assert shown.err.count("\n") == 1
    assert "releases" not in capsys.readouterr().err
    assert server.requests == []


@pytest.mark.parametrize("url", ["ftp://host", "host", "", "https://"])
def test_invalid_base_url_is_wrong_usage(url: str) -> None:
    """The parser rejects it."""
    with pytest.raises(SystemExit) as caught:
        main(["plan", "efficientnetv2-b0", "--base-url", url])

    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("no such release", 3),
        ("page", 3),
        ("damaged cache", 4),
        ("unwritable cache", 2),
        ("no server", 3),
    ],
)
def test_failed_download_is_reported_in_one_line(
    fault: str, code: int, server: Server, tmp_path: pathlib.Path, capsys: Capture
) -> None:
    """The exit code depends on the cause, and nothing is written."""
    more: Sequence[str] = ()
    if fault == "no such release":
        server.files.clear()
    elif fault == "page":
        server.files["mirror/v2/efficientnetv2-b0.tgz"] = b"<!DOCTYPE html>"
    elif fault == "damaged cache":
        assert run("plan", "efficientnetv2-b0", server) == 0
        (tmp_path / "cache" / "releases" / "v2" / "efficientnetv2-b0.tgz").write_bytes(b"\x1f\x8b\x08")
        capsys.readouterr()
    elif fault == "unwritable cache":
        (tmp_path / "cache").write_bytes(b"")
    else:
        more = ["--base-url", "http://127.0.0.1:9"]

    actual = run("convert", "efficientnetv2-b0", server, *more)

    shown = capsys.readouterr()
    assert (actual, shown.out) == (code, "")
    (line,) = [line for line in shown.err.splitlines() if not line.startswith("downloading ")]
    assert line.startswith("tf2torch: ")
    assert os.listdir() == []


def test_release_option_decides_between_similar_releases(archives: dict[str, bytes], capsys: Capture) -> None:
    """Several releases have the same names and shapes."""
    pathlib.Path("mine.tgz").write_bytes(archives["v2/efficientnetv2-b0.tgz"])

    assert main(["convert", "mine.tgz", "-o", "a.safetensors"]) == 0
    assert main(["convert", "mine.tgz", "-o", "b.safetensors", "--release", "efficientnetv2-b0-21k-ft1k"]) == 0
    capsys.readouterr()
    assert main(["plan", "mine.tgz", "--release", "efficientnetv2-b0-21k-ft1k", "--json"]) == 0

    expected = RELEASES["efficientnetv2-b0-21k-ft1k"].preprocessing.to_dict()
    assert json.loads(read_output("b.safetensors").metadata[PREPROCESSING_KEY]) == expected
    assert json.loads(read_output("a.safetensors").metadata[PREPROCESSING_KEY]) != expected
    assert json.loads(capsys.readouterr().out)["releases"] == ["efficientnetv2-b0-21k-ft1k"]


def test_wrong_release_option_is_rejected(archives: dict[str, bytes], capsys: Capture) -> None:
    """The error lists possible releases; an unknown name and a combination with rules are wrong usage."""
    pathlib.Path("mine.tgz").write_bytes(archives["v2/efficientnetv2-b0.tgz"])

    code = main(["convert", "mine.tgz", "-o", "a.safetensors", "--release", "efficientnetv2-s"])
    with_rules = main(["plan", "mine.tgz", "--release", "efficientnetv2-s", "--into", "x:y"])
    two_releases = main(["plan", "efficientnetv2-b0", "--release", "efficientnetv2-b0-21k"])

    shown = capsys.readouterr()
    assert (code, with_rules, two_releases, os.listdir()) == (5, 2, 5, ["mine.tgz"])
    assert [line.startswith("tf2torch: ") for line in shown.err.splitlines()] == [True] * 3
    assert "efficientnetv2-b0-21k-ft1k" in shown.err
    with pytest.raises(SystemExit) as caught:
        main(["plan", "mine.tgz", "--release", "efficientnetv2-z"])
    assert caught.value.code == 2
