"""Jobs against an emulator of Google Cloud Storage on the loopback, through gcsfs."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tfckpt
from tfckpt import jobs

#: The emulator does not know the buckets that gcsfs asks for otherwise; it reads this when it is imported.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
REASON = "needs the environment of `make scale-check`"
gcsfs = pytest.importorskip("gcsfs", reason=REASON)
emulator = pytest.importorskip("gcp_storage_emulator.server", reason=REASON)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A file system with an empty bucket."""
    server = emulator.create_server("127.0.0.1", 0, in_memory=True, default_bucket="bucket")
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server._api._httpd.server_port}")
    gcsfs.GCSFileSystem.clear_instance_cache()
    yield gcsfs.GCSFileSystem(token="anon")
    gcsfs.GCSFileSystem.clear_instance_cache()
    server.stop()


def fail(file: Any, *arguments: object, **options: object) -> None:
    """Write more than a part, and fail."""
    file.write(bytes(1 << 20))
    raise ZeroDivisionError


def test_a_job_writes_what_export_writes(store: Any, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In uploads of several parts; a task that fails leaves nothing, and a restart skips what is done."""
    monkeypatch.setattr("tfckpt.sinks.objects.PART_BYTES", 512 << 10)
    values = np.random.default_rng(3).standard_normal((4, 200_000), np.float32)
    tfckpt.save({f"layer{n}/kernel": values[n] for n in range(4)}, tmp_path / "model")
    for path in tmp_path.glob("model.*"):
        store.pipe_file(f"bucket/{path.name}", path.read_bytes())
    (tmp_path / "out").mkdir()
    with tfckpt.open(tmp_path / "model") as checkpoint:
        tfckpt.export(checkpoint, tmp_path / "out" / "model.safetensors", shard_size=1_600_000)
    plan = jobs.plan_export("gs://bucket/model", "gs://bucket/out/", shard_size=1_600_000)
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr("tfckpt.jobs.tasks.write_safetensors", fail)
        jobs.run_task(plan.tasks[0])
    assert not store.exists("bucket/out")

    report = jobs.run(plan, workers=1)
    jobs.finish(plan)

    assert report.ok
    assert len(plan.tasks) == 2
    for path in (tmp_path / "out").iterdir():
        assert store.cat_file(f"bucket/out/{path.name}") == path.read_bytes()
    assert jobs.run(plan, workers=1).skipped == 2
