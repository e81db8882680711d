"""Time of calls on the GPU and on the host, through torch or, without it, by the clock alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

Call = Callable[[], Any]


class HostTimer:
    """Without torch: no events, no graphs; what it calls GPU time is the host's."""

    device, torch = "cpu", None

    def __init__(self, synchronize: Call) -> None:
        self.synchronize = synchronize

    def current_stream(self) -> int:
        return 0

    def gpu_us(self, calls: Sequence[Call], repeats: int) -> list[float]:
        times = []
        for k in range(repeats):
            start = time.perf_counter()
            calls[k % len(calls)]()
            self.synchronize()
            times.append((time.perf_counter() - start) * 1e6)
        return times

    def captured(self, calls: Sequence[Call]) -> list[Call]:
        raise RuntimeError("graphs are captured through torch")

    def kernels(self, call: Call) -> list[dict[str, Any]]:
        return []


class TorchTimer:
    """Events of torch on a stream of its own."""

    device = "cuda"

    def __init__(self) -> None:
        import torch

        self.torch = torch
        self._stream = torch.cuda.Stream()
        torch.cuda.set_stream(self._stream)
        self.synchronize = torch.cuda.synchronize

    def current_stream(self) -> int:
        """While a graph is captured, that of the capture."""
        return int(self.torch.cuda.current_stream().cuda_stream)

    def gpu_us(self, calls: Sequence[Call], repeats: int) -> list[float]:
        """Of each call between two events, one call after the other."""
        event = self.torch.cuda.Event
        marks = [event(enable_timing=True) for _ in range(2 * repeats)]
        for k in range(repeats):
            marks[2 * k].record()
            calls[k % len(calls)]()
            marks[2 * k + 1].record()
        self.synchronize()
        return [a.elapsed_time(b) * 1e3 for a, b in zip(marks[::2], marks[1::2], strict=True)]

    def captured(self, calls: Sequence[Call]) -> list[Call]:
        """Each call as a graph's replay."""
        replays = []
        for call in calls:
            graph = self.torch.cuda.CUDAGraph()
            self.synchronize()
            stream = self.torch.cuda.Stream()
            with self.torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                call()
            replays.append(graph.replay)
        return replays

    def kernels(self, call: Call) -> list[dict[str, Any]]:
        """Names of what runs on the GPU in one call, those that take longest first."""
        profiler = self.torch.profiler
        with profiler.profile(activities=[profiler.ProfilerActivity.CUDA]) as profile:
            call()
            self.synchronize()
        events = [(_device_us(e), e) for e in profile.key_averages()]
        events = sorted((pair for pair in events if pair[0] > 0), key=lambda pair: -pair[0])
        return [{"name": e.key[:160], "count": e.count, "us": round(us, 1)} for us, e in events[:6]]


def _device_us(event: Any) -> float:
    """torch has had several names for it."""
    names = ("self_device_time_total", "device_time_total", "self_cuda_time_total")
    return max(float(getattr(event, name, 0) or 0) for name in names)


def torch_versions(torch: Any) -> dict[str, Any] | None:
    if torch is None:
        return None
    cudnn = torch.backends.cudnn
    return {
        "torch": torch.__version__, "cuda": torch.version.cuda,
        "cudnn": cudnn.version() if cudnn.is_available() else None,
    }  # fmt: skip


def host_us(calls: Sequence[Call], synchronize: Call, repeats: int) -> list[float]:
    """From the call until its result is there."""
    times = []
    for k in range(repeats):
        synchronize()
        start = time.perf_counter()
        calls[k % len(calls)]()
        synchronize()
        times.append((time.perf_counter() - start) * 1e6)
    return times


def measure(
    timer: Any, calls: Sequence[Call], budget_s: float, repeats: int = 50
) -> dict[str, Any]:
    """Medians over two rounds; ``spread`` is how far apart the rounds' medians are.

    ``repeats`` calls a round, over the inputs in turn; fewer where a call takes so long that they
    would not fit into ``budget_s`` seconds.
    """
    for call in calls:
        call()
    first = statistics.median(timer.gpu_us(calls, 2 * len(calls)))  # and the clocks go up
    fitting = int(budget_s / 3 / max(first * 1e-6, 1e-9))
    count = max(len(calls), min(repeats, fitting))
    timer.gpu_us(calls, min(10, count))
    rounds = [statistics.median(timer.gpu_us(calls, count)) for _ in range(2)]
    host = statistics.median(host_us(calls, timer.synchronize, min(count, 20)))
    middle = statistics.mean(rounds)
    return {
        "gpu_us": round(middle, 2),
        "spread": round(abs(rounds[0] - rounds[1]) / middle, 4),
        "host_us": round(host, 2),
        "calls": 2 * count,
    }
