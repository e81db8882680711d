"""The constants behind the planner's costs: of the machine by a program, of steps by calls."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import build
import numpy as np
from abi import Array, Library
from layer import Layer, Options, dtype_and_math, random_cell
from sections import Section


def calibrate(section: Section, folder: Path, library: Library) -> None:
    constants: dict[str, float] = {}

    def put(name: str, value: float, unit: str) -> None:
        constants[name] = value
        section.row(name=name, value=value, unit=unit)
        section.say(f"{name} {value:.6g} {unit}")

    for name, value, _ in build.measurements(section, folder, "calibrate"):
        constants[name] = value
    for name, (path, kernel, mode, batch, units) in PROBES.items():
        found = section.attempt(name, lambda: probe(library, path, kernel, mode, batch, units))  # noqa: B023
        if found:
            put(f"{name}_step", found[0], "us")
            put(f"{name}_call", found[1], "us")
    section.attempt("GEMM rates", lambda: gemm_rates(put))
    section.put(costs=proposals(constants))
    section.say(f"for the planner: {section.data['costs']}")


# By name: path, kernel, mode, batch, units. "tiny": hardly anything but the cell and its exchange.
PROBES = {
    "block_tiny": ("block", "fma", "float32", 1, 8),
    "block_large": ("block", "fma", "float32", 1, 128),
    "stepwise_fused": ("stepwise", "auto", "float32", 1, 128),
    "stepwise_gates": ("stepwise", "auto", "bfloat16", 8, 64),
}
STEPS = (512, 4096)


def probe(
    library: Library, path: str, kernel: str, mode: str, batch: int, units: int
) -> tuple[float, float]:
    """Microseconds of a step, and of a call apart from its steps."""
    dtype, math = dtype_and_math(mode)
    layer = Layer(library, random_cell(4, units, Options(), dtype, 1), dtype, math, kernel)
    shortest = []
    for steps in STEPS:
        x = Array(library, (steps, batch, 4), dtype).write(np.float64(0.5))
        call, times = layer.call(x, path=path), []
        for _ in range(8):
            start = time.perf_counter()
            call.run()
            library.synchronize()
            times.append((time.perf_counter() - start) * 1e6)
        shortest.append(min(times[2:]))
    layer.close()
    step = (shortest[1] - shortest[0]) / (STEPS[1] - STEPS[0])
    return step, shortest[0] - STEPS[0] * step


def gemm_rates(put: Any) -> None:
    """Large products, and one of a step of 256 rows, many in a graph: a launch takes as long."""
    import torch

    for mode in ("float32", "tf32", "float16", "bfloat16", "float64"):
        torch.backends.cuda.matmul.allow_tf32 = mode == "tf32"
        kind = getattr(torch, "float32" if mode == "tf32" else mode)
        for M, N, K, count in ((8192, 8192, 8192, 1), (6400, 4096, 1024, 4), (256, 4096, 1024, 40)):
            a = torch.randn(M, K, device="cuda").to(kind)
            b = torch.randn(K, N, device="cuda").to(kind)
            out = torch.empty(M, N, device="cuda", dtype=kind)
            torch.matmul(a, b, out=out)
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                for _ in range(count):
                    torch.matmul(a, b, out=out)
            times = []
            for _ in range(7):
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                start.record()
                graph.replay()
                end.record()
                end.synchronize()
                times.append(start.elapsed_time(end) / count)
            rate = 2 * M * N * K / (statistics.median(times[2:]) * 1e-3) / 1e12
            put(f"gemm_{mode}_{M}x{N}x{K}", rate, "TFLOP/s")


def line(constants: dict[str, float], name: str) -> tuple[float, float] | None:
    """Of an exchange measured at several sizes: microseconds at none, and per byte of h."""
    points = [
        (int(key[len(name) :]) * 4, us) for key, us in constants.items() if key.startswith(name)
    ]
    if len(points) < 2:
        return None
    slope, start = np.polyfit(*zip(*points, strict=True), 1)
    return float(start), float(slope)


def proposals(constants: dict[str, float]) -> dict[str, float]:
    """Values for the fields of ``Costs`` in cuda/plan.cpp that have a measurement here."""
    sources = {
        "clock_ghz": "clock",
        "block_us": "block_exchange",
        "mma_clocks": "mma_bfloat16",
        "weights_tb_per_s": "l2_read_mb_8",
        "full_clusters": "active_clusters_of_16_with_200_kb",
        "gemm_float32_tflops": "gemm_float32_256x4096x1024",
        "gemm_tf32_tflops": "gemm_tf32_256x4096x1024",
        "gemm_half_tflops": "gemm_bfloat16_256x4096x1024",
        "gemm_float64_tflops": "gemm_float64_256x4096x1024",
        "stepwise_us": "stepwise_gates_step",
        "fused_us": "stepwise_fused_step",
    }
    found = {cost: constants[name] for cost, name in sources.items() if name in constants}
    clock = constants.get("clock")
    for cost, bytes_per_clock, name in (
        ("cluster_us", "cluster_bytes", "cluster_push_blocks_16_words_"),
        ("grid_us", "grid_bytes", "all_gather_blocks_128_words_"),
    ):
        if fitted := line(constants, name):
            found[cost] = fitted[0]
            if clock and fitted[1] > 0:
                found[bytes_per_clock] = 1 / (fitted[1] * clock * 1e3)
    if "block_tiny_step" in constants and "block_exchange" in constants:
        found["cell_us"] = constants["block_tiny_step"] - constants["block_exchange"]
    if "block_large_call" in constants and "stepwise_fused_call" in constants:
        found["launch_us"] = max(
            0.0, constants["block_large_call"] - constants["stepwise_fused_call"]
        )
    return {name: round(value, 3) for name, value in found.items()}
