"""Fuzz one target with atheris, guided by coverage, or all targets in turn.

    python -m tests.fuzz.run --seconds 60              all targets, each in its own process
    python -m tests.fuzz.run --target index --seconds 600

The seeds are the committed fixtures; with `--corpus`, inputs that reach new code are kept in that folder.
An input that leads to a finding is kept in the current folder, under the name that libFuzzer prints.
"""

from __future__ import annotations

import argparse
import importlib
import pathlib
import pkgutil
import subprocess
import sys
import tempfile

MISSING = """\
atheris is not installed: pip install 'tfckpt[fuzz]'
Its wheels are for CPython 3.11 and later on Linux; elsewhere, python -m tests.fuzz.mutate only needs Python."""
#: In bytes: the largest seeds fit, with room to grow.
_MAX_INPUT_SIZE = 1 << 17
_MEMORY_MB = 2048
_SECONDS_PER_INPUT = 10


def fuzz(name: str, seconds: int, corpus: pathlib.Path, seed: int) -> None:
    """Fuzz one target; libFuzzer exits the process."""
    import atheris

    import converter
    import tfckpt

    with atheris.instrument_imports(include=["tfckpt", "converter"]):
        for package in (tfckpt, converter):  # import all modules: the packages import them lazily
            for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
                if not module.name.endswith("__main__"):
                    importlib.import_module(module.name)
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]
    for number, data in enumerate(target.seeds()):
        (corpus / f"seed-{number:03d}").write_bytes(data)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={_MAX_INPUT_SIZE}",
        f"-rss_limit_mb={_MEMORY_MB}",
        f"-timeout={_SECONDS_PER_INPUT}",
        f"-seed={seed}",
        "-print_final_stats=1",
        "-verbosity=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], lambda data: target.run(bytes(data)))
    atheris.Fuzz()


def main() -> int:
    """Fuzz one target in this process, or each in its own; return 1 if there was a finding."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__)
    parser.add_argument("--target", help="run only this target")
    parser.add_argument("--seconds", type=int, default=60, help="time for each target (default: 60)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=pathlib.Path, help="folder for inputs that reach new code")
    options = parser.parse_args()
    try:
        import atheris  # noqa: F401
    except ImportError:
        print(MISSING, file=sys.stderr)
        return 2
    if options.target is not None:
        with tempfile.TemporaryDirectory() as temporary:
            corpus = pathlib.Path(temporary) if options.corpus is None else options.corpus / options.target
            corpus.mkdir(parents=True, exist_ok=True)
            fuzz(options.target, options.seconds, corpus, options.seed)
        return 0
    from tests.fuzz.targets import TARGETS

    failed = []
    for name in TARGETS:
        command = [sys.executable, "-m", "tests.fuzz.run", "--target", name]
        command += ["--seconds", str(options.seconds), "--seed", str(options.seed)]
        if options.corpus is not None:
            command += ["--corpus", str(options.corpus)]
        print(f"== {name}", file=sys.stderr, flush=True)
        if subprocess.run(command, check=False).returncode != 0:
            failed.append(name)
    print(f"{len(TARGETS)} targets, findings in: {', '.join(failed) or 'none'}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
