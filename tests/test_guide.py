"""docs/guide.md and docs/guide.zh.md: their commands print what they show, and both say the same."""

from __future__ import annotations

import itertools
import pathlib
import re
import shutil

import numpy as np
import pytest

from converter.libraries import tables
from converter.model.architectures import EFFICIENTNET_V2

from .console import find_destination, is_installed, run_page

ROOT = pathlib.Path(__file__).parents[1]
GUIDE, CHINESE = ((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("guide.md", "guide.zh.md"))
_FENCE = re.compile(r"^```\w*\n.*?^```$", re.DOTALL | re.MULTILINE)


def read_rows(name: str, page: str) -> list[list[str]]:
    """Return the cells of a marked table, without its head."""
    table = page.split(f"<!-- {name} -->\n")[1].split(f"<!-- /{name} -->", maxsplit=1)[0]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_commands_and_examples_print_what_is_shown(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, run_all: bool
) -> None:
    """In their order, beside the folder of examples; programs, which take long, are written with `--all` only."""
    pytest.importorskip("torch", reason="converts and proves")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))

    def is_run(text: str) -> bool:
        if " export " in text:
            return run_all and is_installed(find_destination(text))
        return ".onnx" not in text or (run_all and is_installed(".onnx"))

    run = run_page(GUIDE, is_run=is_run)

    verbs = {tuple(command.split()[:2]) for command in run.commands}
    assert {verb for program, verb in verbs if program == "tf2torch"} >= {
        "bench",
        "convert",
        "evaluate",
        "plan",
        "revert",
        "verify",
    }


def test_both_languages_have_the_same_chapters_and_code() -> None:
    """Headings of the same levels in the same order, the same blocks of code, tables of the same size, and links."""

    def outline(page: str) -> list[str]:
        return re.findall(r"^#+(?= )", _FENCE.sub("", page), re.MULTILINE)

    def table_sizes(page: str) -> list[int]:
        rows = [line.count("|") * line.startswith("|") for line in _FENCE.sub("", page).splitlines()]
        return [len(list(run)) for columns, run in itertools.groupby(rows) if columns]

    def targets(page: str) -> list[str]:
        return sorted(re.findall(r"\]\(([\w./:-]+)", page))

    assert outline(CHINESE) == outline(GUIDE)
    assert _FENCE.findall(CHINESE) == _FENCE.findall(GUIDE)
    assert table_sizes(CHINESE) == table_sizes(GUIDE)
    assert [name.replace("guide.md", "guide.zh.md") for name in targets(CHINESE)] == targets(GUIDE)


@pytest.mark.parametrize("page", [GUIDE, CHINESE], ids=["English", "Chinese"])
def test_tables_are_those_of_the_code(page: str) -> None:
    """The stages of S, and the scales of all networks of version 2."""
    stages = EFFICIENTNET_V2["efficientnetv2-s"].stages
    assert read_rows("stages", page) == [
        [
            str(number),
            "MBConv" if stage.block == "mbconv" else read_rows("stages", page)[0][1],
            str(stage.repeats),
            f"{stage.kernel}×{stage.kernel}",
            str(stage.stride),
            str(stage.expansion),
            f"{stage.se_ratio:g}" if stage.se_ratio else "",
            str(stage.out_channels),
        ]
        for number, stage in enumerate(stages)
    ]
    shown = read_rows("scales", page)
    assert [row[0] for row in shown] == ["B0", "B1", "B2", "B3", "S", "M", "L", "XL"]
    for name, *cells in shown:
        config = EFFICIENTNET_V2[f"efficientnetv2-{name.lower()}"]
        blocks = [block.config.block for block in config.blocks()]
        assert cells == [
            str(blocks.count("fused")),
            str(blocks.count("mbconv")),
            ", ".join(str(stage.out_channels) for stage in config.stages),
            f"{config.train_size}, {config.eval_size}",
            f"{config.dropout:g}",
            f"{config.parameter_count():,}",
        ]


def test_names_are_those_of_the_tables(digits: pathlib.Path) -> None:
    """TensorFlow's become ours, and ours become those of timm and torchvision."""
    import converter

    result = converter.convert(digits)
    ours = {record.variable: record.target for record in result.report.tensors}
    shown = read_rows("names", GUIDE)

    assert result.config is not None
    libraries = [
        tables.map_to_library(table, result.config, name)
        for table, name in ((tables.TIMM, "timm"), (tables.TORCHVISION, "torchvision"))
    ]
    for source, *names in shown:
        target = ours[f"efficientnetv2-digits/{source}"]
        assert names == [target, *(library[target] for library in libraries)]
    assert read_rows("names", CHINESE) == shown


def test_pictures_are_drawn_from_the_code() -> None:
    """`python -m tests.pictures` writes them."""
    from . import pictures

    for name, text in pictures.PICTURES.items():
        assert (pictures.FOLDER / name).read_text(encoding="utf-8") == text


def test_differences_have_the_size_that_is_shown(digits: pathlib.Path) -> None:
    """Each wrong setting, in float64 on 50 digits, within a factor of three."""
    torch = pytest.importorskip("torch", reason="runs the network")
    import converter

    with np.load(ROOT / "examples" / "digits-test.npz") as data:
        pixels = (data["images"][:50].repeat(4, axis=1).repeat(4, axis=2).astype(np.float64) - 8) / 8
    images = torch.from_numpy(pixels)[:, None].expand(-1, 3, -1, -1)
    results = {weights: converter.convert(digits, weights=weights) for weights in ("ema", "raw")}

    def load(weights: str = "ema") -> torch.nn.Module:
        return converter.load_model(results[weights]).double()

    epsilon, padding = load(), load()
    for module in epsilon.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 1e-5
    for module in padding.modules():
        if isinstance(module, torch.nn.Conv2d) and module.stride[0] == 2:
            # what a convolution of torch with symmetric padding computes
            side = module.kernel_size[0] // 2
            module.forward = lambda x, module=module, side=side: torch.nn.functional.conv2d(
                x, module.weight, None, module.stride, side, 1, module.groups
            )
    with torch.inference_mode():
        expected = load()(images)
        outputs = [
            load().float()(images.float()),
            load().half().double()(images),
            epsilon(images),
            load("raw")(images),
            load().train()(images),
            padding(images),
            load()((images + 1) / 2),
        ]
    measured = [float((output - expected).abs().max() / expected.abs().max()) for output in outputs]

    shown = [float(row[1]) for row in read_rows("differences", GUIDE)]
    assert len(shown) == len(measured)
    assert [round(a / b, 3) for a, b in zip(shown, measured, strict=True) if not 1 / 3 < a / b < 3] == []
    assert [row[1] for row in read_rows("differences", CHINESE)] == [row[1] for row in read_rows("differences", GUIDE)]
