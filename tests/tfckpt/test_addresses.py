"""Secrets of addresses: user information, query and fragment appear in no message, report, record or JSON."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pathlib
import pickle
import string
import traceback
from collections.abc import Callable, Iterator

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tfckpt
from converter.cli import main as convert_main
from tests import builders
from tests.contracts.places import tar_of
from tests.contracts.server import Handler, Server, serving
from tfckpt.addresses import hide_secrets, plain_address, split_address
from tfckpt.cli import main
from tfckpt.errors import CheckpointError, StorageError, abridged
from tfckpt.finding.state_file import read_state
from tfckpt.storage.locate import Options, locate
from tfckpt.train.errors import OpError, as_tensorflow

#: A text that occurs in nothing else.
SECRET = st.text(string.ascii_letters + string.digits + "-._~$&'()*+,;=é€%", min_size=8, max_size=30).map(
    lambda text: f"Zq7{text}x9Z"
)
SCHEMES = ("http", "https", "ftp", "s3", "gs", "memory", "nosuch")
BUNDLE = builders.Bundle().add("t", builders.FLOAT, [1], b"\0\0\x80?")
FILES = {"dir/model.index": BUNDLE.index(), "dir/model.data-00000-of-00001": bytes(BUNDLE.shards[0])}


class TokenFileSystem(MemoryFileSystem):
    """A file system whose addresses have user information and a query, and whose errors repeat them."""

    protocol = "token"
    cachable = False

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, str]:
        return {"user": path}

    def __init__(self, user: str = "", **options: object) -> None:
        super().__init__()
        self.user = user

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        parts = split_address(path)
        return f"/{parts.location}" if parts is not None else path

    def info(self, path: str, **options: object) -> dict[str, object]:
        """Fail like a client that shows its URL."""
        if "denied" in path:
            raise OSError(f"403 for {self.user.partition('://')[2]}")
        facts: dict[str, object] = super().info(path)
        return facts


@pytest.fixture
def server() -> Iterator[Server]:
    """A server with one checkpoint, also in an archive."""
    with serving({**FILES, "all.tgz": tar_of(FILES, "w:gz")}) as running:
        yield running


@pytest.fixture
def token_system() -> Iterator[MemoryFileSystem]:
    """A checkpoint in a file system that needs a token."""
    fsspec.register_implementation("token", TokenFileSystem, clobber=True)
    system = TokenFileSystem()
    for name, data in FILES.items():
        system.pipe_file(f"/host/{name}", data)
    yield system
    system.rm("/host", recursive=True)


def outputs(*arguments: str, command: Callable[[list[str]], int] = main) -> str:
    """Run a command and return all that it prints."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.suppress(SystemExit):
        command(list(arguments))
    return out.getvalue() + err.getvalue()


def shown(error: BaseException) -> str:
    """Return everything that Python shows of an exception."""
    return "".join([str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)])


@pytest.mark.parametrize(
    ("address", "plain"),
    [
        ("https://user:pass@host/m?token=1#part", "https://host/m"),
        ("https://host/m", "https://host/m"),
        ("ftp://me@corp.com:pa/ss@host:21/m", "ftp://host:21/m"),
        ("https://user:pa?ss@host/m", "https://host/m"),
        ("http://[::1]:80/m?x", "http://[::1]:80/m"),
        ("https://host/a@b/m", "https://host/a@b/m"),
        ("https://u:p@host/https://v:w@other/m?x", "https://host/https://other/m"),
        ("simplecache::https://u:p@host/m?x", "simplecache::https://host/m"),
        ("gs://bucket/m-?????-of-00003", "gs://bucket/m-?????-of-00003"),
        ("gs://bucket/m-?????-of-00003?x", "gs://bucket/m-?????-of-00003"),
        ("a folder/model?", "a folder/model?"),
    ],
)
def test_plain_address_has_no_secret(address: str, plain: str) -> None:
    """User information, query and fragment are removed; everything else is preserved."""
    assert plain_address(address) == plain


def test_secrets_are_hidden_in_a_text() -> None:
    """Quotes and punctuation after an address remain."""
    text = "'https://u:p@h/m?x' is not at ftp://u@h/n; see memory://a/b?c, or a?b"

    assert hide_secrets(text) == "'https://h/m' is not at ftp://h/n; see memory://a/b, or a?b"


def test_long_address_is_plain_before_it_is_abridged() -> None:
    """The end of a long query is not shown either."""
    assert hide_secrets(abridged("https://host/m?" + "x" * 1000 + "end")) == "https://host/m"


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    user=SECRET, query=SECRET, fragment=SECRET, scheme=st.sampled_from(SCHEMES), name=st.sampled_from(["m", "a.tgz!m"])
)
def test_errors_contain_no_secret(user: str, query: str, fragment: str, scheme: str, name: str) -> None:
    """This holds for every scheme, in Python's functions, both commands and the train functions."""
    address = f"{scheme}://u:{user}@127.0.0.1:9/dir/{name}?t={query}#{fragment}"
    with pytest.raises(CheckpointError) as caught:
        tfckpt.open(address) if scheme not in ("http", "https", "ftp", "s3", "gs") else raise_for(address)
    texts = [shown(caught.value), shown(pickle.loads(pickle.dumps(caught.value)))]
    with pytest.raises(OpError) as converted, as_tensorflow():
        raise caught.value
    texts.append(shown(converted.value))
    if scheme in ("memory", "nosuch"):
        for arguments in (
            ("ls", address),
            ("doctor", address, "--json"),
            ("ls", "x", "y", address),
            ("ls", "--sort", address),
        ):
            texts.append(outputs(*arguments))
        texts.append(outputs("convert", address, "-o", "out.npz", command=convert_main))
        texts.append(outputs("models", "--base-url", address, command=convert_main))

    for secret in (user, query, fragment):
        assert not any(secret in text for text in texts)


def raise_for(address: str) -> None:
    """Raise as for a server that cannot be reached, without waiting for it."""
    raise StorageError(f"cannot connect to {address}", path=address)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(user=SECRET, query=SECRET)
def test_outputs_for_a_server_contain_no_secret(server: Server, user: str, query: str) -> None:
    """Listings, JSON, notes, files and the text of a checkpoint show the plain address only."""
    root = server.url.replace("://", f"://u:{user}@")
    texts = []
    for name in (f"dir/model?t={query}#f", f"all.tgz?t={query}#f"):
        with tfckpt.open(root + name) as checkpoint:
            texts += [repr(checkpoint), checkpoint.prefix, *checkpoint.files, *checkpoint.notes]
        for verb in ("ls", "info", "tree", "verify", "doctor"):
            texts.append(outputs(verb, root + name))
            texts.append(outputs(verb, root + name, "--json"))
        texts.append(outputs("diff", root + name, root + name, "--json"))
        texts.append(outputs("show", root + name, "nosuch"))

    for secret in (user, query):
        assert not any(secret in text for text in texts)
    assert any("all.tgz" in text for text in texts)


@pytest.mark.parametrize("target", ["ftp://u:{0}@host/m?t={0}", "nosuch://h/{0}?{0}", "http://u:{0}@127.0.0.1:9x/?{0}"])
def test_redirects_contain_no_secret(server: Server, target: str) -> None:
    """An address that a server redirects to may be signed."""
    secret = "Zq7secretx9Z"
    location = target.format(secret).replace(f"nosuch://h/{secret}", "nosuch://h/x")

    def redirect(handler: Handler, number: int) -> bool:
        handler.answer(302, {"Location": location}, b"")
        return True

    server.fault = redirect
    with pytest.raises(StorageError) as caught:
        tfckpt.open(f"{server.url}dir/model")
    assert secret not in shown(caught.value)


def test_query_with_a_space_is_sent_escaped(server: Server) -> None:
    """It does not fail with a message that shows it."""
    with tfckpt.open(f"{server.url}dir/model?a b") as checkpoint:
        assert list(checkpoint) == ["t"]
    assert server.requests[0].path == "/dir/model.index?a%20b"


@pytest.mark.usefixtures("token_system")
def test_user_and_query_reach_a_file_system(capsys: pytest.CaptureFixture[str]) -> None:
    """They are needed to open the checkpoint, and shown nowhere."""
    address = "token://me:Zq7secretx9Z@host/dir/model?t=Zq7tokenx9Z"

    with tfckpt.open(address) as checkpoint:
        assert checkpoint.prefix == "token://host/dir/model"
        assert checkpoint["t"] == [1]
        again = pickle.loads(pickle.dumps(checkpoint))
        assert again["t"] == [1]
    assert main(["info", address, "--json"]) == 0
    assert "Zq7" not in capsys.readouterr().out


@pytest.mark.usefixtures("token_system")
def test_error_of_a_file_system_with_its_address_is_not_shown() -> None:
    """Some libraries write the request into their errors."""
    address = "token://me:Zq7secretx9Z@host/denied?t=Zq7tokenx9Z"

    with pytest.raises(StorageError) as caught:
        tfckpt.open(address)

    assert "Zq7" not in shown(caught.value)
    assert caught.value.message == "cannot read: OSError"


def test_names_with_special_characters_open_in_a_file_system() -> None:
    """They are escaped in addresses, so that they begin no query."""
    system = fsspec.filesystem("memory")
    for name, data in FILES.items():
        system.pipe_file(f"/odd/{name.replace('model', 'run#1?')}", data)
    try:
        with tfckpt.open("memory://odd/dir") as checkpoint:
            assert checkpoint.prefix == "memory://odd/dir/run%231%3F"
            assert checkpoint["t"] == [1]
    finally:
        system.rm("/odd", recursive=True)


def test_state_file_that_names_an_address_shows_no_secret(tmp_path: pathlib.Path) -> None:
    """The note about the checkpoint that is read instead is plain."""
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "https://u:Zq7@host/model?Zq7"\n')
    BUNDLE.write(tmp_path)
    os.rename(tmp_path / "model.index", tmp_path / "other.index")

    with pytest.raises(tfckpt.CheckpointNotFoundError) as caught:
        tfckpt.open(tmp_path)
    assert "Zq7" not in shown(caught.value)
    place = locate(tmp_path, Options())
    state = read_state(place.storage, place.path)
    assert state is not None
    assert "Zq7" in state.model_checkpoint_path  # the state is data, and is returned as it is
    assert "Zq7" not in outputs("ls", str(tmp_path), "--all", "--json")


def test_reports_of_a_conversion_contain_no_secret(tmp_path: pathlib.Path) -> None:
    """The command to repeat a conversion has the plain address, in each form of report and in the output."""
    from tests.golden import inputs

    files, path = inputs.served(), "mirror/v2/efficientnetv2-b0.tgz"
    with serving(files) as running:
        address = running.url.replace("://", "://user:Zq7word@") + path + "?token=Zq7token#Zq7part"
        for ending in (".html", ".json"):
            report, out = tmp_path / f"r{ending}", tmp_path / f"m{ending}.safetensors"
            text = outputs("convert", address, "-o", str(out), "--report", str(report), command=convert_main)
            written = report.read_text()
            assert "Zq7" not in text + written + repr(out.read_bytes())
            assert f"{running.url}{path}" in (written if ending == ".html" else json.loads(written)["command"])
