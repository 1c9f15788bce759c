"""Archives: which can be opened, and what is rejected in hostile or damaged ones."""

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


def open_archive(data: bytes, **limits: int) -> ArchiveStorage:
    """Return the storage of an archive in memory."""
    return ArchiveStorage(MemorySource(data, "a"), Limits(**limits))


def read_member(storage: ArchiveStorage, name: str) -> bytes:
    """Return the contents of a member."""
    source = storage.open(storage.join(storage.root, name))
    return bytes(source.read(0, source.size))


def make_tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """Return a tar archive of these members."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def special_member(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    """Return a tar member of a special type, without contents."""
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = target
    return member, b""


def make_zip(*members: tuple[zipfile.ZipInfo | str, bytes]) -> bytes:
    """Return a zip archive of these members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members:
            archive.writestr(member, data)
    return out.getvalue()


def unix_zip_member(name: str, mode: int) -> zipfile.ZipInfo:
    """Return a zip member with the file type that Unix records."""
    member = zipfile.ZipInfo(name)
    member.create_system = 3
    member.external_attr = mode << 16
    return member


# Which checkpoint an archive means


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
def test_archive_is_recognised_by_content(tmp_path: pathlib.Path, name: str, data: bytes) -> None:
    """The name of the file does not matter, for the archive itself and for paths inside it."""
    path = tmp_path / name
    path.write_bytes(data)

    for address in (path, f"{path}!model", f"{path}!model.index", f"{path}!/"):
        with tfckpt.open(address) as checkpoint:
            assert checkpoint["weights"].tobytes() == PAYLOAD
            assert checkpoint.prefix == f"{path}!model"
            assert checkpoint.files == (f"{path}!model.index", f"{path}!{SHARD}")


def test_existing_path_wins_over_an_archive_member(tmp_path: pathlib.Path) -> None:
    """A folder may have an exclamation mark in its name."""
    (tmp_path / "a.zip").write_bytes(zip_of(FILES))
    folder = tmp_path / "a.zip!model"
    folder.mkdir()
    BUNDLE.write(folder, "other")

    with tfckpt.open(folder) as checkpoint:
        assert checkpoint.prefix == str(folder / "other")


def test_tensors_in_archives_are_views(tmp_path: pathlib.Path) -> None:
    """Members of a tar and stored members of a zip are not copied; decompressed members are mapped."""
    for data in (tar_of(FILES), zip_of(FILES, zipfile.ZIP_STORED), zip_of(FILES), tar_of(FILES, "w:gz")):
        path = tmp_path / "a"
        path.write_bytes(data)
        with tfckpt.open(path) as checkpoint:
            assert not checkpoint["weights"].flags.owndata
            assert checkpoint["weights"].base is not None


def test_several_checkpoints_are_listed_by_path(tmp_path: pathlib.Path) -> None:
    """The error lists paths that can be opened."""
    path = tmp_path / "two.tgz"
    path.write_bytes(tar_of({**FILES, **{f"other/{name}": data for name, data in FILES.items()}}, "w:gz"))

    with pytest.raises(CheckpointNotFoundError) as caught:
        tfckpt.open(path)
    listed = caught.value.message.rpartition(": ")[2].split(", ")

    assert listed == [f"{path}!model", f"{path}!other/model"]
    assert all(len(tfckpt.open(prefix)) == 1 for prefix in listed)


def test_state_file_in_the_top_folder_decides(tmp_path: pathlib.Path) -> None:
    """It names one of two checkpoints."""
    path = tmp_path / "two.zip"
    older = {name.replace("model", "older"): data for name, data in FILES.items()}
    path.write_bytes(zip_of({**older, **FILES, "checkpoint": STATE}, under="only/folder/"))

    with tfckpt.open(path) as checkpoint:
        assert checkpoint.prefix == f"{path}!only/folder/model"


def test_state_file_of_the_only_folder_with_checkpoints_decides(tmp_path: pathlib.Path) -> None:
    """Other folders and files next to it do not matter."""
    path = tmp_path / "two.zip"
    older = {f"run/{name.replace('model', 'older')}": data for name, data in FILES.items()}
    newer = {f"run/{name}": data for name, data in FILES.items()}
    path.write_bytes(zip_of({**older, **newer, "run/checkpoint": STATE, "README": b"text", "logs/a": b"1"}))

    with tfckpt.open(path) as checkpoint:
        assert checkpoint.prefix == f"{path}!run/model"


def test_state_file_with_an_absolute_path_means_the_member_next_to_it(tmp_path: pathlib.Path) -> None:
    """The path is from the machine that trained; nothing outside the archive is read."""
    outside = BUNDLE.write(tmp_path, "model")
    path = tmp_path / "a.tar"
    for named in (str(outside), "../../../model", "a/../model"):
        path.write_bytes(tar_of({**FILES, "checkpoint": f'model_checkpoint_path: "{named}"\n'.encode()}))
        with tfckpt.open(path) as checkpoint:
            assert checkpoint.prefix in {f"{path}!model", f"{path}!a/../model"}


@pytest.mark.parametrize(
    ("files", "advice"),
    [
        ({"archive/data.pkl": b"x"}, "torch.load"),
        ({"a.npy": b"x"}, "numpy.load"),
        ({"notes.txt": b"x"}, "notes.txt"),
        ({}, "empty"),
        ({SHARD: b"x"}, SHARD),
    ],
    ids=["pytorch", "numpy", "text", "empty", "shard alone"],
)
def test_archive_without_checkpoint_is_not_found(tmp_path: pathlib.Path, files: dict[str, bytes], advice: str) -> None:
    """The message says what to do, or what is there; with a checkpoint added, the archive opens."""
    path = tmp_path / "a.zip"
    path.write_bytes(zip_of(files))

    with pytest.raises(CheckpointNotFoundError) as caught:
        tfckpt.open(path)

    assert caught.value.path == str(path)
    assert advice in caught.value.message
    path.write_bytes(zip_of({**files, **FILES}))
    assert len(tfckpt.open(path)) == 1


def test_compressed_file_that_is_not_an_archive_is_not_found(tmp_path: pathlib.Path) -> None:
    """A single compressed file has no members."""
    path = tmp_path / "model.index.gz"
    path.write_bytes(gzip.compress(FILES["model.index"] + bytes(600)))

    with pytest.raises(CheckpointNotFoundError) as caught:
        tfckpt.open(path)

    assert caught.value.path == str(path)


# Names and types of members


@pytest.mark.parametrize(
    "name",
    ["../model.index", "a/../../model.index", "/model.index", "..", "a\\..\\..\\b", "\\b", "C:\\b", "C:/b"],
)
def test_archive_with_a_member_outside_its_root_is_rejected(name: str) -> None:
    """Nothing is written by name, but such an archive is not to be trusted; names that stay inside can be read."""
    for data in (tar_of({**FILES, name: b"x"}), zip_of({**FILES, name: b"x"})):
        with pytest.raises(CorruptionError) as caught:
            open_archive(data)
        assert caught.value.path == "a"

    inside = open_archive(tar_of({**FILES, "a/..b": b"x", "./c//d": b"y", "e:f": b"z"}))
    assert [read_member(inside, name) for name in ("a/..b", "c/d", "e:f")] == [b"x", b"y", b"z"]


@pytest.mark.parametrize(
    ("member", "description"),
    [
        (special_member("model.index", tarfile.SYMTYPE, "/etc/passwd"), "symbolic link"),
        (special_member("model.index", tarfile.LNKTYPE, SHARD), "hard link"),
        (special_member("model.index", tarfile.CHRTYPE), "character device"),
        (special_member("model.index", tarfile.BLKTYPE), "block device"),
        (special_member("model.index", tarfile.FIFOTYPE), "named pipe"),
        (special_member("model.index", b"Q"), "b'Q'"),
    ],
    ids=["symbolic link", "hard link", "character device", "block device", "pipe", "unknown"],
)
def test_links_and_devices_are_rejected_when_opened(
    tmp_path: pathlib.Path, member: tuple[tarfile.TarInfo, bytes], description: str
) -> None:
    """The error says what the member is; a member that is not needed does not matter."""
    path = tmp_path / "a.tar"
    path.write_bytes(make_tar((tarfile.TarInfo(SHARD), FILES[SHARD]), member))

    with pytest.raises(UnsupportedFeatureError, match=description) as caught:
        open_archive(path.read_bytes()).open("a!model.index")
    assert caught.value.path == "a!model.index"
    with pytest.raises(UnsupportedFeatureError):
        tfckpt.open(path)
    with pytest.raises(CheckpointNotFoundError, match=description):
        tfckpt.open(f"{path}!model")

    member[0].name = "unneeded"
    path.write_bytes(make_tar(*((tarfile.TarInfo(name), data) for name, data in FILES.items()), member))
    assert tfckpt.open(path)["weights"].tobytes() == PAYLOAD


def test_shard_that_is_a_link_is_rejected_when_its_tensor_is_read(tmp_path: pathlib.Path) -> None:
    """Listing needs only the index."""
    path = tmp_path / "a.tar"
    link = special_member(SHARD, tarfile.SYMTYPE, "elsewhere")
    path.write_bytes(make_tar((tarfile.TarInfo("model.index"), FILES["model.index"]), link))

    with tfckpt.open(path) as checkpoint:
        assert list(checkpoint) == ["weights"]
        with pytest.raises(UnsupportedFeatureError) as caught:
            checkpoint["weights"]
    assert (caught.value.path, caught.value.tensor) == (f"{path}!{SHARD}", "weights")


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFIFO], ids=["link", "pipe"])
def test_links_in_zip_archives_are_rejected_when_opened(mode: int) -> None:
    """As in tar archives; a regular file with the same name can be read."""
    refused = open_archive(make_zip((unix_zip_member("model.index", mode), b"/etc/passwd")))
    regular = open_archive(make_zip((unix_zip_member("model.index", stat.S_IFREG | 0o644), b"index")))

    with pytest.raises(UnsupportedFeatureError) as caught:
        refused.open("a!model.index")
    assert caught.value.path == "a!model.index"
    assert read_member(regular, "model.index") == b"index"


@pytest.mark.parametrize("make", [make_tar, make_zip], ids=["tar", "zip"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_name_is_rejected_when_opened(make: Callable[..., bytes]) -> None:
    """Names that differ only in spelling count as equal; other members can be read."""
    info = tarfile.TarInfo if make is make_tar else str
    storage = open_archive(make((info("b"), b"1"), (info("a"), b"2"), (info("./b"), b"3"), (info("b"), b"4")))

    with pytest.raises(UnsupportedFeatureError) as caught:
        storage.open("a!b")
    assert caught.value.path == "a!b"
    assert read_member(storage, "a") == b"2"
    assert list(storage.refused) == ["b"]


def test_encrypted_and_unknown_methods_are_rejected_when_opened() -> None:
    """Deflated members next to them can be read."""
    data = bytearray(zip_of({"a": b"aaaa", "b": b"bbbb", "c": b"cccc"}))
    central = [at for at in range(len(data)) if data[at : at + 4] == b"PK\x01\x02"]
    data[central[0] + 8] |= 1
    struct.pack_into("<H", data, central[1] + 10, 93)
    storage = open_archive(bytes(data))

    for path in ("a!a", "a!b"):
        with pytest.raises(UnsupportedFeatureError) as caught:
            storage.open(path)
        assert caught.value.path == path
    assert read_member(storage, "c") == b"cccc"


# Bombs


def test_tar_bomb_is_stopped_by_a_named_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decompression stops half-way in an archive that expands too much; with a higher limit it opens."""
    monkeypatch.setattr(compression, "_FREE_BYTES", 1 << 20)
    zeros = {"zeros": bytes(30 << 20)}

    for data in (tar_of(zeros, "w:gz"), tar_of(zeros, "w:bz2"), tar_of(zeros, "w:xz")):
        with pytest.raises(LimitExceededError) as caught:
            open_archive(data)
        assert (caught.value.limit, caught.value.maximum) == ("max_expansion", 100)
        assert caught.value.claimed > 100
        assert read_member(open_archive(data, max_expansion=1_000_000), "zeros") == zeros["zeros"]


def test_zip_bomb_is_stopped_when_its_member_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Listing costs nothing; the sizes of all opened members are added up."""
    monkeypatch.setattr(compression, "_FREE_BYTES", 1 << 20)
    storage = open_archive(zip_of({f"zeros{number}": bytes(3 << 20) for number in range(5)}), max_expansion=150)

    with pytest.raises(LimitExceededError) as caught:
        for number in range(5):
            storage.open(f"a!zeros{number}")
    assert (caught.value.limit, caught.value.maximum) == ("max_expansion", 150)


def test_decompressed_size_has_a_limit() -> None:
    """The size of the archive itself does not matter; at the limit, it opens."""
    data = tar_of({"a": os.urandom(5000)}, "w:gz")
    size = len(gzip.decompress(data))

    with pytest.raises(LimitExceededError) as caught:
        open_archive(data, max_unpacked_bytes=size - 1)
    assert (caught.value.limit, caught.value.claimed) == ("max_unpacked_bytes", size)
    assert open_archive(data, max_unpacked_bytes=size).names() == ("a",)


@pytest.mark.parametrize("make", [tar_of, zip_of], ids=["tar", "zip"])
def test_number_of_members_has_a_limit(make: Callable[[dict[str, bytes]], bytes]) -> None:
    """Each member costs more memory than it takes in the file."""
    data = make({f"{number}": b"" for number in range(20)})

    with pytest.raises(LimitExceededError) as caught:
        open_archive(data, max_archive_members=19)
    assert (caught.value.limit, caught.value.claimed) == ("max_archive_members", 20)
    assert len(open_archive(data, max_archive_members=20).names()) == 20


def test_long_names_are_bounded() -> None:
    """A header may claim a name of any length; one of 4096 characters can be read."""
    longest = "a/" * 2047 + "bc"

    for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        assert read_member(open_archive(tar_of({longest: b"x"}, kind=kind)), longest) == b"x"
        with pytest.raises(CorruptionError, match="4097"):
            open_archive(tar_of({longest + "d": b"x"}, kind=kind))
        with pytest.raises(CorruptionError) as caught:
            open_archive(tar_of({"e" * (1 << 21): b"x"}, kind=kind))
        assert caught.value.offset == 0


def test_decompression_leaves_no_files(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary file has no name, while it is in use and afterwards."""
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


def test_temporary_folder_that_cannot_be_used_is_a_storage_error(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the environment variable to set."""
    path = tmp_path / "a.tgz"
    path.write_bytes(tar_of(FILES, "w:gz"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))

    with pytest.raises(StorageError, match="TMPDIR") as caught:
        tfckpt.open(path)
    assert caught.value.path == str(path)


# Damage


def test_truncated_tar_raises_truncated_error() -> None:
    """Inside a header and inside contents; an archive without its end blocks opens."""
    data = tar_of({"a": b"x" * 700})

    for size in (512 + 100, 512 + 699):
        with pytest.raises(TruncatedError) as caught:
            open_archive(data[:size])
        assert (caught.value.needed, caught.value.available) == (700, size - 512)
    assert read_member(open_archive(data[: 512 + 1024]), "a") == b"x" * 700


@pytest.mark.parametrize("keep", [-9, -1, 40, 200])
@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_truncated_compressed_data_is_rejected(mode: str, keep: int) -> None:
    """The data must reach its own end marker."""
    data = tar_of(FILES, mode)

    with pytest.raises((TruncatedError, CorruptionError)):
        open_archive(data[:keep])
    assert len(open_archive(data).names()) == 2


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_damaged_compressed_data_is_corruption(mode: str) -> None:
    """The formats' own checksums are verified."""
    data = bytearray(tar_of(FILES, mode))
    data[len(data) // 2] ^= 0x10

    with pytest.raises(CorruptionError):
        open_archive(bytes(data))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress], ids=["gzip", "bzip2"])
def test_concatenated_compressed_streams_are_read_as_one(pack: Callable[[bytes], bytes]) -> None:
    """The tools of both formats do so, and accept zero padding at the end; other trailing bytes are damage."""
    plain = tar_of(FILES)
    data = pack(plain[:1000]) + pack(plain[1000:1500]) + pack(plain[1500:])

    assert read_member(open_archive(data + bytes(100)), SHARD) == FILES[SHARD]
    with pytest.raises(CorruptionError):
        open_archive(data + b"rubbish after the end")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gzip", "bzip2", "xz"])
def test_many_empty_streams_take_linear_time(pack: Callable[[bytes], bytes]) -> None:
    """The input left after a stream is not copied repeatedly: that took 2 to 6 seconds per MB."""
    data = pack(tar_of(FILES)) + pack(b"") * 60_000
    start = time.process_time()

    assert read_member(open_archive(data), SHARD) == FILES[SHARD]

    assert time.process_time() - start < 2


def test_tar_header_with_an_invalid_checksum_is_corruption() -> None:
    """This is the second member's; the first one's decides whether the file is a tar archive at all."""
    data = bytearray(tar_of({"a": b"1", "b": b"2"}))
    data[1024 + 5] ^= 1

    with pytest.raises(CorruptionError) as caught:
        open_archive(bytes(data))
    assert caught.value.offset == 1024


def fix_checksum(header: bytearray) -> bytearray:
    """Correct the checksum of a tar header in place, and return the header."""
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
def test_tar_header_with_an_absurd_size_is_rejected(size: bytes, error: type[CorruptionError]) -> None:
    """The size is compared with the archive; the correct size, binary or octal, can be read."""
    data = bytearray(tar_of({"a": b"1234"}))
    for field in (b"\x80" + (4).to_bytes(11, "big"), b"       4 \0\0\0"):
        data[124:136] = field
        data[:512] = fix_checksum(data[:512])
        assert read_member(open_archive(bytes(data)), "a") == b"1234"
    data[124:136] = size
    data[:512] = fix_checksum(data[:512])

    with pytest.raises(error):
        open_archive(bytes(data))


@pytest.mark.parametrize(
    "record", [b"8 path=x\n", b"path=x\n", b"8 path=\n x", b"99999 path=x\n", b"10 path x\n", b"-3 path=x\n", b" "]
)
def test_damaged_pax_records_are_corruption(record: bytes) -> None:
    """Lengths that do not match, and records without their parts; a valid record sets the name."""

    def pax(data: bytes) -> bytes:
        member = tarfile.TarInfo("header")
        member.type = b"x"
        return make_tar((member, data), (tarfile.TarInfo("short"), b"1"))

    with pytest.raises(CorruptionError):
        open_archive(pax(record))
    assert open_archive(pax(b"9 path=x\n")).names() == ("x",)


def test_pax_size_replaces_the_size_in_the_header() -> None:
    """Files of 8 GB and more need it; a size past the end of the archive raises an error."""
    member = tarfile.TarInfo("header")
    member.type = b"x"

    def make_sized_tar(size: bytes) -> bytes:
        data = bytearray(make_tar((member, size), (tarfile.TarInfo("a"), b"1234")))
        data[1024 + 124 : 1024 + 136] = b"00000000000\0"
        data[1024:1536] = fix_checksum(data[1024:1536])
        return bytes(data)

    assert read_member(open_archive(make_sized_tar(b"10 size=4\n")), "a") == b"1234"
    with pytest.raises(TruncatedError) as caught:
        open_archive(make_sized_tar(b"21 size=888888888888\n"))
    assert caught.value.needed == 888888888888


def test_unused_pax_records_take_no_memory() -> None:
    """A record of ten bytes would cost two hundred; the record that is needed is found among them."""
    member = tarfile.TarInfo("header")
    member.type = b"x"
    headers = [
        (member, b"".join(b"15 %05x=12345\n" % number for number in range(first, first + 20_000)))
        for first in (0, 20_000)
    ]
    data = make_tar(*headers, (member, b"9 path=x\n"), (tarfile.TarInfo("short"), b"1"))
    tracemalloc.start()

    storage = open_archive(data)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert storage.names() == ("x",)
    assert peak < 4 * len(data)


def test_sparse_files_are_rejected_when_opened() -> None:
    """The stored bytes are not their contents."""
    member = tarfile.TarInfo("header")
    member.type = b"x"
    storage = open_archive(
        make_tar((member, b"22 GNU.sparse.major=1\n"), (tarfile.TarInfo("a"), b"1"), (tarfile.TarInfo("b"), b"2"))
    )

    with pytest.raises(UnsupportedFeatureError) as caught:
        storage.open("a!a")
    assert caught.value.path == "a!a"
    assert read_member(storage, "b") == b"2"


@pytest.mark.parametrize("keep", [10, 100, -1, -23])
def test_truncated_zip_is_rejected(keep: int) -> None:
    """The directory is at the end."""
    data = zip_of(FILES)

    with pytest.raises((TruncatedError, CorruptionError)):
        open_archive(data[:keep])
    assert len(open_archive(data).names()) == 2


def set_zip_field(data: bytes, magic: bytes, offset: int, form: str, value: int) -> bytes:
    """Return the archive with one field of its last header of a kind replaced."""
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
def test_damaged_zip_directory_is_corruption(magic: bytes, offset: int, form: str, value: int) -> None:
    """Every claim of the directory is checked against the file."""
    data = zip_of({"a": b"1234"})

    with pytest.raises(CorruptionError):
        open_archive(set_zip_field(data, magic, offset, form, value))
    assert read_member(open_archive(data), "a") == b"1234"


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
def test_damaged_zip_member_is_corruption_when_opened(
    method: int, magic: bytes, offset: int, form: str, value: int
) -> None:
    """The two headers of a member and its contents must agree."""
    data = zip_of({"a": b"1234" * 100}, method)

    with pytest.raises(CorruptionError):
        read_member(open_archive(set_zip_field(data, magic, offset, form, value)), "a")
    assert read_member(open_archive(data), "a") == b"1234" * 100


def test_checksum_of_a_deflated_member_is_verified() -> None:
    """A mismatch is corruption; stored members are left to the checksums of the tensors in them."""
    data = set_zip_field(zip_of({"a": b"1234" * 100}), b"PK\1\2", 16, "<I", 7)

    with pytest.raises(CorruptionError) as caught:
        read_member(open_archive(data), "a")
    assert caught.value.path == "a!a"


def test_zip64_archive_is_read() -> None:
    """Archives of 4 GB and more have sizes and offsets of 8 bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, archive.open("a", "w", force_zip64=True) as member:
        member.write(b"1234")
    data = bytearray(out.getvalue())
    central = data.index(b"PK\1\2")
    end = data.index(b"PK\5\6")
    # The writer uses 4-byte fields in the directory for small members, so replace them by hand.
    extra = struct.pack("<HHQQQ", 1, 24, 4, 4, 0)
    entry = bytearray(data[central:end])
    struct.pack_into("<II", entry, 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<I", entry, 42, 0xFFFFFFFF)
    struct.pack_into("<H", entry, 30, len(extra))
    entry += extra
    zip64_end = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(entry), central)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, central + len(entry), 1)
    end_record = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)

    storage = open_archive(bytes(data[:central]) + entry + zip64_end + locator + end_record)

    assert read_member(storage, "a") == b"1234"


def test_any_damaged_byte_gives_contents_or_one_of_our_errors() -> None:
    """A byte changed anywhere never raises another exception."""
    small = {
        "m.index": builders.Bundle().add("t", builders.FLOAT, [2], b"\0" * 8).index(),
        "m.data-00000-of-00001": bytes(8),
    }
    for data in (tar_of(small)[:4096], tar_of(small, "w:gz"), zip_of(small)):
        for at in range(0, len(data), 3):
            damaged = bytearray(data)
            damaged[at] ^= 0x41
            try:
                storage = open_archive(bytes(damaged), max_unpacked_bytes=1 << 20)
                contents = [read_member(storage, name) for name in storage.names() if name not in storage.refused]
            except tfckpt.CheckpointError:
                continue
            assert len(contents) <= 3
