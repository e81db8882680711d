"""Writes tests/golden/checkpoint/* with real TensorFlow, for test_checkpoint.py.

Run: python tests/make_checkpoints.py (needs tensorflow-cpu 2.15; not part of the test run).
The values are functions of shape and name only, so that tests can compute them again.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
OUT = Path(__file__).parent / "golden" / "checkpoint"


def golden_values(name: str, shape: tuple) -> np.ndarray:
    """Multiples of 1/8 in -8..8, exact in every floating type here."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return rng.integers(-64, 65, shape) / 8.0


def save_graph(tf, path: Path, build, **saver_options) -> None:
    """Run ``build`` in a fresh graph, set every variable to its golden values and save."""
    v1 = tf.compat.v1
    two_cpus = v1.ConfigProto(device_count={"CPU": 2})
    with tf.Graph().as_default(), v1.Session(config=two_cpus) as session:
        build(v1)
        for variable in v1.global_variables():
            # The parts of a partitioned variable take their piece of its whole value.
            info = variable._save_slice_info
            name = info.full_name if info else variable.op.name
            shape = tuple(info.full_shape) if info else tuple(variable.shape)
            values = golden_values(name, shape)
            if info:
                ends = zip(info.var_offset, info.var_shape, strict=True)
                values = values[tuple(slice(start, start + size) for start, size in ends)]
            variable.load(values.astype(variable.dtype.base_dtype.as_numpy_dtype), session)
        v1.train.Saver(**saver_options).save(
            session, str(path), write_meta_graph=False, write_state=False
        )


def types(v1) -> None:
    """One variable of each type, odd sizes so that offsets are unaligned, and partitioned ones."""
    import tensorflow as tf

    for dtype in (tf.float16, tf.bfloat16, tf.float32, tf.float64, tf.int8, tf.int32, tf.int64):
        v1.get_variable(f"types/{dtype.name}", (3, 5), dtype, use_resource=True)
    v1.get_variable("types/bool", (3,), tf.bool, initializer=v1.zeros_initializer())
    v1.get_variable("global_step", (), tf.int64, initializer=v1.zeros_initializer())
    v1.get_variable("empty", (0, 4), tf.float32)
    for axis, name in enumerate(("rows", "columns")):
        partitioner = v1.fixed_size_partitioner(3, axis=axis)
        v1.get_variable(f"partitioned/{name}", (100, 8), tf.float32, partitioner=partitioner)


def sharded(v1) -> None:
    """Variables on two devices, one data file each; one variable has a slice in both."""
    for device in ("/cpu:0", "/cpu:1"):
        with v1.device(device):
            v1.get_variable(f"on{device.replace(':', '')}", (3, 2))
    partitioner = v1.fixed_size_partitioner(2)
    devices = iter(("/cpu:0", "/cpu:1"))
    with v1.device(lambda op: next(devices) if op.type == "VariableV2" else "/cpu:0"):
        v1.get_variable("split", (5, 2), partitioner=partitioner, use_resource=False)


def model(v1) -> None:
    """The cells TF1 code makes, with a dense layer and Adam slots beside them."""
    import tensorflow as tf

    cell = v1.nn.rnn_cell
    inputs = v1.placeholder(tf.float32, (None, 4, 3))
    lstm = cell.LSTMCell(5, use_peepholes=True, num_proj=2)
    outputs, _ = v1.nn.dynamic_rnn(lstm, inputs, dtype=tf.float32, scope="decoder/rnn")
    stack = cell.MultiRNNCell([cell.BasicLSTMCell(5), cell.BasicLSTMCell(4)])
    top, _ = v1.nn.dynamic_rnn(stack, outputs, dtype=tf.float32, scope="encoder/rnn")
    v1.nn.bidirectional_dynamic_rnn(
        cell.LSTMCell(3), cell.LSTMCell(3), inputs, dtype=tf.float32, scope="both"
    )
    with v1.variable_scope("dense"):
        kernel = v1.get_variable("kernel", (4, 2))
        bias = v1.get_variable("bias", (2,))
    loss = tf.reduce_sum(tf.matmul(top[:, -1], kernel) + bias)
    v1.train.AdamOptimizer().minimize(loss, v1.train.get_or_create_global_step())


def save_objects(tf, path: Path) -> None:
    """tf.train.Checkpoint of cells: attribute paths for names, an optimizer's slots beside them."""
    cell = tf.compat.v1.nn.rnn_cell
    stack = cell.MultiRNNCell([cell.LSTMCell(5, num_proj=2), cell.BasicLSTMCell(4)])
    stack(tf.zeros((1, 3)), stack.zero_state(1, tf.float32))
    for variable in stack.weights:
        name = variable.name.removesuffix(":0")
        variable.assign(golden_values(name, tuple(variable.shape)))
    optimizer = tf.compat.v1.train.MomentumOptimizer(0.1, 0.9)
    optimizer.apply_gradients([(tf.zeros_like(v), v) for v in stack.weights])
    tf.train.Checkpoint(cell=stack, optimizer=optimizer).write(str(path))


def main() -> None:
    import tensorflow as tf

    OUT.mkdir(parents=True, exist_ok=True)
    save_graph(tf, OUT / "types", types)
    save_graph(tf, OUT / "model", model)
    save_graph(tf, OUT / "sharded", sharded, sharded=True)
    save_objects(tf, OUT / "objects")
    for file in sorted(OUT.iterdir()):
        print(f"{file.stat().st_size:8d} {file.name}")


if __name__ == "__main__":
    main()
