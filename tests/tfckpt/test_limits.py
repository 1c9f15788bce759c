"""The limits: frozen, documented, with safe defaults."""

from __future__ import annotations

import dataclasses
import inspect
import re

import pytest

import tfckpt
from tfckpt import limits

FIELDS = [field.name for field in dataclasses.fields(tfckpt.Limits)]


@pytest.mark.parametrize("name", FIELDS)
def test_every_limit_has_its_reason_in_a_comment(name: str) -> None:
    """The comment is directly above the field in the source."""
    source = inspect.getsource(tfckpt.Limits)

    assert re.search(rf"#: .+\n( *#: .+\n)* *{name}: int", source), f"{name} has no comment that begins with #:"


@pytest.mark.parametrize("name", FIELDS)
def test_every_default_is_a_positive_number(name: str) -> None:
    """No limit is disabled by default."""
    assert getattr(limits.DEFAULT_LIMITS, name) > 0
    assert getattr(tfckpt.Limits(), name) == getattr(limits.DEFAULT_LIMITS, name)


def test_limits_are_keyword_only_and_frozen() -> None:
    """All readers of a checkpoint share one record."""
    small = tfckpt.Limits(max_slices=7)

    assert small.max_slices == 7
    assert small.max_shards == tfckpt.Limits().max_shards
    with pytest.raises(dataclasses.FrozenInstanceError):
        small.max_slices = 8  # type: ignore[misc]  # what is tested
    with pytest.raises(TypeError):
        tfckpt.Limits(7)  # type: ignore[call-arg]  # what is tested


def test_claim_at_the_limit_is_accepted_and_one_more_is_refused() -> None:
    """The error has the limit's name, both numbers, and the location of the claim."""
    small = tfckpt.Limits(max_slices=7)

    limits.check_limit(small, "max_slices", 7, "too many slices")
    with pytest.raises(tfckpt.LimitExceededError) as caught:
        limits.check_limit(small, "max_slices", 8, "too many slices", path="model.index", offset=3)

    assert (caught.value.limit, caught.value.maximum, caught.value.claimed) == ("max_slices", 7, 8)
    assert (caught.value.path, caught.value.offset) == ("model.index", 3)
