"""OpenVINO: the ONNX model compiled for latency, one stream, float32 kept as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino

from lstmcore.benchmark.cases import Array, Case, Inputs, Variant
from lstmcore.benchmark.engines import onnx_model


def version() -> str:
    return str(openvino.__version__)


def variants(case: Case, inputs: Inputs, threads: int) -> dict[str, Variant]:
    if case.ragged:
        return {}  # its LSTM takes lengths, but what it writes past them is not zero
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(onnx_model.make(case, inputs), b""),
        "CPU",
        {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",
        },
    )
    request = compiled.create_infer_request()
    request.set_tensor("x", openvino.Tensor(inputs.x, shared_memory=True))
    return {"infer": _steps(request, case) if case.is_step else _sequences(request)}


def _steps(request: Any, case: Case) -> Variant:
    shape = (1, case.batch, case.num_units)
    states = [
        {n: openvino.Tensor(np.zeros(shape, np.float32), shared_memory=True) for n in "hc"}
        for _ in range(2)
    ]
    done = 0

    def run(n: int) -> None:
        nonlocal done
        for _ in range(n):
            old, new = states[done & 1], states[1 - (done & 1)]
            for name in "hc":
                request.set_tensor(f"{name}0", old[name])
                request.set_tensor(name, new[name])
            request.infer()
            done += 1

    return Variant(run, lambda: states[done & 1]["h"].data[0])


def _sequences(request: Any) -> Variant:
    def run(n: int) -> None:
        for _ in range(n):
            request.infer()

    def output() -> Array:
        return onnx_model.as_sequence(request.get_output_tensor(0).data)

    return Variant(run, output)
