"""Cells of recurrent networks as single operations, and the decoding of their classes.

Source: the formulas in the documentation of `tf.raw_ops.LSTMBlockCell`, `BlockLSTM` and `GRUBlockCell`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from converter.engine.registry import Call, op
from converter.engine.values import Tensor, Value, to_array, to_dtype, to_int, to_tensor, to_tensors

_GATES = ("i", "cs", "f", "o", "ci", "co", "h")


def _step(
    x: Tensor, state: tuple[Tensor, Tensor], weights: Sequence[Tensor], *, order: str, forget: float, clip: float
) -> tuple[Tensor, ...]:
    """Return the seven values of a step; `weights` are the matrix, three peepholes and the bias."""
    cell, hidden = state
    matrix, peep_i, peep_f, peep_o, bias = weights
    gates = dict(zip(order, (torch.cat([x, hidden], 1) @ matrix + bias).chunk(4, 1), strict=True))
    enter = torch.sigmoid(gates["i"] + cell * peep_i)
    keep = torch.sigmoid(gates["f"] + forget + cell * peep_f)
    new = torch.tanh(gates["c"])
    cell = new * enter + cell * keep
    cell = cell.clamp(-clip, clip) if clip > 0 else cell
    leave = torch.sigmoid(gates["o"] + cell * peep_o)
    shown = torch.tanh(cell)
    return enter, cell, keep, leave, new, shown, shown * leave


def _read_weights(call: Call, inputs: Sequence[Value]) -> list[Tensor]:
    matrix, *peepholes, bias = to_tensors(call.dtype, *inputs)
    used = call.flag("use_peephole")
    return [matrix, *(weight if used else torch.zeros_like(weight) for weight in peepholes), bias]


@op("LSTMBlockCell", outputs=_GATES)
def lstm_cell(call: Call, *inputs: Value) -> tuple[Value, ...]:
    """Compute one step of an LSTM."""
    x, cell, hidden = to_tensors(call.dtype, *inputs[:3])
    forget, clip = float(call.get("forget_bias", 1.0)), float(call.get("cell_clip", 3.0))
    return _step(x, (cell, hidden), _read_weights(call, inputs[3:]), order="icfo", forget=forget, clip=clip)


@op("BlockLSTM", "BlockLSTMV2", outputs=_GATES)
def lstm(call: Call, *inputs: Value) -> tuple[Value, ...]:
    """Compute all steps of an LSTM; after the longest sequence everything is zero, where TensorFlow sets nothing."""
    x, cell, hidden = to_tensors(call.dtype, *inputs[1:4])  # time, batch, features
    is_second = call.op.endswith("V2")
    order = "ifco" if is_second else "icfo"
    forget = 0.0 if is_second else float(call.get("forget_bias", 1.0))
    clip = float(call.get("cell_clip", 0.0 if is_second else 3.0))
    weights = _read_weights(call, inputs[4:])
    steps = min(to_int(inputs[0]), x.shape[0])
    results = []
    for time in range(steps):
        results.append(_step(x[time], (cell, hidden), weights, order=order, forget=forget, clip=clip))
        cell, hidden = results[-1][1], results[-1][6]
    zeros = x.new_zeros([x.shape[0] - steps, *cell.shape])
    stacked = [torch.stack(values) for values in zip(*results, strict=True)] if results else [zeros] * 7
    return tuple(torch.cat([values, zeros]) if steps and steps < x.shape[0] else values for values in stacked)


@op("GRUBlockCell", outputs=("r", "u", "c", "h"))
def gru_cell(call: Call, *inputs: Value) -> tuple[Value, ...]:
    """Compute one step of a GRU."""
    x, hidden, gates, candidate, gates_bias, candidate_bias = to_tensors(call.dtype, *inputs)
    reset, update = torch.sigmoid(torch.cat([x, hidden], 1) @ gates + gates_bias).chunk(2, 1)
    new = torch.tanh(torch.cat([x, hidden * reset], 1) @ candidate + candidate_bias)
    return reset, update, new, update * hidden + (1 - update) * new


@op("CTCGreedyDecoder", outputs=("decoded_indices", "decoded_values", "decoded_shape", "log_probability"))
def decode_greedily(call: Call, inputs: Value, lengths: Value) -> tuple[Value, ...]:
    """Return the best class of each step without blanks, as a sparse tensor, and minus the sum of the best logits."""
    logits = to_tensor(inputs, call.dtype)  # time, batch, classes
    steps = to_array(lengths).tolist()
    blank = int(call.get("blank_index", -1)) % logits.shape[2]
    best, classes = logits.max(-1)
    merge = call.flag("merge_repeated")
    rows: list[list[int]] = []
    found: list[int] = []
    for batch, count in enumerate(steps):
        before, place = -1, 0
        for chosen in classes[:count, batch].tolist():
            if chosen != blank and not (merge and chosen == before):
                rows.append([batch, place])
                found.append(chosen)
                place += 1
            before = chosen
    width = max((column for _, column in rows), default=-1) + 1
    mask = torch.arange(logits.shape[0])[:, None] < torch.tensor(steps)
    total = torch.where(mask, best, torch.zeros_like(best)).sum(0)
    return (
        torch.tensor(rows, dtype=torch.int64).reshape(-1, 2),
        torch.tensor(found, dtype=torch.int64),
        torch.tensor([len(steps), width], dtype=torch.int64),
        to_dtype(-total[:, None], call.dtype),
    )
