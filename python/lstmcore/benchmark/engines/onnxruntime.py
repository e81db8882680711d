"""ONNX Runtime: ``run`` with NumPy arrays, and IO binding to preallocated values."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime

from lstmcore.benchmark.cases import Array, Case, Inputs, Variant
from lstmcore.benchmark.engines import onnx_model


def version() -> str:
    return str(onnxruntime.__version__)


def variants(case: Case, inputs: Inputs, threads: int) -> dict[str, Variant]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    session = onnxruntime.InferenceSession(
        onnx_model.make(case, inputs), options, providers=["CPUExecutionProvider"]
    )
    feeds = {"x": inputs.x}
    if case.ragged:
        assert inputs.lengths is not None
        feeds["lengths"] = inputs.lengths.astype(np.int32)
    if case.is_step:
        return {
            "run": _run_steps(session, case, feeds),
            "IO binding": _bound_steps(session, case, feeds),
        }
    return {"run": _run(session, feeds), "IO binding": _bound(session, case, inputs, feeds)}


def _run_steps(session: Any, case: Case, feeds: dict[str, Array]) -> Variant:
    h, c = np.zeros((2, 1, case.batch, case.num_units), np.float32)

    def run(n: int) -> None:
        nonlocal h, c
        for _ in range(n):
            h, c = session.run(None, {**feeds, "h0": h, "c0": c})

    return Variant(run, lambda: h[0])


def _bound_steps(session: Any, case: Case, feeds: dict[str, Array]) -> Variant:
    shape = (1, case.batch, case.num_units)
    states = [
        {n: onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(shape, np.float32)) for n in "hc"}
        for _ in range(2)
    ]
    x = onnxruntime.OrtValue.ortvalue_from_numpy(feeds["x"])
    bindings = []
    for old, new in ((states[0], states[1]), (states[1], states[0])):
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", x)
        for name in "hc":
            binding.bind_ortvalue_input(f"{name}0", old[name])
            binding.bind_ortvalue_output(name, new[name])
        bindings.append(binding)
    done = 0

    def run(n: int) -> None:
        nonlocal done
        for _ in range(n):
            session.run_with_iobinding(bindings[done & 1])
            done += 1

    return Variant(run, lambda: states[done & 1]["h"].numpy()[0])


def _run(session: Any, feeds: dict[str, Array]) -> Variant:
    y: Any = None

    def run(n: int) -> None:
        nonlocal y
        for _ in range(n):
            (y,) = session.run(None, feeds)

    return Variant(run, lambda: onnx_model.as_sequence(y))


def _bound(session: Any, case: Case, inputs: Inputs, feeds: dict[str, Array]) -> Variant:
    binding = session.io_binding()
    values = {n: onnxruntime.OrtValue.ortvalue_from_numpy(a) for n, a in feeds.items()}
    for name, value in values.items():
        binding.bind_ortvalue_input(name, value)
    shape = (case.steps, len(inputs.layers[-1]), case.batch, case.num_units)
    y = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(shape, np.float32))
    binding.bind_ortvalue_output(session.get_outputs()[0].name, y)

    def run(n: int) -> None:
        for _ in range(n):
            session.run_with_iobinding(binding)

    return Variant(run, lambda: onnx_model.as_sequence(y.numpy()))
