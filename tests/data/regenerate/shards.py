"""Bundles of several shards: merged ones, the sharded TF1 Saver, and TensorFlow's shard size policy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from regenerate.recording import (
    Item,
    Record,
    checkpoint,
    listing,
    record,
    refusal,
    restore,
    restored,
    save,
    write_expected,
)
from regenerate.slices import spec_of
from regenerate.values import strings, tensor, values


def merge(parts: list[list[Item]], prefix: str, folder: str) -> list[Record]:
    """Write every part as a bundle of its own in a folder, merge them; returns records with part and position."""
    names = [f"{folder}/part-{number:05d}-of-{len(parts):05d}" for number in range(len(parts))]
    positions = {}
    for number, (name, items) in enumerate(zip(names, parts, strict=True)):
        for key, position in save(name, items).items():
            positions[key] = number, position
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=names, destination_prefix=prefix, delete_old_dirs=True)
    tensors = restored(prefix)
    for entry in tensors:
        places = [[spec.split(" ")[-1], *place] for (name, spec), place in positions.items() if name == entry["name"]]
        if places[0][0]:
            entry["slices"] = [{"spec": spec, "part": part, "position": position} for spec, part, position in places]
        else:
            entry["part"], entry["position"] = places[0][1:]
    return tensors


def make_sharded() -> None:
    """Merged bundles of 3 and of 12 shards: a variable split over shards, a shard without bytes, and a merge
    of a merged bundle, whose shards come in another order."""
    grid = values("float32", (6, 4), 1)
    three: list[list[Item]] = [
        [
            ("b/kernel", "", tensor("float32", values("float32", (3, 4), 2))),
            ("split", spec_of((6, 4), ((0, 2), None)), tensor("float32", grid[:2])),
            ("text", "", tensor("string", strings([b"in the first", b"shard"]))),
        ],
        [
            ("a/kernel", "", tensor("float64", values("float64", (5,), 3))),
            ("split", spec_of((6, 4), ((4, 2), None)), tensor("float32", grid[4:])),
            ("counter", "", tensor("int64", np.array(77, np.int64))),
        ],
        [
            ("split", spec_of((6, 4), ((2, 2), None)), tensor("float32", grid[2:4])),
            ("c/kernel", "", tensor("bfloat16", values("bfloat16", (2, 2, 2), 4))),
        ],
    ]
    twelve: list[list[Item]] = [
        [(f"v{11 - i:02d}", "", tensor("int32", np.arange(i, dtype=np.int32)))] for i in range(12)
    ]
    Path("again_temp/parts").mkdir(parents=True)
    merge(three, "again_temp/three", "again_temp/parts")
    save("again_temp/more", [("d/kernel", "", tensor("int16", values("int16", (4,), 6)))])
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=["again_temp/more", "again_temp/three"], destination_prefix="again", delete_old_dirs=True
    )
    write_expected(
        [
            checkpoint("three", merge(three, "three", "three_temp"), shards=3),
            checkpoint("twelve", merge(twelve, "twelve", "twelve_temp"), shards=12),
            checkpoint("again", restored("again"), shards=4, merged_from=["the tensor d/kernel", "three"]),
        ]
    )


def make_sharded_saver() -> None:
    """The TF1 Saver with sharded=True over three devices, in both formats."""
    devices = tf.compat.v1.ConfigProto(device_count={"CPU": 3})
    prefixes = []
    with tf.Graph().as_default(), tf.compat.v1.Session(config=devices) as session:
        for device in range(3):
            with tf.device(f"/cpu:{device}"):
                for name in ("kernel", "bias"):
                    shape = (4, device + 1) if name == "kernel" else (device + 1,)
                    value = np.random.default_rng(10 * device + len(name)).normal(size=shape).astype(np.float32)
                    tf.compat.v1.get_variable(f"layer_{device}/{name}", initializer=value, use_resource=True)
        session.run(tf.compat.v1.global_variables_initializer())
        for version, number in [("V2", tf.compat.v1.train.SaverDef.V2), ("V1", tf.compat.v1.train.SaverDef.V1)]:
            Path(version.lower()).mkdir()
            saver = tf.compat.v1.train.Saver(sharded=True, write_version=number)
            prefixes.append((saver.save(session, f"{version.lower()}/model.ckpt", global_step=3), version))
    write_expected([checkpoint(prefix, restored(prefix), version=version, shards=3) for prefix, version in prefixes])


def make_shard_size() -> None:
    """MaxShardSizePolicy: ordinary variables are cut into slices over many shards of at most 400 bytes of data.

    TensorFlow cannot restore the float16 variable it cuts up itself.
    """
    model = tf.Module()
    model.big = tf.Variable(np.random.default_rng(1).normal(size=(20, 16)).astype(np.float32), name="big")
    model.wide = tf.Variable(np.arange(300, dtype=np.int64).reshape(2, 150), name="wide")
    model.small = tf.Variable([1.0, 2.0], name="small")
    model.half = tf.Variable(np.random.default_rng(2).normal(size=(30, 10)).astype(np.float16), name="half")
    model.text = tf.Variable(["some", "text"], name="text")
    policy = tf.train.experimental.MaxShardSizePolicy(max_shard_size=400)
    options = tf.train.CheckpointOptions(experimental_sharding_callback=policy)
    prefix = tf.train.Checkpoint(model=model).write("ckpt", options=options)
    shards = len(list(Path().glob("ckpt.data-*")))
    listed = tf.train.list_variables(prefix)
    tensors = []
    for name, dtype, _ in listing(prefix):
        try:
            tensors.append(record(name, dtype, restore(prefix, name, dtype)))
        except tf.errors.OpError as error:
            given = getattr(model, name.split("/")[1]).numpy()
            tensors.append(record(name, dtype, given) | {"source": "written", "refusal": refusal(error)})
    write_expected([checkpoint(prefix, tensors, shards=shards, list_variables=listed)])
