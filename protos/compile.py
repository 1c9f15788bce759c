"""Compile the .proto files in this folder to tfckpt/descriptors.binpb (`make protos`).

The result is a FileDescriptorSet without source locations; `tfckpt/protos.py` builds message classes from it.
With --check nothing is written, and the exit code is 1 if the committed file is out of date.
"""

from __future__ import annotations

import pathlib
import sys
import tempfile

from google.protobuf import descriptor_pb2
from grpc_tools import protoc

SOURCES = pathlib.Path(__file__).parent
TARGET = SOURCES.parent / "tfckpt" / "descriptors.binpb"


def compile_protos() -> bytes:
    """Return the serialized FileDescriptorSet of all .proto files, imports first."""
    names = sorted(path.name for path in SOURCES.glob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "set.binpb"
        code = protoc.main(["protoc", f"-I{SOURCES}", f"--descriptor_set_out={out}", "--include_imports", *names])
        if code:
            raise SystemExit(code)
        return out.read_bytes()


def main(arguments: list[str]) -> int:
    """Write or check the file, and return the exit code."""
    compiled = compile_protos()
    if arguments == ["--check"]:
        parse = descriptor_pb2.FileDescriptorSet.FromString
        if TARGET.exists() and parse(TARGET.read_bytes()) == parse(compiled):
            return 0
        print(f"{TARGET.name} is out of date; run: make protos", file=sys.stderr)
        return 1
    if arguments:
        print("usage: compile.py [--check]", file=sys.stderr)
        return 2
    TARGET.write_bytes(compiled)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
