"""``lstmcore run``: a model over an input file, with speed and latency."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from lstmcore.arrays import Array
from lstmcore.errors import LoadError
from lstmcore.models.lstm import LSTM
from lstmcore.streams import Stream

_LONG = 2.0  # seconds from which on there is a progress bar


def read_input(path: str, model: LSTM) -> Array:
    """[N, T, I] from an .npy file of that shape, or [T, I] for one sequence.

    Raises LoadError for what is no such file, ValueError for other shapes.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise LoadError(f"{path}: cannot be read as a NumPy array: {error}") from None
    if not isinstance(values, np.ndarray):
        raise LoadError(f"{path}: expected a single array (.npy), got an archive")
    if values.ndim == 2:
        values = values[None]
    if values.ndim != 3 or values.shape[2] != model.input_size or values.dtype.kind not in "fiu":
        raise ValueError(
            f"input: expected numbers of shape (batch, time, {model.input_size}) or (time, "
            f"{model.input_size}), got {values.dtype} {values.shape}"
        )
    return np.ascontiguousarray(values, model.dtype)


def run(
    model: LSTM, x: Array, output: str | None, stream: int | None, repeat: int
) -> dict[str, Any]:
    """Runs and reports; ``stream``: also row by row in chunks of so many steps.

    ``agrees`` is False where the streamed outputs are not those of the whole sequence.
    """
    y, state = model(x, return_state=True)  # the first call is not timed
    times: list[float] = []
    for k in range(repeat):
        begun = time.perf_counter()
        y, state = model(x, return_state=True)
        times.append(time.perf_counter() - begun)
        if sum(times) > _LONG:
            _progress(k + 1, repeat, "calls")
    _progress_end()
    if output is not None:
        finals = {
            f"{n}{k}": part
            for k, pair in enumerate(state)
            for n, part in zip("ch", pair, strict=True)
        }
        np.savez(output, outputs=y, **finals)
    report: dict[str, Any] = {
        "model": repr(model),
        "input": list(x.shape),
        "outputs": list(y.shape),
        "output_file": output,
        "steps_per_second": x.shape[0] * x.shape[1] / float(np.median(times)),
        "latency_ms": _percentiles(times),
        "checksum": float(np.sum(y, dtype=np.float64)),
        "finite": bool(np.isfinite(y).all()),
    }
    if stream is not None:
        report["stream"] = _streamed(model, x, y, stream)
    return report


def _streamed(model: LSTM, x: Array, y: Array, chunk: int) -> dict[str, Any]:
    stream = Stream(model)
    times, agrees, begun = [], True, time.perf_counter()
    for n, row in enumerate(x):
        stream.reset()
        for at in range(0, len(row), chunk):
            start = time.perf_counter()
            got = stream.push(row[at : at + chunk])
            times.append(time.perf_counter() - start)
            agrees &= np.array_equal(got, y[n, at : at + chunk], equal_nan=True)
        if time.perf_counter() - begun > _LONG:
            _progress(n + 1, len(x), "rows")
    _progress_end()
    return {
        "chunk": chunk,
        "agrees": bool(agrees),
        "latency_ms": _percentiles(times),
        "steps_per_second": x.shape[0] * x.shape[1] / sum(times) if times else 0.0,
    }


def _percentiles(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {}
    return {f"p{p}": 1e3 * float(np.percentile(seconds, p)) for p in (50, 95, 99)}


def _progress(done: int, of: int, what: str) -> None:
    if sys.stderr.isatty():
        filled = 30 * done // of
        bar = "#" * filled + "." * (30 - filled)
        print(f"\r[{bar}] {done}/{of} {what}", end="", file=sys.stderr, flush=True)


def _progress_end() -> None:
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def as_text(done: dict[str, Any]) -> str:
    N, T, I = done["input"]
    lines = [
        done["model"],
        f"input     {N} x {T} steps x {I}",
        f"outputs   {' x '.join(map(str, done['outputs']))}"
        + (f" -> {done['output_file']}" if done["output_file"] else ""),
        f"speed     {done['steps_per_second']:,.0f} steps per second",
        f"latency   {_latency(done['latency_ms'])} per call",
        f"checksum  {done['checksum']:.9g}" + ("" if done["finite"] else " (not all finite)"),
    ]
    if "stream" in done:
        stream = done["stream"]
        equal = "equal to the whole sequence, bit for bit" if stream["agrees"] else "DIFFERENT"
        lines.append(f"streamed  in chunks of {stream['chunk']}: {equal}")
        lines.append(f"          {stream['steps_per_second']:,.0f} steps per second")
        lines.append(f"          {_latency(stream['latency_ms'])} per chunk")
    return "\n".join(lines)


def _latency(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g} ms" for name, value in values.items())
