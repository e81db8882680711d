"""lstmcore against ``torch.nn.LSTM`` (cuDNN) in one process, as called and as a graph."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import timing
from abi import PATHS, Array, Library
from layer import Layer, dtype_and_math, reference
from sections import Section
from shapes import Shape, floor_us, goal

INPUTS = 3  # sets of arrays, taken in turn: no call finds its own in the caches alone
PER_MEASUREMENT = 0.5  # seconds, at most


def benchmark(
    library: Library, section: Section, shapes: Sequence[Shape], modes: Sequence[str], timer: Any
) -> None:
    section.put(timer=type(timer).__name__, torch=timing.torch_versions(timer.torch))
    for mode in modes:  # of each mode all shapes: what is cut short has seen each shape
        for shape in shapes:
            if section.has_row(shape=shape.name, mode=mode):
                continue
            if not section.enough(4):
                section.say("cut short")
                return
            section.attempt(
                f"{shape.name} {mode}",
                lambda: _cell(library, section, shape, mode, timer),  # noqa: B023
            )


def _cell(library: Library, section: Section, shape: Shape, mode: str, timer: Any) -> None:
    """A row: our paths, cuDNN, how far apart their results are."""
    dtype, _ = dtype_and_math(mode)
    rng = np.random.default_rng(shape.H)
    scale = shape.H**-0.5
    kernel = rng.uniform(-scale, scale, (shape.I + shape.H, 4 * shape.H))
    bias = rng.uniform(-scale, scale, 4 * shape.H)
    cell = reference.Cell(kernel, bias, forget_bias=0.0)
    values = [rng.normal(size=(shape.T, shape.N, shape.I)) for _ in range(INPUTS)]
    row: dict[str, Any] = {"shape": shape.name, "mode": mode, "errors": {}}
    row.update(floor_us=round(floor_us(shape, mode), 1), target_us=shape.target_us(mode))
    row["goal"] = goal(shape, mode)

    def attempt(what: str, work: Callable[[], Any], family: str = "") -> Any:
        name = f"{shape.name} {mode} {what}"
        result = section.attempt(name, work, family)
        if result is None:
            known = [*section.data.get("lost", []), *section.data.get("errors", [])]
            reasons = [
                entry.get("why") or entry["error"] for entry in known if entry["what"] == name
            ]
            row["errors"][what] = (reasons or [f"too many of {family} were lost"])[-1][:300]
        return result

    row["ours"] = attempt(
        "ours", lambda: _ours(library, shape, dtype, mode, cell, values, timer, attempt)
    )
    if timer.torch is not None:
        row["cudnn"] = attempt("cudnn", lambda: _cudnn(shape, mode, cell, values, timer, attempt))
        if shape.N == 1 and mode == "float16":  # what reaches cuDNN's persistent kernel at one row
            padded = [np.repeat(v, 8, axis=1) for v in values]
            row["cudnn_padded_to_8"] = attempt(
                "padded", lambda: _cudnn(shape, mode, cell, padded, timer, attempt)
            )
    _compare(row)
    for part in ("ours", "cudnn", "cudnn_padded_to_8"):
        if row.get(part):
            row[part].pop("y", None)
    section.row(**row)
    section.say(summary(row))


def _both_ways(timer: Any, calls: list[timing.Call], what: str, attempt: Any) -> dict[str, Any]:
    """As it is called, and captured; ``best_us`` is the faster one's time on the GPU."""
    result: dict[str, Any] = {"eager": timing.measure(timer, calls, PER_MEASUREMENT)}
    if timer.device == "cuda":
        graph = attempt(
            f"{what} captured",
            lambda: timing.measure(timer, timer.captured(calls), PER_MEASUREMENT),
        )
        if graph:
            result["captured"] = graph
    best = min(result, key=lambda way: result[way]["gpu_us"])
    return {**result, "best": best, "best_us": result[best]["gpu_us"]}


def _ours(
    library: Library, shape: Shape, dtype: str, mode: str, cell: Any, values: list[np.ndarray],
    timer: Any, attempt: Any,
) -> dict[str, Any]:  # fmt: skip
    layer = Layer(library, cell, *dtype_and_math(mode))
    arrays = [Array(library, v.shape, dtype).write(v) for v in values]
    chosen = layer.plan(shape.T, shape.N)
    result: dict[str, Any] = {"plan": chosen, "paths": {}}
    for path in PATHS:
        plan = layer.plan(shape.T, shape.N, path)
        # Forced, the chosen path would only be measured again.
        if plan is None or (path != "auto" and path == chosen["path"]):
            continue
        calls = [layer.call(x, path=path) for x in arrays]
        current = [lambda c=c: c.run(timer.current_stream()) for c in calls]
        measured = attempt(
            path,
            lambda: _both_ways(timer, current, path, attempt),  # noqa: B023
            family=plan["path"],
        )
        if measured is None:
            continue
        if path == "auto":
            result.update(measured)
            result["y"] = calls[0].y.read()
            result["kernels"] = attempt("kernels", lambda: timer.kernels(current[0])) or []  # noqa: B023
        else:
            result["paths"][path] = {**measured, "plan": plan}
    layer.close()
    return result


def _cudnn(
    shape: Shape, mode: str, cell: Any, values: list[np.ndarray], timer: Any, attempt: Any
) -> dict[str, Any]:
    torch = timer.torch
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.backends.cudnn.allow_tf32 = mode == "tf32"
        torch.backends.cuda.matmul.allow_tf32 = mode == "tf32"
    kind = getattr(torch, "float32" if mode == "tf32" else mode)
    lstm = torch.nn.LSTM(shape.I, shape.H)

    def gates(matrix: np.ndarray) -> Any:  # i, j, f, o to i, f, j, o
        i, j, f, o = np.split(matrix, 4, axis=-1)
        return torch.from_numpy(np.concatenate([i, f, j, o], axis=-1).T.copy()).float()

    W, R = np.split(cell.kernel, [shape.I])
    with torch.no_grad():
        for name, value in (("weight_ih_l0", W), ("weight_hh_l0", R), ("bias_ih_l0", cell.bias)):
            getattr(lstm, name).copy_(gates(value))
        lstm.bias_hh_l0.zero_()
    lstm = lstm.to(timer.device, kind).eval()
    lstm.flatten_parameters()
    with torch.inference_mode():
        inputs = [torch.from_numpy(v).to(timer.device, kind) for v in values]
        calls = [lambda x=x: lstm(x) for x in inputs]
        result = _both_ways(timer, calls, "cudnn", attempt)
        result["kernels"] = attempt("cudnn kernels", lambda: timer.kernels(calls[0])) or []
        result["y"] = calls[0]()[0].double().cpu().numpy()
    return result


def _compare(row: dict[str, Any]) -> None:
    ours, cudnn = row.get("ours"), row.get("cudnn")
    if ours and "best_us" in ours:
        row["over_floor"] = round(ours["best_us"] / row["floor_us"], 2)
    if not (ours and cudnn and "best_us" in ours and "best_us" in cudnn):
        return
    row["ratio"] = round(cudnn["best_us"] / ours["best_us"], 3)
    difference = np.linalg.norm(ours["y"] - cudnn["y"]) / np.linalg.norm(cudnn["y"])
    row["difference_from_cudnn"] = float(difference)


def summary(row: dict[str, Any]) -> str:
    def us(part: str) -> str:
        value = (row.get(part) or {}).get("best_us")
        return f"{value:9.1f}" if value else "        -"

    path = ((row.get("ours") or {}).get("plan") or {}).get("path", "-")
    ratio = f"{row['ratio']:6.2f}" if "ratio" in row else "     -"
    return (
        f"{row['shape']:24}{row['mode']:9} floor {row['floor_us']:8.1f}  target "
        f"{row['target_us']:7.1f}  ours {us('ours')} {path:9} cuDNN {us('cudnn')}  ratio {ratio}"
    )
