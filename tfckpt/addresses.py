"""Addresses of remote files, and their secrets: user information, query and fragment.

::

    https://user:password@host/dir/model?token=1#part
            ~~~~~~~~~~~~~~               ~~~~~~~~~~~~
            user                         suffix

Secrets are needed for requests, but are never printed, recorded or raised: paths inside this package are plain.
`plain_address` is the only function that removes secrets, and `hide_secrets` applies it to all addresses in a text.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterator
from typing import NamedTuple

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_IN_TEXT = re.compile(rf"{_SCHEME.pattern}\S*")
_CLOSING = re.compile(r"[\"'>)\],;:.]*\Z")
#: Host and path; the question marks in the pattern of a sharded V1 checkpoint, `model-?????-of-00003`, are no query.
_LOCATION = re.compile(r"(?:[^?#]|(?<=-)\?{5,9}-of-(?=\d{5}))*")
_BAD_PORT = re.compile(r":(?!\d*\Z)[^:\]]*\Z")
#: Shorter parts of secrets occur in other words by chance, so only the complete secret is searched for.
_SHORTEST_PART = 4


class AddressParts(NamedTuple):
    """An address in parts: `scheme` ends in `://`, `user` has no `@`, `suffix` is the query and fragment."""

    scheme: str
    user: str
    location: str
    suffix: str

    @property
    def plain(self) -> str:
        """The address without secrets."""
        return self.scheme + self.location

    def full(self, plain: str) -> str:
        """Return another plain address of this scheme with the secrets of this one."""
        user = f"{self.user}@" if self.user else ""
        return f"{self.scheme}{user}{plain.removeprefix(self.scheme)}{self.suffix}"

    def is_mentioned(self, error: BaseException | None) -> bool:
        """Return whether the text of an exception, or of one that led to it, contains a secret of this address."""
        secrets = [secret for secret in (self.user, self.suffix[1:]) if secret]
        for part in re.split(r"[:?#&;=]", f"{self.user}:{self.suffix}"):
            if len(part) >= _SHORTEST_PART:
                secrets.append(part)
        secrets += [urllib.parse.unquote(secret) for secret in secrets]
        texts = [str(each) + repr(each) for each in _chain(error)] if secrets else []
        return any(secret in text for text in texts for secret in secrets)


def split_address(address: str) -> AddressParts | None:
    """Split an address; return None if the text does not begin with a scheme and `://`."""
    match = _SCHEME.match(address)
    if match is None:
        return None
    rest = address[match.end() :]
    user = ""
    # The second pass is for a password with an unescaped "/", "?" or "#", which leaves a part of it as the port.
    for split_at_last in (False, True):
        host = re.split(r"[/?#]", rest, maxsplit=1)[0]
        end = rest.rfind("@") if split_at_last and _BAD_PORT.search(host) else host.rfind("@")
        if end >= 0:
            user = f"{user}@{rest[:end]}" if user else rest[:end]
            rest = rest[end + 1 :]
    location = _LOCATION.match(rest)
    assert location is not None, "it matches the empty text"
    return AddressParts(match[0], user, location[0], rest[location.end() :])


def has_secrets(address: str) -> bool:
    """Return whether an address has user information, a query or a fragment; False for a path."""
    return plain_address(address) != address


def plain_address(address: str) -> str:
    """Return an address without user information, query and fragment; text without `://` is returned unchanged.

    What precedes the scheme is preserved, and an address inside the path of another one is treated likewise.
    """
    match = _SCHEME.search(address)
    parts = split_address(address[match.start() :]) if match else None
    if match is None or parts is None:
        return address
    return address[: match.start()] + parts.scheme + plain_address(parts.location)


def hide_secrets(text: str) -> str:
    """Return a text with every address in it made plain; an address ends at white space."""
    return _IN_TEXT.sub(lambda match: _make_plain(match[0]), text) if "://" in text else text


def _make_plain(address: str) -> str:
    """Return the plain address with the quotes and punctuation that follow the address in the text."""
    plain = plain_address(address)
    closing = _CLOSING.search(address)
    end = closing[0] if closing else ""
    return plain if plain.endswith(end) else plain + end


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    pending = [error]
    while pending:
        each = pending.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            pending += [each.__cause__, each.__context__]
            yield each
