"""lstmcore's Python on arrays of torch, CuPy and JAX: results, and what the host spends."""

from __future__ import annotations

import importlib.util
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import build
import numpy as np
from sections import Section

SIZES: tuple[tuple[int, int, int], ...] = (
    (1, 100, 256),
    (1, 100, 1024),
    (8, 50, 40),
)  # batch, time, inputs and units


def interop(section: Section, folder: Path, library: Path) -> None:
    place = section.attempt("package", lambda: build.package(folder, library))
    if place:  # else perhaps one is installed
        sys.path.insert(0, str(place))
    os.environ["LSTMCORE_CUDA_LIBRARY"] = str(library)
    import lstmcore
    from lstmcore import cuda

    if reason := cuda.why_not():
        raise RuntimeError(reason)
    section.put(lstmcore=lstmcore.__file__, devices=cuda.device_count())
    for name, work in ARRAYS.items():
        if importlib.util.find_spec(name):
            for size in SIZES:
                section.attempt(f"{name} {size}", lambda: measure(section, name, work(), size))  # noqa: B023
    if cuda.device_count() > 1:
        section.attempt("cuda:1", lambda: second_gpu(section))


def with_numpy() -> tuple[Any, Any, Any]:
    return lambda x: x, lambda y: np.asarray(y), lambda: None


def with_torch() -> tuple[Any, Any, Any]:
    import torch

    return (
        lambda x: torch.from_numpy(x).cuda(),
        lambda y: torch.from_dlpack(y).cpu().numpy(),
        torch.cuda.synchronize,
    )


def with_cupy() -> tuple[Any, Any, Any]:
    import cupy

    return (
        cupy.asarray,
        lambda y: cupy.asnumpy(cupy.from_dlpack(y)),
        cupy.cuda.get_current_stream().synchronize,
    )


def with_jax() -> tuple[Any, Any, Any]:
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # most of the GPU's memory
    import jax

    gpu = jax.devices("cuda")[0]
    return (
        lambda x: jax.device_put(x, gpu).block_until_ready(),
        lambda y: np.asarray(jax.dlpack.from_dlpack(y)),
        lambda: None,
    )


# By the module that must be there: how an array goes to the GPU and comes back, how it waits.
ARRAYS: dict[str, Callable[[], tuple[Any, Any, Any]]] = {
    "numpy": with_numpy,
    "torch": with_torch,
    "cupy": with_cupy,
    "jax": with_jax,
}


def measure(
    section: Section, name: str, functions: tuple[Any, Any, Any], size: tuple[int, int, int]
) -> None:
    import lstmcore

    to, back, wait = functions
    batch, steps, units = size
    host = np.random.default_rng(1).normal(size=(batch, steps, units)).astype(np.float32)
    model = lstmcore.LSTM(units, units, num_layers=1, seed=1)
    fast, x, want = model.to("cuda"), to(host), model(host)
    worst = float(np.abs(back(fast(x)) - want).max())
    times, enqueued = [], []
    for _ in range(40):
        wait()
        start = time.perf_counter()
        y = fast(x)
        middle = time.perf_counter()
        fast.synchronize()
        times.append((time.perf_counter() - start) * 1e6)
        enqueued.append((middle - start) * 1e6)
    section.row(
        arrays=name, size=list(size), worst=worst, ok=worst < 1e-4, result=type(y).__name__,
        call_us=round(statistics.median(times[10:]), 1),
        enqueue_us=round(statistics.median(enqueued[10:]), 1),
    )  # fmt: skip
    section.say(str(section.data["rows"][-1]))


def second_gpu(section: Section) -> None:
    import lstmcore

    x = np.random.default_rng(1).normal(size=(4, 20, 30)).astype(np.float32)
    model = lstmcore.LSTM(30, 50, num_layers=2, bidirectional=True, seed=1)
    results = {}
    for device in ("cuda:0", "cuda:1"):
        results[device] = np.asarray(model.to(device)(x))
    worst = float(np.abs(results["cuda:1"] - results["cuda:0"]).max())
    section.row(arrays="numpy", size=[4, 20, 30], device="cuda:1", worst=worst, ok=worst < 1e-4)
