"""What every module that writes a destination gets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

from .subject import Subject
from .tracing import Traced

#: The ONNX opset that is written unless another is requested, and those that torch.onnx writes; for an older one it
#: would write 18 without a word.
OPSET = 20
OLDEST_OPSET, NEWEST_OPSET = 18, 23


#: The name under which a file of several parts stores the metadata: a JSON object of strings.
METADATA_FILE = "tf2torch.json"

#: How Python source is written: layers of `torch.nn` in channels-first layout, or one call an operation.
Style: TypeAlias = Literal["modules", "plain"]


class Job(NamedTuple):
    """A traced module to be written, with the metadata for the file: strings by name."""

    subject: Subject
    traced: Traced
    metadata: Mapping[str, str]
    opset: int = OPSET
    style: Style = "modules"

    def format_metadata(self) -> str:
        """Return the metadata as JSON text, with the names of inputs and outputs, which formats for phones lack."""
        names = {"inputs": [argument.name for argument in self.subject.arguments], "outputs": self.subject.outputs}
        return json.dumps({**self.metadata, "tf2torch.names": json.dumps(names)})
