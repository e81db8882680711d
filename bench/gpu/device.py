"""What is measured of the machine itself, and other programs that run on its GPU."""

from __future__ import annotations

import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import build
from abi import cublas_folder
from sections import Section


def environment(section: Section) -> None:
    section.put(python=platform.python_version(), cpus=os.cpu_count(), kernel=platform.release())
    fields = (
        "name,driver_version,memory.total,clocks.max.sm,clocks.max.mem,power.limit,mig.mode.current"
    )

    def smi() -> dict[str, str]:
        command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
        out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
        return dict(zip(fields.split(","), out.splitlines()[0].split(", "), strict=True))

    section.put(gpu=section.attempt("nvidia-smi", smi))

    def compiler() -> str:
        out = subprocess.run(
            [build.nvcc(), "--version"], capture_output=True, text=True, check=True
        )
        return re.search(r"release (\S+),", out.stdout)[1]

    section.put(nvcc=section.attempt("nvcc", compiler), cublas=str(cublas_folder()))

    def torch_versions() -> dict[str, Any]:
        import torch

        properties = torch.cuda.get_device_properties(0)
        return {
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "multiprocessors": properties.multi_processor_count,
            "l2_bytes": getattr(properties, "L2_cache_size", None),
        }

    section.put(torch=section.attempt("torch", torch_versions))
    section.say(str({k: section.data[k] for k in ("gpu", "nvcc", "torch")}))


def calibrate(section: Section, folder: Path, torch: bool = True) -> None:
    """The constants behind the planner's costs, and proposals for them."""
    text = section.attempt("calibrate", lambda: build.run(section, [folder / "calibrate"])) or ""
    constants: dict[str, float] = {}
    for line in text.splitlines():
        name, value, rest = line.split(maxsplit=2)
        if value == "error":
            section.data.setdefault("errors", []).append({"what": name, "error": rest})
        else:
            constants[name] = float(value)
            section.row(name=name, value=float(value), unit=rest)
            section.say(line)
    if torch:
        section.attempt("GEMM rates", lambda: gemm_rates(section, constants))
    section.put(costs=proposals(constants))
    section.say(f"for the planner: {section.data['costs']}")


def gemm_rates(section: Section, constants: dict[str, float]) -> None:
    import torch

    for mode in ("float32", "tf32", "float16", "bfloat16", "float64"):
        torch.backends.cuda.matmul.allow_tf32 = mode == "tf32"
        kind = getattr(torch, "float32" if mode == "tf32" else mode)
        # Large, and of the input product of T 100, N 64, I and H 1024.
        for M, N, K in ((8192, 8192, 8192), (6400, 4096, 1024)):
            a = torch.randn(M, K, device="cuda").to(kind)
            b = torch.randn(K, N, device="cuda").to(kind)
            for _ in range(3):
                a @ b
            times = []
            for _ in range(7):
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                start.record()
                a @ b
                end.record()
                end.synchronize()
                times.append(start.elapsed_time(end))
            name = f"gemm_{mode}_{M}x{N}x{K}"
            constants[name] = 2 * M * N * K / (statistics.median(times) * 1e-3) / 1e12
            section.row(name=name, value=constants[name], unit="TFLOP/s")


def proposals(constants: dict[str, float]) -> dict[str, float]:
    """Values for the fields of ``Costs`` in cuda/plan.cpp that have a measurement here."""
    sources = {
        "cluster_us": "cluster_push_blocks_16_words_1024",
        "grid_us": "all_gather_blocks_128_words_1024",
        "weights_tb_per_s": "l2_read_mb_8",
        "full_clusters": "active_clusters_of_16_with_200_kb",
        "gemm_float32_tflops": "gemm_float32_6400x4096x1024",
        "gemm_tf32_tflops": "gemm_tf32_6400x4096x1024",
        "gemm_half_tflops": "gemm_bfloat16_6400x4096x1024",
        "gemm_float64_tflops": "gemm_float64_6400x4096x1024",
    }
    found = {cost: constants[name] for cost, name in sources.items() if name in constants}
    if "graph_node" in constants:
        found["stepwise_us"] = 2 * constants["graph_node"]
    return {name: round(value, 3) for name, value in found.items()}


def device_test(section: Section, folder: Path) -> None:
    """tests/cuda/test_cuda.cpp on this GPU: paths, dtypes and options against the CPU kernels."""
    program = next(folder.rglob("test_cuda_device"))
    folders = [str(cublas_folder() or ""), os.environ.get("LD_LIBRARY_PATH", "")]
    environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(filter(None, folders))}
    done = subprocess.run(
        [program], capture_output=True, text=True, timeout=max(section.left, 5), env=environment
    )
    lines = done.stdout.splitlines()
    section.put(passed=done.returncode == 0, output=lines[-30:], stderr=done.stderr[-1000:])
    section.say(lines[-1] if lines else f"ended with {done.returncode}")


def sanitizer(section: Section, folder: Path) -> None:
    """compute-sanitizer over tiny calls of every path, in a process without torch."""
    home = str(Path(build.nvcc()).resolve().parent)
    tool = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path=home)
    if not tool:
        raise RuntimeError("there is no compute-sanitizer")
    script = Path(__file__).parents[1] / "gpu_report.py"
    library = build.library_in(folder)
    for check in ("memcheck", "racecheck", "synccheck"):
        if not section.enough(5):
            return
        options = ["--tool", check, "--target-processes", "all", "--error-exitcode", "9"]
        command = [tool, *options, sys.executable, script, "--tiny", "--library", library]
        # A third of what is left each, so that one slow tool leaves time for the next.
        limit = section.left / {"memcheck": 3, "racecheck": 2, "synccheck": 1}[check]
        row: dict[str, Any] = {"tool": check}
        try:
            done = subprocess.run(
                [str(part) for part in command], capture_output=True, text=True, timeout=limit
            )
            text = done.stdout + done.stderr
            summary = re.findall(r"=+ ((?:ERROR|RACECHECK) SUMMARY.*)", text)
            # A sanitizer that did not get as far as a summary has not said that all is well.
            clean = done.returncode == 0 and bool(summary) and "tiny: done" in text
            row.update(clean=clean, exit=done.returncode, summary=summary[-1:], output=text[-1500:])
        except subprocess.TimeoutExpired:
            row.update(clean=None, summary=[f"not done after {limit:.0f} s"])
        section.row(**row)
        section.say(f"{check}: {row['summary']}, clean: {row['clean']}")


def python_call(section: Section, folder: Path) -> None:
    """Time on the host of ``lstm(x)`` on arrays of torch: what the Python layers add."""
    sys.path.insert(0, str(build.package(folder)))
    import time

    import torch

    import lstmcore

    for units in (256, 1024):
        for dtype in ("float32", "bfloat16"):
            lstm = lstmcore.LSTM(units, units, seed=1).to("cuda", dtype)
            x = torch.randn(1, 100, units, device="cuda").to(getattr(torch, dtype))
            times, enqueued = [], []
            for _ in range(60):
                torch.cuda.synchronize()
                start = time.perf_counter()
                lstm(x)
                middle = time.perf_counter()
                torch.cuda.synchronize()
                times.append(time.perf_counter() - start)
                enqueued.append(middle - start)
            section.row(
                shape=f"T100 N1 I{units} H{units}", dtype=dtype,
                call_us=round(statistics.median(times[10:]) * 1e6, 1),
                enqueue_us=round(statistics.median(enqueued[10:]) * 1e6, 1),
            )  # fmt: skip
            section.say(str(section.data["rows"][-1]))
