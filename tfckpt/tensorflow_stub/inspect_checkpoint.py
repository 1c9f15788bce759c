"""`tensorflow.python.tools.inspect_checkpoint`: print the tensors of a checkpoint."""

from __future__ import annotations

import math
import re

from ..train.errors import InternalError
from ..train.reader import CheckpointReader, NewCheckpointReader


def print_tensors_in_checkpoint_file(
    file_name: str,
    tensor_name: str | None,
    all_tensors: bool,
    all_tensor_names: bool = False,
    count_exclude_pattern: str = "",
) -> None:
    """Print names, types and shapes, the values of one tensor or of all, and the number of parameters.

    Errors are printed too, as TensorFlow does.
    """
    try:
        _print(NewCheckpointReader(file_name), tensor_name, all_tensors, all_tensor_names, count_exclude_pattern)
    except Exception as error:
        print(str(error))


def _print(reader: CheckpointReader, name: str | None, values: bool, names: bool, excluded: str) -> None:
    shapes, kinds = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    if values or names:
        for key in sorted(shapes):
            print(f"tensor: {key} ({kinds[key].name}) {shapes[key]}")
            if values:
                try:
                    print(reader.get_tensor(key))
                except InternalError:
                    print("<not convertible to a numpy dtype>")
    elif not name:
        print(reader.debug_string().decode("utf-8", errors="ignore"))
    elif not reader.has_tensor(name):
        print(f"Tensor {name} not found in checkpoint")
        return
    else:
        print(f"tensor: {name} ({kinds[name].name}) {shapes[name]}")
        print(reader.get_tensor(name))
    sizes = {key: math.prod(shape) for key, shape in shapes.items()}
    if excluded:
        left_out = [key for key in sizes if re.search(excluded, key)]
        count = sum(sizes.pop(key) for key in left_out)
        print(f"# Excluding {len(left_out)} tensors ({count} params) that match {excluded} when counting.")
    print(f"# Total number of params: {sum(sizes.values())}")
