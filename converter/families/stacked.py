"""Block ids of code bases that number blocks within stacks, such as `2/block_0` or `2_block0`; a stack is a stage."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..model.config import EfficientNetConfig


class StackedIds(NamedTuple):
    """The ids of one code base; `separator` is between the number of the stack and that of the block."""

    separator: str

    def sort(self, ids: Iterable[str]) -> list[str]:
        """Return all ids: stacks from 0 to the last, each from its block 0 to its last block."""
        repeats: dict[int, int] = {}
        for stack, _, number in (block_id.partition(self.separator) for block_id in ids):
            repeats[int(stack)] = max(repeats.get(int(stack), 0), int(number) + 1)
        stacks = range(max(repeats, default=-1) + 1)
        return [f"{stack}{self.separator}{number}" for stack in stacks for number in range(repeats.get(stack, 1))]

    def find_stage(self, block_id: str) -> int:
        """Return the stage of a block."""
        return int(block_id.partition(self.separator)[0])

    def list_all(self, config: EfficientNetConfig) -> list[str]:
        """Return the ids of a network's blocks in order."""
        return [f"{block.stage}{self.separator}{block.position}" for block in config.blocks()]
