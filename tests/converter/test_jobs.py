"""Conversions by tasks: the files are those of one process, and a restart does what is missing."""

from __future__ import annotations

import pathlib
import tarfile

import numpy as np
import pytest

import tfckpt
from converter.cli import main
from converter.conversion import ConversionOptions
from converter.errors import ExportError
from converter.exporting import Changes
from converter.jobs import running
from converter.jobs.planning import ConvertPlan, plan_convert
from converter.mapping.rules import Constant, Ignore, Rule, RuleSet
from converter.mapping.rules_file import to_toml
from tests.tfckpt.jobs.helpers import CountingStore, Here, counting_store, list_files

DATA = pathlib.Path(__file__).parents[1] / "data"
DIGITS = DATA / "digits" / "efficientnetv2-digits"
RULES = RuleSet(
    name="mine",
    version="1",
    rules=(
        Rule("cell/kernel", ("w_ih", "w_hh"), "IG -> GI", cut="I", order="G: i j -> j i"),
        Rule(("q", "k"), "qk", "1IO -> OI", join="O"),
        Rule("table", "table"),
    ),
    ignores=(Ignore("step", "counter"),),
    constants=(Constant("zero", 0.5, "float32", "not stored"),),
)


def write_rules(folder: pathlib.Path) -> list[str]:
    """Write a checkpoint whose tensors rules cut and join, and return the arguments that convert it."""
    generator = np.random.default_rng(1)
    shapes = {"cell/kernel": (6, 4), "q": (1, 3, 2), "k": (1, 3, 2), "table": (40, 5)}
    tensors = {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    tfckpt.save({**tensors, "step": np.int64(7)}, folder / "model")
    (folder / "rules.toml").write_text(to_toml(RULES), encoding="utf-8")
    return [str(folder / "model"), "--rules", str(folder / "rules.toml"), "--shard-size", "200B"]


def read_folder(store: CountingStore, folder: str) -> dict[str, bytes]:
    """Return the objects of a folder without the records."""
    names = [name for name in store.files.store if name.startswith(f"/{folder}/") and "/_tfckpt/" not in name]
    return {name.rpartition("/")[2]: store.get(name.lstrip("/")) for name in names}


def plan_digits(output: pathlib.Path | str, checkpoint: tfckpt.Checkpoint) -> ConvertPlan:
    """Plan the conversion of the digits to files of at most 100 kB."""
    return plan_convert(checkpoint, output, ConversionOptions(), Changes(), shard_size=100_000)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--fuse-bn", "--dtype", "float16", "--no-proof"],
        ["--num-classes", "3", "--weights", "raw", "--no-proof"],
    ],
    ids=["proved", "folded", "head"],
)
def test_files_are_those_of_one_process(options: list[str], tmp_path: pathlib.Path) -> None:
    """With the proof, and with changes that need several tensors."""
    arguments = [str(DIGITS), "--shard-size", "100KB", *options]
    assert main(["convert", *arguments, "-o", str(tmp_path / "one")]) == 0

    with counting_store() as store:
        assert main(["convert", *arguments, "-o", "counted://bucket/out", "--workers", "1"]) == 0
        assert read_folder(store, "bucket/out") == list_files(tmp_path / "one")


@pytest.mark.parametrize(("name", "part"), [("bert", ["--part", "pretraining"]), ("gpt2", [])], ids=["bert", "gpt2"])
def test_ready_networks_have_their_settings_and_tied_tensors(
    name: str, part: list[str], tmp_path: pathlib.Path
) -> None:
    """In a local folder, which another conversion may replace, records and all."""
    with tarfile.open(DATA / "families" / f"{name}.tar.xz") as archive:
        archive.extractall(tmp_path / "source", filter="data")
    folder = next(path.parent for path in (tmp_path / "source").rglob("*.index"))
    arguments = [str(folder), *part, "--shard-size", "10KB", "--no-proof"]
    assert main(["convert", *arguments, "-o", str(tmp_path / "one")]) == 0

    assert main(["convert", *arguments, "-o", str(tmp_path / "job"), "--workers", "1"]) == 0

    assert list_files(tmp_path / "job") == list_files(tmp_path / "one")
    assert main(["convert", *arguments, "-o", str(tmp_path / "job"), "--force"]) == 0
    assert not (tmp_path / "job" / "_tfckpt").exists()


def test_rules_cut_and_join_tensors_in_tasks(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last line says what was proved, as without tasks; a cost comes first."""
    arguments = write_rules(tmp_path)
    assert main(["convert", *arguments, "-o", str(tmp_path / "one")]) == 0
    expected = capsys.readouterr().out.splitlines()[-1]

    assert main(["convert", *arguments, "-o", str(tmp_path / "job"), "--workers", "1"]) == 0

    printed = capsys.readouterr()
    assert list_files(tmp_path / "job") == list_files(tmp_path / "one")
    assert printed.out.splitlines()[-1] == expected == "weights proved; layers not (converted by rules)"
    assert "writes 948 bytes to 3 files" in printed.err


def test_a_restart_does_what_is_missing(tmp_path: pathlib.Path) -> None:
    """The index is gone while files are written; a finished task takes two requests."""
    with counting_store() as store, tfckpt.open(DIGITS) as checkpoint:
        plan = plan_digits("counted://bucket/out", checkpoint)
        assert running.run(plan, Here()).ok
        running.finish(plan)
        whole = read_folder(store, "bucket/out")
        store.reset()
        assert running.run(plan, Here()).skipped == len(plan.tasks) == 3
        assert store.counts["all"] <= 2 * len(plan.tasks)
        store.files.rm_file(plan.tasks[1].output.removeprefix("counted:/"))

        executor = Here()
        report = running.run(plan, executor)

        assert (executor.count, report.skipped) == (1, len(plan.tasks) - 1)
        assert "model.safetensors.index.json" not in store.list("bucket/out")
        running.finish(plan)
        assert read_folder(store, "bucket/out") == whole


def test_a_tensor_whose_axes_stay_is_streamed(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And each byte of the source is requested once."""
    rules = RuleSet(name="mine", version="1", rules=(Rule("a", "a"), Rule("b", "b", "IO -> OI")))
    values = np.arange(1 << 17, dtype=np.float32).reshape(512, 256)
    tfckpt.save({"a": values, "b": values[:64]}, tmp_path / "model")
    largest = 0
    with counting_store() as store, tfckpt.open(store.upload(str(tmp_path / "model"))) as checkpoint:
        plan = plan_convert(
            checkpoint, tmp_path / "out", ConversionOptions(rules=rules), Changes(), shard_size=512 << 10
        )
        store.reset()
        write = running.write_tensors

        def measure(tensors: dict[str, object], metadata: object, file: object, **options: object) -> None:
            nonlocal largest
            for tensor in tensors.values():
                pieces = tensor.iterate() if tensor.iterate is not None else [tensor.make()]  # type: ignore[attr-defined]
                largest = max(largest, *(piece.nbytes for piece in pieces))
            write(tensors, metadata, file, **options)  # type: ignore[arg-type]

        assert all(running.run_task(task, piece_bytes=1 << 16) for task in plan.tasks)
        counted = store.counts["bytes"]
        monkeypatch.setattr(running, "write_tensors", measure)
        assert all(running.run_task(task, restart=False, piece_bytes=1 << 16) for task in plan.tasks)

    assert counted < 1.1 * (values.nbytes + values[:64].nbytes)
    assert largest == 1 << 16


def test_damage_is_reported_for_all_tensors(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With exit code 4, and without an index; other files are written."""
    arguments = write_rules(tmp_path)
    shard = tmp_path / "model.data-00000-of-00001"
    data = bytearray(shard.read_bytes())
    data[5] ^= 1
    data[-100] ^= 1
    shard.write_bytes(data)

    assert main(["convert", *arguments, "-o", str(tmp_path / "out"), "--workers", "1"]) == 4

    assert not (tmp_path / "out" / "model.safetensors.index.json").exists()
    errors = capsys.readouterr().err
    assert "cell/kernel" in errors
    assert "table" in errors


def test_what_is_one_file_or_no_folder_is_refused(tmp_path: pathlib.Path) -> None:
    """And so is a source in an archive, which workers cannot read in parts."""
    with tfckpt.open(DIGITS) as checkpoint:
        with pytest.raises(ExportError, match="one file"):
            plan_convert(checkpoint, tmp_path / "out", ConversionOptions(), Changes())
        with pytest.raises(ExportError, match="folder"):
            plan_digits(tmp_path / "out.safetensors", checkpoint)
        assert len(plan_digits(tmp_path / "out", checkpoint).tasks) == 3
    with tfckpt.open(DATA / "families" / "gpt2.tar.xz") as checkpoint, pytest.raises(tfckpt.StorageError):
        plan_digits(tmp_path / "out", checkpoint)
