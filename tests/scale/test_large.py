"""Sizes that one process could not hold: a tensor of 2^32 elements, and a fleet in a bucket."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import tfckpt
from tests.scale.endless import build_index
from tests.scale.test_jobs import note

REASON = "needs the environment of `make scale-check`"
pytest.importorskip("moto", reason=REASON)
s3fs = pytest.importorskip("s3fs", reason=REASON)
pytest.importorskip("pyarrow", reason=REASON)
from tests.scale.server import serving  # noqa: E402


def test_a_tensor_of_4_gib_is_streamed_in_little_address_space(tmp_path: pathlib.Path) -> None:
    """2^32 elements through the remote reader, from a sparse file, with 1.25 GiB of address space."""
    size = 1 << 32
    (tmp_path / "m.index").write_bytes(build_index(size))
    with open(tmp_path / "m.data-00000-of-00001", "wb") as file:
        file.truncate(size)
    code = f"""
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (1280 << 20,) * 2)
        from tfckpt import jobs
        from tfckpt.jobs.memory import give_back_buffers
        give_back_buffers()
        plan = jobs.plan_verify("local://{tmp_path}/m", piece_bytes=8 << 20)
        result = jobs.run_verify(plan, workers=1)
        assert result.ok and result.nbytes == {size}, result
        status = open("/proc/self/status").read()  # getrusage counts the parent's memory too
        print(int(status.partition("VmHWM:")[2].split()[0]) >> 10)
    """

    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, timeout=300
    )

    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 256
    note(f"a tensor of 2^32 elements: {int(result.stdout)} MiB resident at most, requests of 8 MiB")


def test_a_scan_of_a_bucket_survives_kills(tmp_path: pathlib.Path) -> None:
    """Killed with SIGKILL, restarted, and the same as a scan without kills, as Parquet."""
    count = 400
    tfckpt.save({"w": np.arange(6, dtype=np.float32)}, tmp_path / "m")
    with serving() as server:
        s3fs.S3FileSystem.clear_instance_cache()
        files = s3fs.S3FileSystem(use_listings_cache=False)
        files.mkdir("fleet")
        index, data = ((tmp_path / f"m{ending}").read_bytes() for ending in (".index", ".data-00000-of-00001"))
        objects = {}
        for number in range(count):
            objects[f"fleet/run{number}/m.index"] = index
            if number % 100 != 7:
                objects[f"fleet/run{number}/m.data-00000-of-00001"] = data
        files.pipe(objects)
        command = [sys.executable, "-m", "tfckpt", "scan", "s3://fleet/", "--batch", "50", "--workers", "2", "-o"]
        table = tmp_path / "killed.parquet"
        process = subprocess.Popen([*command, table], stderr=subprocess.DEVNULL, start_new_session=True)
        parts = tmp_path / "killed.parquet.parts"
        deadline = time.monotonic() + 120
        while not parts.is_dir() or not any(parts.glob("*.jsonl")):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        kept = sum(len(path.read_text().splitlines()) for path in parts.glob("*.jsonl"))
        restarted = subprocess.run(
            [*command, table, "--restart", "--json"], capture_output=True, text=True, check=True, timeout=300
        )
        server.control()
        whole = tmp_path / "whole.parquet"
        subprocess.run([*command, whole], check=True, capture_output=True, timeout=300)
        counts = server.control()

    import pyarrow.parquet

    summary = json.loads(restarted.stdout)
    assert (summary["checkpoints"], summary["damaged"], summary["kept"]) == (count, count // 100, kept)
    assert 0 < kept < count
    assert pyarrow.parquet.read_table(table).equals(pyarrow.parquet.read_table(whole))
    assert counts["all"] <= 5 * count
    note(f"a scan of {count} checkpoints: {counts['all']} requests, {os.path.getsize(whole) / count:.0f} bytes a row")
    note(f"killed and restarted: {kept} of {count} rows kept")
