"""TensorFlow's cells on the CPU and on the emulated GPU, with one set of weights."""

from __future__ import annotations

import numpy as np

import lstmcore
from lstmcore import LSTMStateTuple, cuda

TOLERANCES = {"float32": 2e-6, "float64": 1e-13, "float16": 4e-3, "bfloat16": 2e-2}
OPTIONS = {
    "plain": {},
    "peepholes": {"use_peepholes": True},
    "projection": {"num_proj": 4},
    "clips": {"cell_clip": 0.3, "num_proj": 4, "proj_clip": 0.1},
    "all": {"use_peepholes": True, "cell_clip": 0.3, "num_proj": 5, "proj_clip": 0.1},
    "relu": {"activation": "relu", "forget_bias": 0.25},
}
T, N, I, H = 5, 3, 6, 7


def values(*shape, dtype=np.float32, seed=1):
    return (np.random.default_rng(seed).normal(size=shape) * 0.5).astype(dtype)


def close(got, want, dtype="float32"):
    assert isinstance(got, np.ndarray)
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    error = np.linalg.norm(got - want) / max(np.linalg.norm(want), 1e-30)
    assert error < TOLERANCES[dtype]


def built(cell, depth=I, dtype=np.float32):
    """The cell with weights that no initializer gives: biases and peepholes are not 0."""
    units = cell._num_units
    cell(np.zeros((1, depth), dtype), cell.zero_state(1, dtype))
    random = np.random.default_rng(units)
    cell.set_weights([random.normal(size=w.shape).astype(dtype) * 0.4 for w in cell.get_weights()])
    return cell


def twins(cls=lstmcore.LSTMCell, device_dtype=None, dtype=np.float32, depth=I, **options):
    """The same cell on the CPU and on the GPU."""
    on_cpu = built(cls(H, dtype=dtype, **options), depth, dtype)
    on_gpu = cls(H, dtype=dtype, device="cuda", device_dtype=device_dtype, **options)
    on_gpu(np.zeros((1, depth), dtype), on_gpu.zero_state(1, dtype))
    on_gpu.set_weights(on_cpu.get_weights())
    return on_cpu, on_gpu


def state_of(cell, rows=N, dtype=np.float32):
    sizes = cell.state_size
    return LSTMStateTuple(
        *(values(rows, size, dtype=dtype, seed=k) for k, size in enumerate(sizes))
    )


def on_device(state, dtype="float32"):
    """Cell states are wider than float16 and bfloat16."""
    wide = "float64" if dtype == "float64" else "float32"
    return LSTMStateTuple(*map(cuda.asarray, state, (wide, dtype)))


def host_dtype(dtype):
    return np.float64 if dtype == "float64" else np.float32


def back(array, dtype="float32"):
    """On the host, from wherever a result is."""
    return array if isinstance(array, np.ndarray) else cuda.asnumpy(array, host_dtype(dtype))


def stacks(state_is_tuple=True, **options):
    """(on the CPU, on the GPU)"""
    options["state_is_tuple"] = state_is_tuple
    pairs = [twins(**options), twins(cls=lstmcore.BasicLSTMCell, depth=H, **options)]
    return [
        lstmcore.MultiRNNCell(cells, state_is_tuple=state_is_tuple)
        for cells in zip(*pairs, strict=True)
    ]
