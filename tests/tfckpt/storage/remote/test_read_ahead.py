"""Which pieces are fetched for a list of ranges, in which order, and how much is held."""

from __future__ import annotations

import os
import threading

import pytest

from tfckpt.errors import StorageError
from tfckpt.storage.remote.read_ahead import HELD_BYTES, MAX_GAP_BYTES, Fetchable, Piece, ReadAhead, join_ranges
from tfckpt.storage.remote.transport import Part

PIECE = 1000
FAR = MAX_GAP_BYTES + PIECE


class File(Fetchable):
    """A file of zeros that records what is fetched."""

    def __init__(self, name: str, *, size: int = 1 << 60) -> None:
        super().__init__()
        self.name = name
        self.size = size
        self.fetched: list[tuple[int, int]] = []

    def fetch(self, offset: int, length: int) -> Part:
        """Return a part without content, so that the test needs no memory."""
        self.fetched.append((offset, length))
        if offset + length > self.size:
            raise StorageError("past the end")
        return Part(offset, memoryview(b""), None)


def pieces_of(*batches: list[tuple[int, int]]) -> list[tuple[int, int, int, int]]:
    """Return offset, stop, first and last batch of the pieces for ranges of one file."""
    file = File("a")
    pieces = join_ranges(([(file, offset, length) for offset, length in batch] for batch in batches), PIECE)
    return [(piece.offset, piece.stop, piece.first, piece.last) for piece in pieces]


@pytest.mark.parametrize(
    ("batches", "joined"),
    [
        ([[]], []),
        ([[(0, 10), (10, 10)]], [(0, 20, 0, 0)]),
        ([[(20, 5), (0, 10)]], [(0, 25, 0, 0)]),
        ([[(0, 10), (11 + MAX_GAP_BYTES, 5)]], [(0, 10, 0, 0), (11 + MAX_GAP_BYTES, 16 + MAX_GAP_BYTES, 0, 0)]),
        ([[(0, 100), (10, 5)]], [(0, 100, 0, 0)]),
        ([[(0, 0), (5, -1), (-5, 10)]], []),
        ([[(0, 2 * PIECE + 1)]], [(0, PIECE, 0, 0), (PIECE, 2 * PIECE, 0, 0), (2 * PIECE, 2 * PIECE + 1, 0, 0)]),
        ([[(0, 10)], [(10, 10)]], [(0, 20, 0, 1)]),
        ([[(0, 900)], [(900, 900)]], [(0, PIECE, 0, 1), (PIECE, 1800, 1, 1)]),
        ([[(n, 1)] for n in range(20)], [(0, 9, 0, 8), (9, 18, 9, 17), (18, 20, 18, 19)]),
        ([[(0, 10)], [(FAR, 10)], [(10, 10)]], [(0, 10, 0, 0), (FAR, FAR + 10, 1, 1), (10, 20, 2, 2)]),
    ],
    ids=["none", "adjoining", "order", "gap", "inside", "empty", "large", "next batch", "rest", "span", "later batch"],
)
def test_neighbours_become_one_piece(
    batches: list[list[tuple[int, int]]], joined: list[tuple[int, int, int, int]]
) -> None:
    """In a batch and the one before; larger ranges are divided, and every piece has the batches that need it."""
    assert pieces_of(*batches) == joined


def test_range_that_claims_exabytes_ends_with_the_first_failure() -> None:
    """The rest of the file is left to the reads, and other files are still fetched."""
    claim, sound = File("a", size=10), File("b")
    ahead = ReadAhead(join_ranges([[(claim, 0, 1 << 62)], [(sound, 0, 10)]], 1 << 20), 2)
    ahead.close()

    assert claim.has_failed
    assert len(claim.fetched) <= HELD_BYTES >> 20
    assert not claim.held and not sound.held


def test_what_is_held_is_bounded_and_released_in_order() -> None:
    """Reading a piece makes room for later ones, and each is fetched once."""
    file, piece_bytes = File("a"), 8 << 20
    count = 100
    ahead = ReadAhead(join_ranges([[(file, n * piece_bytes, piece_bytes)] for n in range(count)], piece_bytes), 8)
    most = 0
    for number in range(count):
        piece = next(piece for piece in file.held.values() if piece.offset == number * piece_bytes)
        assert piece.wait() is not None
        most = max(most, sum(map(len, file.held.values())))
    ahead.close()

    assert sorted(file.fetched) == [(number * piece_bytes, piece_bytes) for number in range(count)]
    assert 8 * piece_bytes < most <= HELD_BYTES
    assert not file.held


def test_reads_that_were_not_announced_make_room() -> None:
    """A reader that leaves out everything that is held is served again later."""
    file, piece_bytes = File("a"), 8 << 20
    batches = [[(file, number * piece_bytes, piece_bytes)] for number in range(100)]
    ahead = ReadAhead(join_ranges(batches, piece_bytes), 8)
    for _ in range(50):
        ahead.skip()

    assert any(piece.offset == 55 * piece_bytes for piece in file.held.values())
    ahead.close()


def test_child_process_does_not_wait_for_threads_of_its_parent() -> None:
    """A piece that was under way at the fork never arrives there, so the child fetches the bytes itself."""
    arrived, answer = threading.Event(), threading.Event()

    class Slow(File):
        def fetch(self, offset: int, length: int) -> Part:
            arrived.set()
            answer.wait(10)
            return super().fetch(offset, length)

    file = Slow("a")
    ahead = ReadAhead(join_ranges([[(file, 0, 10)]]), 1)
    arrived.wait(10)
    (piece,) = file.held.values()
    child = os.fork()
    if child == 0:  # pragma: no cover  # coverage does not see the child
        os._exit(0 if _ends_quickly(piece, ahead) else 1)
    answer.set()
    _, status = os.waitpid(child, 0)
    ahead.close()

    assert os.waitstatus_to_exitcode(status) == 0


def _ends_quickly(piece: Piece, ahead: ReadAhead) -> bool:
    ahead.advance(5)
    ahead.skip()
    part = piece.wait()
    ahead.close()
    return part is None
