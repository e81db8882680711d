"""Models on a GPU, through the emulator of tests/cuda: the real sources, run on the CPU."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import lstmcore
from cuda_emulator import run
from lstmcore import cuda
from lstmcore.app import info

TOLERANCES = {"float32": 2e-6, "float64": 2e-6, "float16": 3e-3, "bfloat16": 1.5e-2}


def model(**options):
    settings = {"use_peepholes": True, "forget_bias": 0.5, "cell_clip": 0.4, "seed": 3}
    return lstmcore.LSTM(5, 13, 2, **{**settings, **options})


def inputs(*shape):
    return np.random.default_rng(7).normal(size=shape).astype(np.float32)


def relative_error(got, want):
    assert got.shape == want.shape
    return np.linalg.norm(got - want) / np.linalg.norm(want)


def flat(results):
    if isinstance(results, np.ndarray):
        return [results]
    return [array for part in results for array in flat(part)]


def close(got, want, dtype):
    assert relative_error(got, want) < TOLERANCES[dtype]


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("path", ["auto", "stepwise", "block", "cluster", "grid"])
@pytest.mark.parametrize("num_proj", [None, 7])
def test_as_on_the_cpu(gpu, dtype, path, num_proj):
    if dtype == "float64" and path not in ("auto", "stepwise"):
        pytest.skip("float64 has the stepwise path alone")
    lstm, x, lengths = model(num_proj=num_proj), inputs(4, 6, 5), [6, 0, 3, 5]
    state = [(inputs(4, 13) / 9, inputs(4, num_proj or 13) / 7) for _ in range(2)]
    want, want_state = lstm(x, lengths, state, "hc", return_state=True)
    kind = np.float64 if dtype == "float64" else np.float32
    given = [tuple(part.astype(kind) for part in pair) for pair in state]
    on_gpu = lstm.to("cuda", dtype)
    got, got_state = on_gpu(x.astype(kind), lengths, given, "hc", return_state=True, path=path)
    assert on_gpu.device == "cuda:0"
    for a, b in zip(got, want, strict=True):
        assert a.dtype == kind
        close(a, b, dtype)
    for pair, want_pair in zip(got_state, want_state, strict=True):
        for a, b in zip(pair, want_pair, strict=True):
            close(a, b, dtype)


def test_tensor_cores_as_math_allows(gpu):
    lstm, x = lstmcore.LSTM(5, 80, 2, use_peepholes=True, seed=3), inputs(8, 6, 5)
    want = lstm(x)
    errors, kernels = {}, {}
    for math in ("ieee", "tf32x3", "tf32"):
        on_gpu = lstm.to("cuda", math=math)
        kernels[math] = on_gpu.plan(6, 8, "grid")[0]["kernel"]
        errors[math] = relative_error(on_gpu(x, path="grid"), want)
    assert (kernels["ieee"], kernels["tf32"]) == ("fma", "mma")
    assert errors["ieee"] < 2e-6
    assert errors["tf32x3"] < 5e-6
    assert 5e-6 < errors["tf32"] < 2e-3
    assert lstm.to("cuda").plan(6, 8, "stepwise")[0]["kernel"] is None


@pytest.mark.parametrize("time_major", [False, True])
def test_two_directions_and_a_projection(gpu, time_major):
    lstm, x = model(bidirectional=True, num_proj=6, proj_clip=0.2), inputs(6, 6, 5)
    want = lstm(x, [6, 2, 0, 6, 1, 5], time_major=time_major)
    close(lstm.to("cuda")(x, [6, 2, 0, 6, 1, 5], time_major=time_major), want, "float32")


@pytest.mark.parametrize("path", ["block", "cluster", "grid"])
def test_a_projection_at_the_persistent_paths(gpu, path):
    options = {"num_layers": 2, "bidirectional": True, "num_proj": 5, "use_peepholes": True}
    lstm, x = lstmcore.LSTM(10, 19, seed=3, **options), inputs(5, 9, 10)
    lengths = [9, 0, 4, 1, 8]
    state = lstm(x[::-1], return_state=True)[1]
    on_gpu = lstm.to("cuda")
    for outputs in ("all", "hc", "c", "last"):
        want, want_state = lstm(x, lengths, state, outputs, return_state=True)
        got, got_state = on_gpu(x, lengths, state, outputs, return_state=True, path=path)
        for a, b in zip(flat(got) + flat(got_state), flat(want) + flat(want_state), strict=True):
            close(a, b, "float32")
    out = cuda.asarray(np.full_like(x, 7))
    on_gpu(cuda.asarray(x), lengths, state, out=out, path=path)
    close(cuda.asnumpy(out), lstm(x, lengths, state), "float32")


def test_arrays_on_the_gpu_stay_there(gpu):
    lstm, x = model(), inputs(2, 4, 5)
    on_gpu, want = lstm.to("cuda"), lstm(x)
    on_device = cuda.asarray(x)
    got = on_gpu(on_device)
    assert isinstance(got, cuda.DeviceArray)
    assert got.__dlpack_device__() == (2, 0)
    assert got.__cuda_array_interface__["shape"] == (2, 4, 13)
    close(cuda.asnumpy(got), want, "float32")
    out = cuda.asarray(np.zeros_like(want))
    assert on_gpu(on_device, out=out) is out
    np.testing.assert_array_equal(cuda.asnumpy(out), cuda.asnumpy(got))
    last, state = on_gpu(on_device, outputs="last", return_state=True)
    close(cuda.asnumpy(last), want[:, -1], "float32")
    again = on_gpu(on_device, None, state)
    close(cuda.asnumpy(again), lstm(x, None, lstm(x, return_state=True)[1]), "float32")


def test_repeated_calls_give_the_same_bits(gpu):
    on_gpu, x = model(num_proj=4).to("cuda"), inputs(3, 40, 5)
    first = on_gpu(x)
    for _ in range(3):
        np.testing.assert_array_equal(on_gpu(x), first)


def test_without_cublas_lstmcore_multiplies(gpu, monkeypatch):
    lstm, x = model(num_proj=4), inputs(6, 5, 5)
    on_gpu = lstm.to("cuda")
    assert {plan["products"] for plan in on_gpu.plan(5, 6)} == {"cublasLt 13.10.0"}
    monkeypatch.setenv("LSTMCORE_CUBLAS", "none")
    without = lstm.to("cuda")
    assert {plan["products"] for plan in without.plan(5, 6)} == {"lstmcore"}
    close(without(x), lstm(x), "float32")
    close(without(x), on_gpu(x), "float32")


def test_where_cublas_is_looked_for(monkeypatch, tmp_path):
    monkeypatch.delenv("LSTMCORE_CUBLAS", raising=False)
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.setattr("sys.path", [str(tmp_path / "site")])
    monkeypatch.setenv("CONDA_PREFIX", str(tmp_path / "conda"))
    found = []
    for place in (
        "conda/lib/libcublasLt.so.12",
        "site/nvidia/cublas/lib/libcublasLt.so.12",
        "site/nvidia/cu13/lib/libcublasLt.so.13",
    ):
        assert cuda.cublas_file() == (found[-1] if found else None)
        file = tmp_path / place
        file.parent.mkdir(parents=True)
        file.touch()
        found.append(str(file))
    assert cuda.cublas_file() == found[-1]
    monkeypatch.setenv("LSTMCORE_CUBLAS", "none")
    assert cuda.cublas_file() == "none"


def test_bfloat16_rounds_to_even():
    values = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, -np.inf, np.nan, 3.4e38], np.float32)
    got = (cuda._as_bfloat16(values).astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(got, [1.0, 1.0, 1 + 2**-6, -np.inf, np.nan, np.inf])


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda m, x: m.to("cuda:9"), ValueError, "no cuda:9"),
        (lambda m, x: m.to("gpu"), ValueError, "device: expected"),
        (lambda m, x: m.to("cuda", "int8"), ValueError, "dtype: expected one of"),
        (lambda m, x: m.to("cuda", math="fast"), ValueError, "math: expected one of"),
        (lambda m, x: m.to("cuda")(x[:, :, :4]), ValueError, r"x: expected shape .*5\)"),
        (lambda m, x: m.to("cuda")(x.astype(np.float64)), TypeError, "x: expected float32"),
        (lambda m, x: m.to("cuda")(x, [9, 1]), ValueError, r"lengths\[0\]"),
        (lambda m, x: m.to("cuda")(x, [1]), ValueError, "lengths: expected 2"),
        (lambda m, x: m.to("cuda")(x, path="fast"), ValueError, "path: expected one of"),
        (
            lambda m, x: m.to("cuda", "float64")(x.astype("f8"), path="grid"),
            ValueError,
            "path: float64 has the stepwise path alone",
        ),
        (
            lambda m, x: model(num_proj=4, proj_clip=0.2).to("cuda")(x, path="block"),
            ValueError,
            "path: proj_clip, with a projection, has the stepwise path alone",
        ),
        (lambda m, x: m.to("cuda")([[1.0]]), TypeError, "x must be a NumPy array"),
        (lambda m, x: m.to("cuda")(cuda.asarray(x, device=1)), ValueError, "got one on cuda:1"),
        (lambda m, x: m.to("cuda")(cuda.asarray(x, "float16")), TypeError, "expected float32"),
        (lambda m, x: m.to("cuda")(cuda.asarray(x[0])), ValueError, "x: expected an array"),
        (lambda m, x: m.to("cuda")(cuda.asarray(x[:, :, :3])), ValueError, "x: expected depth 5"),
        (lambda m, x: m(x, path="grid"), ValueError, "models on a GPU"),
        (lambda m, x: cuda.asarray(np.zeros(3, np.int32)), TypeError, "expected floats"),
    ],
)
def test_refused(gpu, call, error, match):
    with pytest.raises(error, match=match):
        call(model(), inputs(2, 4, 5))


def test_out_of_memory_is_an_exception_and_the_process_goes_on(gpu):
    with pytest.raises(MemoryError, match="out of memory"):
        cuda.DeviceArray(cuda.library(), 0, [1 << 40], 0, 0)
    assert model().to("cuda")(inputs(2, 4, 5)).shape == (2, 4, 13)


def test_no_library_and_no_cublas(gpu, monkeypatch):
    monkeypatch.setenv("LSTMCORE_CUBLAS", "/nowhere/libcublas.so")
    with pytest.raises(RuntimeError, match="cuBLAS cannot be loaded"):
        model().to("cuda")
    monkeypatch.setenv("LSTMCORE_CUDA_LIBRARY", "/nowhere/lib.so")
    assert not cuda.is_available()
    assert cuda.device_count() == 0
    with pytest.raises(RuntimeError, match="device='cuda': LSTMCORE_CUDA_LIBRARY"):
        model().to("cuda")
    assert model().to("auto").device == "cpu"


def test_nothing_of_it_is_imported_before_it_is_wanted():
    code = (
        "import sys, lstmcore; x = lstmcore.LSTMCell(3)\n"
        "assert not {'lstmcore.cuda', 'lstmcore.gpu', 'lstmcore.cells.on_gpu'} & set(sys.modules)\n"
        "assert lstmcore.cuda.device_count() >= 0"
    )
    run([sys.executable, "-c", code])


# ---- Where there is a GPU, and where there is none


@pytest.mark.parametrize(
    ("driver", "reason"),
    [
        (0, "NVIDIA's driver is not installed"),
        (11040, "NVIDIA's driver is too old: it is for CUDA 11.4, needed is CUDA 12 or newer"),
    ],
)
def test_a_driver_that_will_not_do(gpu, driver, reason):
    gpu.driver(driver)
    assert cuda.why_not() == reason
    assert (cuda.is_available(), cuda.device_count(), cuda.devices()) == (False, 0, [])
    with pytest.raises(RuntimeError, match=f"^device='cuda': {reason}$"):
        model().to("cuda")
    assert info.as_text(info.collect()).count(f"none: {reason}") == 1
    auto = lstmcore.LSTM(5, 13, seed=3, device="auto", device_dtype="float16", math="tf32")
    assert auto.device == "cpu"
    assert auto(inputs(2, 3, 5)).dtype == np.float32


def test_no_gpu_in_the_machine(gpu):
    gpu.fail("cudaGetDeviceCount", count=1000, status=100)
    assert cuda.why_not() == "there is no GPU"


def test_built_without_cuda(monkeypatch):
    monkeypatch.delenv("LSTMCORE_CUDA_LIBRARY", raising=False)
    monkeypatch.setattr(Path, "exists", lambda path: False)
    with pytest.raises(RuntimeError, match=r"built without CUDA .*LSTMCORE_CUDA=ON' in its"):
        model().to("cuda")


def test_info_about_gpus(gpu):
    report = json.loads(info.as_json(info.collect()))
    assert report["gpu"]["why_not"] is None
    assert [sorted(device) for device in report["gpu"]["devices"]] == 2 * [
        ["compute_capability", "memory", "multiprocessors", "name"]
    ]
    assert re.search(
        r"^cuda:1 +\S.*, compute capability 9\.0, ", info.as_text(report), re.MULTILINE
    )


def test_asnumpy_of_other_arrays(gpu):
    x = inputs(2, 3)
    assert cuda.asnumpy(x) is x
    assert cuda.asnumpy(x, np.float64).dtype == np.float64
    assert cuda.asnumpy(x[0, 0]) == x[0, 0]
    for other in (None, [1.0], cuda):
        with pytest.raises(
            TypeError, match=r"^array: expected a lstmcore\.cuda\.DeviceArray or a N"
        ):
            cuda.asnumpy(other)
