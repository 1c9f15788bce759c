"""All entries of an index together, within the limits."""

from __future__ import annotations

import pytest

from tests import builders
from tfckpt.bundle.entry import BundleEntry, BundleHeader
from tfckpt.bundle.listing import Listing, check_slice_keys
from tfckpt.errors import LimitExceededError
from tfckpt.limits import DEFAULT_LIMITS, Limits

HALVES: list[builders.Extents] = [[(0, 1)], [(1, 1)]]


def entry(*slices: builders.Extents) -> BundleEntry:
    """A tensor of two elements, in these slices."""
    data = builders.entry_proto(builders.FLOAT, [2], size=8, slices=slices)
    return BundleEntry.decode(data, BundleHeader(1, False, 1), DEFAULT_LIMITS)


def listing(keys: list[bytes], limits: Limits, *slices: builders.Extents) -> Listing:
    """A listing of these keys, each of a tensor in these slices."""
    found = Listing(limits)
    for key in keys:
        found.add(key, entry(*slices))
    return found


def test_entries_and_names_over_the_limit_are_refused_by_name() -> None:
    """Together, whatever blocks they came from; the limits themselves are allowed."""
    keys = [b"aa", b"bb", b"cc"]
    assert list(listing(keys, Limits(max_entries=3, max_key_bytes=6)).without_slices()) == keys

    with pytest.raises(LimitExceededError, match=r"too many entries.*max_entries=2"):
        listing(keys, Limits(max_entries=2))
    with pytest.raises(LimitExceededError, match=r"too many bytes of names.*max_key_bytes=5"):
        listing(keys, Limits(max_key_bytes=5))


def test_slices_over_the_limit_are_refused_by_name() -> None:
    """Those that tensors claim beyond the entries that are there: one slice each is less than one can have."""
    keys = [b"a", b"b", b"c"]
    listing(keys, Limits(max_slices=3), *HALVES)

    with pytest.raises(LimitExceededError, match=r"too many tensor slices.*max_slices=2") as caught:
        listing(keys, Limits(max_slices=2), *HALVES)

    assert caught.value.claimed == 3


def test_keys_of_slices_over_the_limit_are_refused_by_name() -> None:
    """Each slice has a key of its own that holds the name."""
    check_slice_keys(b"abc", entry(*HALVES), Limits(max_key_bytes=6))

    with pytest.raises(LimitExceededError, match=r"too long a name.*max_key_bytes=5") as caught:
        check_slice_keys(b"abc", entry(*HALVES), Limits(max_key_bytes=5))

    assert caught.value.claimed == 6


def test_entries_of_slices_are_known_by_the_keys_that_tensors_give() -> None:
    """Before their tensor or after it; one that no tensor claims is a tensor with an odd name."""
    claimed = builders.slice_key(b"w", HALVES[0])
    other = builders.slice_key(b"v", HALVES[0])
    found = listing([claimed, other], DEFAULT_LIMITS)
    found.add(b"w", entry(*HALVES))

    assert list(found.without_slices()) == [other, b"w"]
