"""The entries of an index, with limits on their total size."""

from __future__ import annotations

import pytest

from tests import builders
from tfckpt.bundle.entry import BundleEntry, BundleHeader
from tfckpt.bundle.listing import Listing, check_slice_keys
from tfckpt.errors import LimitExceededError
from tfckpt.limits import DEFAULT_LIMITS, Limits

HALVES: list[builders.Extents] = [[(0, 1)], [(1, 1)]]


def make_entry(*slices: builders.Extents) -> BundleEntry:
    """Return the entry of a tensor of two elements, with these slices."""
    data = builders.entry_proto(builders.FLOAT, [2], size=8, slices=slices)
    return BundleEntry.decode(data, BundleHeader(1, False, 1), DEFAULT_LIMITS)


def make_listing(keys: list[bytes], limits: Limits, *slices: builders.Extents) -> Listing:
    """Return a listing of these keys, each of a tensor with these slices."""
    listing = Listing(limits)
    for key in keys:
        listing.add(key, make_entry(*slices))
    return listing


def test_too_many_entries_and_name_bytes_are_refused() -> None:
    """The limits apply to all entries together; their own values are allowed."""
    keys = [b"aa", b"bb", b"cc"]
    assert list(make_listing(keys, Limits(max_entries=3, max_key_bytes=6)).without_slices()) == keys

    with pytest.raises(LimitExceededError) as caught:
        make_listing(keys, Limits(max_entries=2))
    assert (caught.value.limit, caught.value.claimed) == ("max_entries", 3)
    with pytest.raises(LimitExceededError) as caught:
        make_listing(keys, Limits(max_key_bytes=5))
    assert (caught.value.limit, caught.value.claimed) == ("max_key_bytes", 6)


def test_too_many_slices_are_refused() -> None:
    """The limit applies to the number of slices minus the number of entries."""
    keys = [b"a", b"b", b"c"]
    make_listing(keys, Limits(max_slices=3), *HALVES)

    with pytest.raises(LimitExceededError) as caught:
        make_listing(keys, Limits(max_slices=2), *HALVES)

    assert (caught.value.limit, caught.value.claimed) == ("max_slices", 3)


def test_too_long_keys_of_slices_are_refused() -> None:
    """The key of each slice contains the name of the tensor."""
    check_slice_keys(b"abc", make_entry(*HALVES), Limits(max_key_bytes=6))

    with pytest.raises(LimitExceededError) as caught:
        check_slice_keys(b"abc", make_entry(*HALVES), Limits(max_key_bytes=5))

    assert (caught.value.limit, caught.value.claimed) == ("max_key_bytes", 6)


def test_entries_of_slices_are_identified_by_their_parents() -> None:
    """A key that looks like a slice's but belongs to no parent is an ordinary tensor."""
    claimed = builders.slice_key(b"w", HALVES[0])
    other = builders.slice_key(b"v", HALVES[0])
    listing = make_listing([claimed, other], DEFAULT_LIMITS)
    listing.add(b"w", make_entry(*HALVES))

    assert list(listing.without_slices()) == [other, b"w"]
