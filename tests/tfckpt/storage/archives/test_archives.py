"""Archives: what opens, and what of a hostile or damaged one is refused."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pathlib
import stat
import struct
import tarfile
import tempfile
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable

import numpy as np
import pytest

import tfckpt
from tests import builders
from tests.contracts.places import tar_of, zip_of
from tfckpt.errors import (
    CheckpointNotFoundError,
    CorruptionError,
    LimitExceededError,
    StorageError,
    TruncatedError,
    UnsupportedFeatureError,
)
from tfckpt.limits import Limits
from tfckpt.storage.archives import compression
from tfckpt.storage.archives.storage import ArchiveStorage
from tfckpt.storage.memory import MemorySource

PAYLOAD = np.arange(1000, dtype="<f4").tobytes()
BUNDLE = builders.Bundle().add("weights", builders.FLOAT, [1000], PAYLOAD)
SHARD = "model.data-00000-of-00001"
FILES = {"model.index": BUNDLE.index(), SHARD: bytes(BUNDLE.shards[0])}
STATE = b'model_checkpoint_path: "model"\n'


def opened(data: bytes, **limits: int) -> ArchiveStorage:
    """The storage of an archive in memory."""
    return ArchiveStorage(MemorySource(data, "a"), Limits(**limits))


def read(storage: ArchiveStorage, name: str) -> bytes:
    """All of a member."""
    source = storage.open(storage.join(storage.root, name))
    return bytes(source.read(0, source.size))


def tar_with(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """A tar archive of these members."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    """A member of another type."""
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = target
    return member, b""


def zip_with(*members: tuple[zipfile.ZipInfo | str, bytes]) -> bytes:
    """A zip archive of these members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members:
            archive.writestr(member, data)
    return out.getvalue()


def unix_zip_member(name: str, mode: int) -> zipfile.ZipInfo:
    """A member with the file type that Unix records."""
    member = zipfile.ZipInfo(name)
    member.create_system = 3
    member.external_attr = mode << 16
    return member


# What is meant


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.tar", tar_of(FILES)),
        ("a.tgz", tar_of(FILES, "w:gz")),
        ("a.tar.bz2", tar_of(FILES, "w:bz2")),
        ("a.tar.xz", tar_of(FILES, "w:xz")),
        ("a.zip", zip_of(FILES)),
        ("named-otherwise", tar_of(FILES, "w:gz")),
        ("a.tgz", zip_of(FILES)),
        ("a!b.zip", tar_of(FILES)),
    ],
    ids=["tar", "gzip", "bzip2", "xz", "zip", "no ending", "wrong ending", "mark in the name"],
)
def test_archive_is_told_by_its_content(tmp_path: pathlib.Path, name: str, data: bytes) -> None:
    """Whatever the file is called, by itself and with a path inside."""
    path = tmp_path / name
    path.write_bytes(data)

    for given in (path, f"{path}!model", f"{path}!model.index", f"{path}!/"):
        with tfckpt.open(given) as checkpoint:
            assert checkpoint["weights"].tobytes() == PAYLOAD
            assert checkpoint.prefix == f"{path}!model"
            assert checkpoint.files == (f"{path}!model.index", f"{path}!{SHARD}")


def test_path_that_exists_wins_over_an_archive(tmp_path: pathlib.Path) -> None:
    """A folder may have an exclamation mark in its name."""
    (tmp_path / "a.zip").write_bytes(zip_of(FILES))
    folder = tmp_path / "a.zip!model"
    folder.mkdir()
    BUNDLE.write(folder, "other")

    with tfckpt.open(folder) as checkpoint:
        assert checkpoint.prefix == str(folder / "other")


def test_plain_members_are_views_of_the_archive(tmp_path: pathlib.Path) -> None:
    """Members of a tar and stored members of a zip are not copied, deflated ones are mapped from where they went."""
    for data in (tar_of(FILES), zip_of(FILES, zipfile.ZIP_STORED), zip_of(FILES), tar_of(FILES, "w:gz")):
        path = tmp_path / "a"
        path.write_bytes(data)
        with tfckpt.open(path) as checkpoint:
            assert not checkpoint["weights"].flags.owndata
            assert checkpoint["weights"].base is not None


def test_several_checkpoints_are_listed_as_they_can_be_given(tmp_path: pathlib.Path) -> None:
    """The error lists paths that open."""
    path = tmp_path / "two.tgz"
    path.write_bytes(tar_of({**FILES, **{f"other/{name}": data for name, data in FILES.items()}}, "w:gz"))

    with pytest.raises(CheckpointNotFoundError, match="there are 2 checkpoints in it") as caught:
        tfckpt.open(path)
    given = caught.value.message.partition("name one of: ")[2].split(", ")

    assert given == [f"{path}!model", f"{path}!other/model"]
    assert all(len(tfckpt.open(one)) == 1 for one in given)


def test_state_file_at_the_root_says_which(tmp_path: pathlib.Path) -> None:
    """One of two is the latest."""
    path = tmp_path / "two.zip"
    older = {name.replace("model", "older"): data for name, data in FILES.items()}
    path.write_bytes(zip_of({**older, **FILES, "checkpoint": STATE}, under="only/folder/"))

    with tfckpt.open(path) as checkpoint:
        assert checkpoint.prefix == f"{path}!only/folder/model"


def test_state_file_of_the_only_folder_with_checkpoints_says_which(tmp_path: pathlib.Path) -> None:
    """Other folders and files beside it do not matter."""
    path = tmp_path / "two.zip"
    older = {f"run/{name.replace('model', 'older')}": data for name, data in FILES.items()}
    newer = {f"run/{name}": data for name, data in FILES.items()}
    path.write_bytes(zip_of({**older, **newer, "run/checkpoint": STATE, "README": b"text", "logs/a": b"1"}))

    with tfckpt.open(path) as checkpoint:
        assert checkpoint.prefix == f"{path}!run/model"


def test_state_file_with_an_absolute_path_finds_the_member_beside_it(tmp_path: pathlib.Path) -> None:
    """Training wrote it elsewhere; nothing outside the archive is looked at."""
    outside = BUNDLE.write(tmp_path, "model")
    path = tmp_path / "a.tar"
    for named in (str(outside), "../../../model", "a/../model"):
        path.write_bytes(tar_of({**FILES, "checkpoint": f'model_checkpoint_path: "{named}"\n'.encode()}))
        with tfckpt.open(path) as checkpoint:
            assert checkpoint.prefix in {f"{path}!model", f"{path}!a/../model"}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"model.weights.h5": b"x", "config.json": b"{}"}, "this is a Keras 3 model"),
        ({"archive/data.pkl": b"x"}, "this is a PyTorch file"),
        ({"a.npy": b"x"}, "these are NumPy arrays"),
        ({"notes.txt": b"x"}, "it holds notes.txt"),
        ({}, "it is empty"),
        ({SHARD: b"x"}, f"it holds {SHARD}"),
    ],
    ids=["keras", "pytorch", "numpy", "text", "empty", "shard alone"],
)
def test_archive_of_something_else_is_told(tmp_path: pathlib.Path, files: dict[str, bytes], words: str) -> None:
    """The message says what is there; with an index beside it, it would open."""
    path = tmp_path / "a.zip"
    path.write_bytes(zip_of(files))

    with pytest.raises(CheckpointNotFoundError, match=words) as caught:
        tfckpt.open(path)

    assert caught.value.path == str(path)
    path.write_bytes(zip_of({**files, **FILES}))
    assert len(tfckpt.open(path)) == 1


def test_compressed_file_that_is_no_archive_is_told(tmp_path: pathlib.Path) -> None:
    """One packed file has no members; the same data in a tar has."""
    path = tmp_path / "model.index.gz"
    path.write_bytes(gzip.compress(FILES["model.index"] + bytes(600)))

    with pytest.raises(CheckpointNotFoundError, match="no tar archive; unpack it first"):
        tfckpt.open(path)


# Names and kinds of members


@pytest.mark.parametrize(
    "name",
    ["../model.index", "a/../../model.index", "/model.index", "..", "a\\..\\..\\b", "\\b", "C:\\b", "C:/b"],
)
def test_archive_with_a_member_outside_its_root_is_refused(name: str) -> None:
    """Nothing is written by name, and still such an archive is not to be trusted; names that stay inside are."""
    for data in (tar_of({**FILES, name: b"x"}), zip_of({**FILES, name: b"x"})):
        with pytest.raises(CorruptionError, match="leads out of it"):
            opened(data)

    inside = opened(tar_of({**FILES, "a/..b": b"x", "./c//d": b"y", "e:f": b"z"}))
    assert [read(inside, name) for name in ("a/..b", "c/d", "e:f")] == [b"x", b"y", b"z"]


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (special("model.index", tarfile.SYMTYPE, "/etc/passwd"), "a symbolic link"),
        (special("model.index", tarfile.LNKTYPE, SHARD), "a hard link"),
        (special("model.index", tarfile.CHRTYPE), "a character device"),
        (special("model.index", tarfile.BLKTYPE), "a block device"),
        (special("model.index", tarfile.FIFOTYPE), "a named pipe"),
        (special("model.index", b"Q"), "of the unknown type b'Q'"),
    ],
    ids=["symbolic link", "hard link", "character device", "block device", "pipe", "unknown"],
)
def test_links_and_devices_are_refused_when_asked_for(
    tmp_path: pathlib.Path, member: tuple[tarfile.TarInfo, bytes], words: str
) -> None:
    """The error says what the member is; one that is not needed does not matter."""
    path = tmp_path / "a.tar"
    path.write_bytes(tar_with((tarfile.TarInfo(SHARD), FILES[SHARD]), member))

    with pytest.raises(UnsupportedFeatureError, match=words):
        opened(path.read_bytes()).open("a!model.index")
    with pytest.raises(UnsupportedFeatureError, match=words):
        tfckpt.open(path)
    with pytest.raises(CheckpointNotFoundError, match=words):
        tfckpt.open(f"{path}!model")

    member[0].name = "unneeded"
    path.write_bytes(tar_with(*((tarfile.TarInfo(name), data) for name, data in FILES.items()), member))
    assert tfckpt.open(path)["weights"].tobytes() == PAYLOAD


def test_shard_that_is_a_link_is_refused_when_its_tensor_is_read(tmp_path: pathlib.Path) -> None:
    """Listing needs only the index."""
    path = tmp_path / "a.tar"
    link = special(SHARD, tarfile.SYMTYPE, "elsewhere")
    path.write_bytes(tar_with((tarfile.TarInfo("model.index"), FILES["model.index"]), link))

    with tfckpt.open(path) as checkpoint:
        assert list(checkpoint) == ["weights"]
        with pytest.raises(UnsupportedFeatureError, match="a symbolic link, which is not followed"):
            checkpoint["weights"]


@pytest.mark.parametrize(
    ("mode", "words"), [(stat.S_IFLNK | 0o777, "a symbolic link"), (stat.S_IFIFO, "a device")], ids=["link", "pipe"]
)
def test_links_in_zip_archives_are_refused_when_asked_for(mode: int, words: str) -> None:
    """As they are in tar archives; a regular file of the same name reads."""
    refused = opened(zip_with((unix_zip_member("model.index", mode), b"/etc/passwd")))
    regular = opened(zip_with((unix_zip_member("model.index", stat.S_IFREG | 0o644), b"index")))

    with pytest.raises(UnsupportedFeatureError, match=words):
        refused.open("a!model.index")
    assert read(regular, "model.index") == b"index"


@pytest.mark.parametrize("make", [tar_with, zip_with], ids=["tar", "zip"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_name_that_stands_there_twice_is_refused_when_asked_for(make: Callable[..., bytes]) -> None:
    """Also where only the spelling differs; other members read."""
    info = tarfile.TarInfo if make is tar_with else str
    storage = opened(make((info("b"), b"1"), (info("a"), b"2"), (info("./b"), b"3"), (info("b"), b"4")))

    with pytest.raises(UnsupportedFeatureError, match="two members of this name"):
        storage.open("a!b")
    assert read(storage, "a") == b"2"
    assert list(storage.refused) == ["b"]


def test_encrypted_and_unknown_methods_are_refused_when_asked_for() -> None:
    """Deflated members beside them read."""
    data = bytearray(zip_of({"a": b"aaaa", "b": b"bbbb", "c": b"cccc"}))
    central = [at for at in range(len(data)) if data[at : at + 4] == b"PK\x01\x02"]
    data[central[0] + 8] |= 1
    struct.pack_into("<H", data, central[1] + 10, 93)
    storage = opened(bytes(data))

    with pytest.raises(UnsupportedFeatureError, match="encrypted"):
        storage.open("a!a")
    with pytest.raises(UnsupportedFeatureError, match="packed with method 93"):
        storage.open("a!b")
    assert read(storage, "c") == b"cccc"


# Bombs


def test_bomb_is_stopped_by_a_named_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A packed archive that grows too much is left half-way; one that is allowed to, opens."""
    monkeypatch.setattr(compression, "_FREE", 1 << 20)
    zeros = {"zeros": bytes(30 << 20)}

    for data in (tar_of(zeros, "w:gz"), tar_of(zeros, "w:bz2"), tar_of(zeros, "w:xz")):
        with pytest.raises(LimitExceededError, match="max_expansion=100") as caught:
            opened(data)
        assert caught.value.claimed > 100
        assert read(opened(data, max_expansion=1_000_000), "zeros") == zeros["zeros"]


def test_zip_bomb_is_stopped_when_its_member_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Listing costs nothing; what several members unpack to is counted together."""
    monkeypatch.setattr(compression, "_FREE", 1 << 20)
    storage = opened(zip_of({f"zeros{number}": bytes(3 << 20) for number in range(5)}), max_expansion=150)

    with pytest.raises(LimitExceededError, match="max_expansion=150"):
        for number in range(5):
            storage.open(f"a!zeros{number}")


def test_unpacked_size_has_a_limit() -> None:
    """Whatever the archive's own size; one byte below, it opens."""
    data = tar_of({"a": os.urandom(5000)}, "w:gz")
    size = len(gzip.decompress(data))

    with pytest.raises(LimitExceededError, match="max_unpacked_bytes"):
        opened(data, max_unpacked_bytes=size - 1)
    assert opened(data, max_unpacked_bytes=size).names() == ("a",)


@pytest.mark.parametrize("make", [tar_of, zip_of], ids=["tar", "zip"])
def test_number_of_members_has_a_limit(make: Callable[[dict[str, bytes]], bytes]) -> None:
    """Each costs more memory than it takes in the file."""
    data = make({f"{number}": b"" for number in range(20)})

    with pytest.raises(LimitExceededError, match="max_archive_members"):
        opened(data, max_archive_members=19)
    assert len(opened(data, max_archive_members=20).names()) == 20


def test_long_names_are_bounded() -> None:
    """A header may claim a name of any length; one of 4096 characters reads."""
    longest = "a/" * 2047 + "bc"

    for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        assert read(opened(tar_of({longest: b"x"}, kind=kind)), longest) == b"x"
        with pytest.raises(CorruptionError, match="whose name has 4097 characters"):
            opened(tar_of({longest + "d": b"x"}, kind=kind))
        with pytest.raises(CorruptionError, match="bytes of names"):
            opened(tar_of({"e" * (1 << 21): b"x"}, kind=kind))


def test_unpacking_leaves_nothing_in_the_file_system(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was unpacked has no name, while it is used and afterwards."""
    path = tmp_path / "a.tgz"
    path.write_bytes(tar_of(FILES, "w:gz"))
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))

    checkpoint = tfckpt.open(path)
    array = checkpoint["weights"]
    while_open = os.listdir(folder)
    checkpoint.close()

    assert while_open == []
    assert os.listdir(folder) == []
    assert array.tobytes() == PAYLOAD


def test_full_disk_while_unpacking_is_told(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says where there was no room, and what to do."""
    path = tmp_path / "a.tgz"
    path.write_bytes(tar_of(FILES, "w:gz"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))

    with pytest.raises(StorageError, match="set the environment variable TMPDIR"):
        tfckpt.open(path)


# Damage


def test_truncated_tar_is_truncation() -> None:
    """Inside a header and inside contents; one that lacks only its end blocks opens."""
    data = tar_of({"a": b"x" * 700})

    for size in (512 + 100, 512 + 699):
        with pytest.raises(TruncatedError) as caught:
            opened(data[:size])
        assert (caught.value.needed, caught.value.available) == (700, size - 512)
    assert read(opened(data[: 512 + 1024]), "a") == b"x" * 700


@pytest.mark.parametrize("keep", [-9, -1, 40, 200])
@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_truncated_compression_is_truncation(mode: str, keep: int) -> None:
    """The data must reach its own end mark."""
    data = tar_of(FILES, mode)

    with pytest.raises((TruncatedError, CorruptionError)):
        opened(data[:keep])
    assert len(opened(data).names()) == 2


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_damaged_compression_is_corruption(mode: str) -> None:
    """The checksums of the formats are compared."""
    data = bytearray(tar_of(FILES, mode))
    data[len(data) // 2] ^= 0x10

    with pytest.raises(CorruptionError):
        opened(bytes(data))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress], ids=["gzip", "bzip2"])
def test_compressed_pieces_one_after_the_other_are_one(pack: Callable[[bytes], bytes]) -> None:
    """As the tools of both formats have it, with padding of zeros after them; other bytes after them are damage."""
    plain = tar_of(FILES)
    data = pack(plain[:1000]) + pack(plain[1000:1500]) + pack(plain[1500:])

    assert read(opened(data + bytes(100)), SHARD) == FILES[SHARD]
    with pytest.raises(CorruptionError):
        opened(data + b"rubbish after the end")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gzip", "bzip2", "xz"])
def test_many_empty_pieces_take_time_in_proportion(pack: Callable[[bytes], bytes]) -> None:
    """What follows a piece is not copied again and again: it took 2 to 6 seconds for each MB."""
    data = pack(tar_of(FILES)) + pack(b"") * 60_000
    begun = time.perf_counter()

    assert read(opened(data), SHARD) == FILES[SHARD]

    assert time.perf_counter() - begun < 2


def test_tar_header_with_a_wrong_checksum_is_corruption() -> None:
    """Of the second member; that of the first tells whether it is a tar at all."""
    data = bytearray(tar_of({"a": b"1", "b": b"2"}))
    data[1024 + 5] ^= 1

    with pytest.raises(CorruptionError, match="wrong checksum") as caught:
        opened(bytes(data))
    assert caught.value.offset == 1024


def with_checksum(header: bytearray) -> bytearray:
    """A tar header made sound again."""
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return header


@pytest.mark.parametrize(
    ("size", "error"),
    [
        (b"77777777777\0", TruncatedError),
        (b"\x80" + (1 << 60).to_bytes(11, "big"), TruncatedError),
        (b"\xff" * 12, CorruptionError),
        (b"0000000009z\0", CorruptionError),
    ],
    ids=["8 GB", "an exabyte", "negative", "no digits"],
)
def test_tar_header_with_an_absurd_size_is_refused(size: bytes, error: type[CorruptionError]) -> None:
    """The size is compared with the archive; the same field with the true size, binary or octal, reads."""
    data = bytearray(tar_of({"a": b"1234"}))
    for field in (b"\x80" + (4).to_bytes(11, "big"), b"       4 \0\0\0"):
        data[124:136] = field
        data[:512] = with_checksum(data[:512])
        assert read(opened(bytes(data)), "a") == b"1234"
    data[124:136] = size
    data[:512] = with_checksum(data[:512])

    with pytest.raises(error):
        opened(bytes(data))


@pytest.mark.parametrize(
    "record", [b"8 path=x\n", b"path=x\n", b"8 path=\n x", b"99999 path=x\n", b"10 path x\n", b"-3 path=x\n", b" "]
)
def test_damaged_pax_records_are_corruption(record: bytes) -> None:
    """Lengths that do not fit, and records without their parts; a sound one gives the name."""

    def pax(data: bytes) -> bytes:
        member = tarfile.TarInfo("header")
        member.type = b"x"
        return tar_with((member, data), (tarfile.TarInfo("short"), b"1"))

    with pytest.raises(CorruptionError):
        opened(pax(record))
    assert opened(pax(b"9 path=x\n")).names() == ("x",)


def test_pax_size_replaces_that_of_the_header() -> None:
    """As for files of 8 GB and more; a size past the end is truncation."""
    member = tarfile.TarInfo("header")
    member.type = b"x"

    def sized(size: bytes) -> bytes:
        data = bytearray(tar_with((member, size), (tarfile.TarInfo("a"), b"1234")))
        data[1024 + 124 : 1024 + 136] = b"00000000000\0"
        data[1024:1536] = with_checksum(data[1024:1536])
        return bytes(data)

    assert read(opened(sized(b"10 size=4\n")), "a") == b"1234"
    with pytest.raises(TruncatedError):
        opened(sized(b"21 size=888888888888\n"))


def test_pax_records_that_nobody_needs_take_no_memory() -> None:
    """A record of ten bytes would cost two hundred; what is needed is found among them."""
    member = tarfile.TarInfo("header")
    member.type = b"x"
    headers = [
        (member, b"".join(b"15 %05x=12345\n" % number for number in range(first, first + 60_000)))
        for first in (0, 60_000)
    ]
    data = tar_with(*headers, (member, b"9 path=x\n"), (tarfile.TarInfo("short"), b"1"))
    tracemalloc.start()

    storage = opened(data)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert storage.names() == ("x",)
    assert peak < 4 * len(data)


def test_sparse_files_are_refused_when_asked_for() -> None:
    """Their contents are not what stands there."""
    member = tarfile.TarInfo("header")
    member.type = b"x"
    storage = opened(
        tar_with((member, b"22 GNU.sparse.major=1\n"), (tarfile.TarInfo("a"), b"1"), (tarfile.TarInfo("b"), b"2"))
    )

    with pytest.raises(UnsupportedFeatureError, match="a sparse file"):
        storage.open("a!a")
    assert read(storage, "b") == b"2"


@pytest.mark.parametrize("keep", [10, 100, -1, -23])
def test_truncated_zip_is_truncation(keep: int) -> None:
    """The directory stands at the end."""
    data = zip_of(FILES)

    with pytest.raises((TruncatedError, CorruptionError)):
        opened(data[:keep])
    assert len(opened(data).names()) == 2


def zip_field(data: bytes, magic: bytes, offset: int, form: str, value: int) -> bytes:
    """The archive with one field of its last header of a kind replaced."""
    changed = bytearray(data)
    struct.pack_into(form, changed, data.rindex(magic) + offset, value)
    return bytes(changed)


@pytest.mark.parametrize(
    ("magic", "offset", "form", "value"),
    [
        (b"PK\5\6", 4, "<H", 1),
        (b"PK\5\6", 10, "<H", 2),
        (b"PK\5\6", 10, "<H", 0),
        (b"PK\5\6", 12, "<I", 1 << 30),
        (b"PK\5\6", 16, "<I", 1 << 30),
        (b"PK\5\6", 20, "<H", 5),
        (b"PK\1\2", 28, "<H", 0xFFFF),
        (b"PK\1\2", 24, "<I", 0xFFFFFFFF),
        (b"PK\1\2", 0, "<I", 0),
    ],
    ids=[
        *("several disks", "one member too many", "one too few", "directory too long", "directory past the end"),
        *("comment too long", "name too long", "zip64 without sizes", "no entry"),
    ],
)
def test_damaged_zip_directory_is_refused(magic: bytes, offset: int, form: str, value: int) -> None:
    """Every claim of the directory is compared with the file."""
    data = zip_of({"a": b"1234"})

    with pytest.raises(CorruptionError):
        opened(zip_field(data, magic, offset, form, value))
    assert read(opened(data), "a") == b"1234"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
@pytest.mark.parametrize(
    ("magic", "offset", "form", "value"),
    [
        (b"PK\1\2", 24, "<I", 5),
        (b"PK\1\2", 24, "<I", 1999),
        (b"PK\1\2", 20, "<I", 1 << 30),
        (b"PK\1\2", 42, "<I", 3),
        (b"PK\1\2", 42, "<I", 1 << 30),
        (b"PK\3\4", 8, "<H", 12),
        (b"PK\3\4", 26, "<H", 0xFFFF),
    ],
    ids=["smaller", "larger", "packed too long", "no header there", "header past the end", "method", "name too long"],
)
def test_damaged_zip_member_is_refused_when_opened(
    method: int, magic: bytes, offset: int, form: str, value: int
) -> None:
    """The two headers of a member and its contents must agree."""
    data = zip_of({"a": b"1234" * 100}, method)

    with pytest.raises(CorruptionError):
        read(opened(zip_field(data, magic, offset, form, value)), "a")
    assert read(opened(data), "a") == b"1234" * 100


def test_deflated_member_has_its_checksum_compared() -> None:
    """A wrong one is corruption; stored members are left to the checksums of the tensors in them."""
    data = zip_field(zip_of({"a": b"1234" * 100}), b"PK\1\2", 16, "<I", 7)

    with pytest.raises(CorruptionError, match=f"with crc32 {zlib.crc32(b'1234' * 100):#010x}"):
        read(opened(data), "a")


def test_zip64_archive_reads() -> None:
    """Sizes and offsets of 8 bytes, as archives of 4 GB and more have them."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, archive.open("a", "w", force_zip64=True) as member:
        member.write(b"1234")
    data = bytearray(out.getvalue())
    central = data.index(b"PK\1\2")
    end = data.index(b"PK\5\6")
    # The writer leaves the directory narrow for small members: widen it by hand.
    extra = struct.pack("<HHQQQ", 1, 24, 4, 4, 0)
    entry = bytearray(data[central:end])
    struct.pack_into("<II", entry, 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<I", entry, 42, 0xFFFFFFFF)
    struct.pack_into("<H", entry, 30, len(extra))
    entry += extra
    wide_end = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(entry), central)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, central + len(entry), 1)
    narrow_end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)

    storage = opened(bytes(data[:central]) + entry + wide_end + locator + narrow_end)

    assert read(storage, "a") == b"1234"


def test_any_damaged_byte_gives_the_right_bytes_or_one_of_our_errors() -> None:
    """A byte changed anywhere never gives another exception, and a tensor that verifies is the right one."""
    small = {
        "m.index": builders.Bundle().add("t", builders.FLOAT, [2], b"\0" * 8).index(),
        "m.data-00000-of-00001": bytes(8),
    }
    for data in (tar_of(small)[:4096], tar_of(small, "w:gz"), zip_of(small)):
        for at in range(0, len(data), 3):
            damaged = bytearray(data)
            damaged[at] ^= 0x41
            try:
                storage = opened(bytes(damaged), max_unpacked_bytes=1 << 20)
                contents = [read(storage, name) for name in storage.names() if name not in storage.refused]
            except tfckpt.CheckpointError:
                continue
            assert len(contents) <= 3
