"""docs/json.md describes the JSON of every verb: each field is in a table, and each row is seen unless optional."""

from __future__ import annotations

import json
import pathlib
import re
import shutil
from collections.abc import Iterator

import numpy as np
import pytest

import converter
import converter.cli
import tfckpt
import tfckpt.cli
from tests.conftest import DATA
from tests.in_process import run_programs_here
from tfckpt import jobs

ROOT = pathlib.Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
PROGRAMS = {"tfckpt": tfckpt.cli, "tf2torch": converter.cli}
#: Verbs without --json: `run` prints what a script prints, `plan-export` a plan, and `report` writes a page.
WITHOUT_JSON = {"tfckpt": {"run", "plan-export", "report"}, "tf2torch": set[str]()}
#: Verbs that need PyTorch.
NEEDS_TORCH = ("bench", "convert", "evaluate", "export", "inspect", "revert", "verify", "ops")
TYPES: dict[str, type | tuple[type, ...]] = {
    "text": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
#: Section -> commands whose outputs have all its fields. DATA is the folder of the test data.
COMMANDS = {
    "`tfckpt ls`": ["ls a", "ls half", "ls DATA/tensorflow/partitioned"],
    "`tfckpt ls --all`": ["ls . --all", "ls DATA/tensorflow/manager/absolute --all"],
    "`tfckpt show`": ["show a w", "show a w --stats"],
    "`tfckpt info`": ["info a", "info half", "info DATA/tensorflow/v1/saver"],
    "`tfckpt tree`": ["tree DATA/tensorflow/objects-more/legacy_optimizer", "tree a"],
    "`tfckpt graph`": ["graph DATA/savedmodel", "graph DATA/tensorflow/savedmodel-tf1"],
    "`tfckpt graph NODE`": ["graph DATA/tensorflow/v1/saver *"],
    "`tfckpt verify`": ["verify a", "verify half"],
    "`tfckpt doctor`": ["doctor a", "doctor nothing"],
    "`tfckpt diff`": ["diff a b", "diff a a"],
    "`tfckpt export`": ["export a -o x.npz --include w", "export half -o y.npz --salvage"],
    "`tfckpt run-task`": ["run-task plan.json 1", "run-task plan.json 1"],
    "`tfckpt finish`": ["finish done.json"],
    "`tfckpt clean`": ["clean ."],
    "`tfckpt scan`": [
        "scan . -o index.jsonl --workers 1",
        "scan DATA/tensorflow/savedmodel-tf2 -o graphs.jsonl --depth graph --workers 1",
    ],
    "`tfckpt cp`, `tfckpt merge`, `tfckpt set`": [
        "cp train c --ema-to-raw --dtype float16 --exclude step",
        "merge a other d",
        "set a w=w.npy -o e",
    ],
    "Conflicts of `tfckpt merge`": ["merge a a f"],
    "`tf2torch families`": ["families"],
    "`tf2torch models`": ["models"],
    "`tf2torch ops`": ["ops"],
    "`tf2torch ops NAME`": ["ops Conv2D Nothing"],
    "`tf2torch evaluate`": [
        "evaluate digits.safetensors --data digits.npz --against DATA/digits/efficientnetv2-digits"
    ],
    "`tf2torch bench`": ["bench digits.safetensors --size 32 --runs 1"],
    "`tf2torch export`": ["export DATA/tensorflow/savedmodel-tf2 -o model.pt2"],
    "`tf2torch inspect`": ["inspect DATA/tensorflow/savedmodel-tf1"],
    "`tf2torch plan`": ["plan DATA/digits/efficientnetv2-digits", "plan DATA/families/bert.tar.xz"],
    "`tf2torch bench A B`": ["bench digits.safetensors digits.safetensors --data digits.npz --runs 1"],
    "`tf2torch revert`": [
        "revert digits.safetensors -o reverted --like DATA/digits/efficientnetv2-digits --with-averages"
    ],
    "`tf2torch plan --rules`": [
        "plan kinds --rules kinds.toml --into kinds:Module",
        "plan kinds --rules two.toml --into kinds:Module",
    ],
    "`tf2torch convert`": ["convert DATA/digits/efficientnetv2-digits -o new.safetensors"],
    "`tf2torch verify`": [
        "verify DATA/digits/efficientnetv2-digits digits.safetensors --golden DATA/digits/probe.npz",
        "verify DATA/digits/efficientnetv2-digits raw.safetensors --weights ema --weights-only",
    ],
    "`tf2torch verify OUT`": ["verify digits.safetensors", "verify half.safetensors"],
}
#: Rules of every kind for the module `kinds`, of which some leave findings.
RULES = """\
name = "kinds"

[[rule]]
source = "both"
target = ["q", "k"]
layout = "IO -> IO"
cut = "I"

[[rule]]
source = ["low", "high"]
target = "joined"
layout = "IO -> IO"
join = "I"

[[rule]]
source = "gone"
target = "unknown"

[[rule]]
source = "small"
target = "wide"

[[rule]]
source = "nothing"
target = "absent"

[[ignore]]
source = "step"
reason = "counter"

[[constant]]
target = "levels"
value = [0, 1]
dtype = "float32"
reason = "two levels"

[[constant]]
target = "level"
value = 1
dtype = "float32"
reason = "one level"

[[tied]]
target = "tied"
as = "q"
"""
MODULE = """\
import numpy as np

SHAPES = dict(q=(2, 2), k=(2, 2), joined=(4, 2))
SHAPES |= dict(tied=(2, 2), levels=(4,), level=(), absent=(3,), wide=(5,), new_bias=(6,))


class Module:
    def state_dict(self):
        return {name: np.zeros(shape) for name, shape in SHAPES.items()}
"""


def read_tables() -> dict[str, dict[str, str]]:
    """Return the type of each field, by section."""
    sections = re.findall(r"^## (.*)\n((?:(?!## ).*\n?)*)", PAGE, re.MULTILINE)
    tables = {title: dict(re.findall(r"^\| `(.*?)` \| (.*?) \|", text, re.MULTILINE)) for title, text in sections}
    for title, text in sections:
        for other in re.findall(r"all fields of (`.*?`)", text):
            tables[title] |= tables[other]
    return tables


def walk(value: object, path: str, table: dict[str, str]) -> Iterator[tuple[str, object]]:
    """Yield the fields of an output with the paths that the page gives them, and each with its value."""
    if path in table and not (isinstance(value, list) and f"{path}[]" in table):
        yield path, value
    elif isinstance(value, list):
        for item in value:
            yield from walk(item, f"{path}[]", table)
        yield f"{path}[]", None
    elif isinstance(value, dict):
        is_map = any(name.startswith(f"{path}.*") for name in table)
        for name, item in value.items():
            yield from walk(item, f"{path}.*" if is_map else f"{path}.{name}".lstrip("."), table)
    else:
        yield path, value


def has_type(value: object, words: str) -> bool:
    """Return whether a value has one of the documented types; an integer is not a boolean."""
    return words.startswith("any") or any(
        isinstance(value, TYPES[word]) and (not isinstance(value, bool) or word == "boolean")
        for word in words.removesuffix(", optional").split(" or ")
    )


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with some small checkpoints."""
    folder = tmp_path_factory.mktemp("checkpoints")
    average = "w/ExponentialMovingAverage"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        tfckpt.save({"w": np.float32([1, 2]), "s": np.array([b"x"], object), "t": np.zeros(2), "u": np.zeros(2)}, "a")
        tfckpt.save({"w": np.float32([1, 3]), "t": np.zeros(3), "v": np.zeros(2)}, "b")
        tfckpt.save({"other": np.zeros(2)}, "other")
        tfckpt.save({"w": np.float32([1]), average: np.float32([2]), "step": np.int64(1)}, "train")
        tfckpt.copy("a", "half", shards=2)
        pathlib.Path("half.data-00000-of-00002").unlink()
        for name in ("plan", "done"):
            plan = jobs.plan_export("train", name)
            pathlib.Path(f"{name}.json").write_text(plan.to_json())
        jobs.run(plan, workers=1)
        pathlib.Path("x.writing-0123456789abcdef").touch()
        np.save("w.npy", np.float32([7, 8]))
        shapes = {"both": (4, 2), "low": (2, 2), "high": (2, 2), "gone": (2,), "small": (3,), "bias": (6,), "step": ()}
        tfckpt.save({name: np.zeros(shape) for name, shape in shapes.items()}, "kinds")
        pathlib.Path("kinds.py").write_text(MODULE)
        pathlib.Path("kinds.toml").write_text(RULES)
        twice = '\n[[rule]]\nsource = "smal{l}"\ntarget = "absent"\n'
        pathlib.Path("two.toml").write_text(RULES + twice)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, checkpoints: pathlib.Path) -> pathlib.Path:
    """The same folder with outputs of the digits network, and images."""
    pytest.importorskip("torch", reason="runs a network")
    folder = tmp_path_factory.mktemp("weights") / "folder"
    shutil.copytree(checkpoints, folder)
    digits = DATA / "digits" / "efficientnetv2-digits"
    result = converter.convert(digits)
    converter.export(result, folder / "digits.safetensors")
    converter.export(result, folder / "half.safetensors", dtype="float16")
    converter.export(converter.convert(digits, weights="raw"), folder / "raw.safetensors", proof="none")
    np.savez(folder / "digits.npz", images=np.zeros((2, 32, 32, 3), np.float32), labels=np.array([0, 1]))
    return folder


def test_every_verb_with_json_has_a_table() -> None:
    """And every section has commands here."""
    for name, package in PROGRAMS.items():
        verbs = set(package._COMMAND.verbs) - WITHOUT_JSON[name]
        assert set(re.findall(rf"`{name} ([\w-]+)", "".join(COMMANDS))) == verbs
    assert COMMANDS.keys() == read_tables().keys()


@pytest.fixture
def folder(
    section: str, request: pytest.FixtureRequest, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> pathlib.Path:
    """The current folder, with what the commands of a section need."""
    needs_torch = any(f" {verb}" in section for verb in NEEDS_TORCH)
    inputs: pathlib.Path = request.getfixturevalue("weights" if needs_torch else "checkpoints")
    if needs_torch:
        run_programs_here(monkeypatch)
    shutil.copytree(inputs, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("section", COMMANDS)
def test_output_has_the_documented_fields(
    section: str, folder: pathlib.Path, data: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each has a documented type, and each row that is not optional is in one of the outputs."""
    table = read_tables()[section]
    seen: set[str] = set()

    program = PROGRAMS["tf2torch" if "tf2torch" in section else "tfckpt"]
    for command in COMMANDS[section]:
        program.main([*command.replace("DATA", str(data)).replace("ROOT", str(ROOT)).split(), "--json"])
        output = json.loads(capsys.readouterr().out)
        assert output.pop("schema_version") == 1
        fields = list(walk(output, "", table))
        wrong = [(path, value) for path, value in fields if path in table and not has_type(value, table[path])]
        assert [pair for pair in wrong if pair[1] is not None or not pair[0].endswith("[]")] == []
        unknown = {path for path, value in fields if path not in table and value is not None}
        assert unknown == set()
        required = {path.split(".")[0].split("[")[0] for path, words in table.items() if "optional" not in words}
        assert required <= output.keys()
        seen |= {path for path, _ in fields}

    assert {path for path, words in table.items() if "optional" not in words} <= seen
