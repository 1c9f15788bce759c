"""A ready network found in a checkpoint, and the files that its library needs beside the weights."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

from tfckpt.errors import printable

from ..errors import Shape
from .network import Recognized
from .recognition import ReadFile, recognize

#: Settings that only our own code uses.
_INTERNAL = frozenset({"own_embeddings", "own_encoder", "background", "num_labels", "auxiliary"})
_CASED = re.compile(r"(?:^|[-_/])(un)?cased(?:[-_/]|$)")


@dataclasses.dataclass(frozen=True, slots=True)
class ReadyNetwork:
    """A recognized network with the files to copy beside its weights, by the names that its library gives them."""

    recognized: Recognized
    vocabulary: Mapping[str, bytes]
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the family."""
        return self.recognized.network.name

    @property
    def title(self) -> str:
        """The name of the model's class, which the library knows."""
        return self.recognized.model

    @property
    def library(self) -> str:
        """The library whose module computes the network."""
        return self.recognized.network.library

    def build_files(self, dtype: str) -> dict[str, bytes]:
        """Return the files of a folder that the library opens, by name; `dtype` is that of the weights."""
        config = (json.dumps(self.build_config(dtype), indent=2, ensure_ascii=False) + "\n").encode()
        return {"config.json": config, **self.vocabulary}

    def build_config(self, dtype: str) -> dict[str, Any]:
        """Return the library's configuration."""
        settings = self.recognized.settings.to_dict()
        config = {
            "architectures": [self.recognized.model],
            "model_type": self.recognized.model_type,
            **{name: value for name, value in settings.items() if name not in _INTERNAL},
            "dtype": dtype,
        }
        if "num_labels" in settings:
            labels = [f"LABEL_{number}" for number in range(settings["num_labels"])]
            config["id2label"] = {str(number): label for number, label in enumerate(labels)}
            config["label2id"] = {label: number for number, label in enumerate(labels)}
        return config


def find_ready(
    variables: Mapping[str, Shape],
    read_file: ReadFile,
    *,
    path: str = "",
    scope: str | None = None,
    part: str | None = None,
) -> ReadyNetwork | None:
    """Return the ready network in a checkpoint at `path` whose variables have these names and shapes, or None.

    Errors are those of `recognize`.
    """
    recognized = recognize(variables, read_file, scope=scope, part=part)
    if recognized is None:
        return None
    contents = {name: read_file(name) for name in recognized.network.vocabulary}
    vocabulary = {
        recognized.network.vocabulary[name]: content for name, content in contents.items() if content is not None
    }
    notes = []
    if recognized.others:
        names = ", ".join(recognized.others)
        notes.append(f"the part {recognized.part.name} of the checkpoint; --part chooses another: {names}")
    if "vocab.txt" in vocabulary:
        is_cased = _CASED.search(path.lower())
        if is_cased is None:
            notes.append("the name of the folder does not say cased or uncased: set do_lower_case of the tokenizer")
        else:
            record = {"do_lower_case": is_cased[1] is not None, "tokenizer_class": "BertTokenizer"}
            vocabulary["tokenizer_config.json"] = (json.dumps(record, indent=2) + "\n").encode()
            notes.append(f"do_lower_case of the tokenizer is {record['do_lower_case']}: {printable(is_cased[0])}")
    return ReadyNetwork(recognized, vocabulary, tuple(notes))
