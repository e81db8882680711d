"""Models on the emulated GPU, with arrays of either place: outputs, states, errors, faults."""

import gc
import pickle
import threading

import numpy as np
import pytest

import lstmcore
from cuda_producers import Producer
from lstmcore import cuda

RNG = np.random.default_rng(5)
X = RNG.normal(size=(2, 4, 5)).astype(np.float32)


def model(**options):
    settings = {"use_peepholes": True, "forget_bias": 0.5, "seed": 3}
    return lstmcore.LSTM(5, 6, **{**settings, **options})


@pytest.mark.parametrize("dtype", cuda.DTYPES)
@pytest.mark.parametrize("outputs", ["all", "last", "c", "hc"])
@pytest.mark.parametrize("packed", [False, True])
def test_outputs(gpu, dtype, outputs, packed):
    kind = np.float64 if dtype == "float64" else np.float32
    lstm = lstmcore.LSTM(5, 3, 2, bidirectional=True, num_proj=2, seed=1, dtype=kind)
    x = X.astype(kind).reshape(-1, 5) if packed else X.astype(kind)
    arguments = {"offsets": [0, 3, 3, 8]} if packed else {"lengths": [4, 1]}
    want = lstm(x, outputs=outputs, **arguments)
    on_gpu = lstm.to("cuda", dtype)
    got = on_gpu(x, outputs=outputs, **arguments)
    there = on_gpu(cuda.asarray(x, dtype), outputs=outputs, **arguments)
    limit = {"float64": 1e-13, "float32": 3e-6}.get(dtype, 3e-2)
    for a, b, c in zip(
        *((r if outputs == "hc" else (r,)) for r in (got, there, want)), strict=True
    ):
        np.testing.assert_array_equal(cuda.asnumpy(b, kind), a)
        np.testing.assert_allclose(a, c, rtol=0, atol=limit)


@pytest.mark.parametrize("where", ["host", "device"])
@pytest.mark.parametrize(
    ("outputs", "packed"), [("all", False), ("all", True), ("last", False), ("last", True)]
)
def test_out(gpu, where, outputs, packed):
    lstm = lstmcore.LSTM(5, 3, 2, bidirectional=True, seed=1)
    x = X.reshape(-1, 5) if packed else X
    arguments = {"offsets": [0, 3, 3, 8]} if packed else {"lengths": [4, 1]}
    want = lstm(x, outputs=outputs, **arguments)
    on_gpu = lstm.to("cuda")
    out = np.full_like(want, 7)
    if where == "device":
        x, out = cuda.asarray(x), cuda.asarray(out)
    assert on_gpu(x, outputs=outputs, out=out, **arguments) is out
    got = cuda.asnumpy(out) if where == "device" else out
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_states_from_both_places(gpu):
    lstm = model()
    on_gpu = lstm.to("cuda")
    c, h = (RNG.normal(size=(2, 6)).astype(np.float32) for _ in range(2))
    want = lstm(X, None, (c, h))
    for state in ((c, h), (cuda.asarray(c), h), [(c, cuda.asarray(h))]):
        for x in (X, cuda.asarray(X)):
            got = on_gpu(x, None, state)
            got = got if isinstance(got, np.ndarray) else cuda.asnumpy(got)
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda m, x: m(x, out=np.zeros((2, 4, 6), "f4")), TypeError, "out: expected an array on"),
        (lambda m, x: m(X, out=cuda.asarray(X)), ValueError, "out: expected an array float32"),
        (lambda m, x: m(x, out=x), ValueError, r"out: expected shape \(2, 4, 6\)"),
        (lambda m, x: m(x, [1, 2], offsets=[0, 8]), ValueError, "exclude each other|x: expected"),
        (lambda m, x: m(x, offsets=[0, 8]), ValueError, r"x: expected an array \[total, I\]"),
        (lambda m, x: m(x[0], offsets=[0, 3]), ValueError, "offsets: expected to begin with 0"),
        (lambda m, x: m(x[0], offsets=[]), ValueError, "offsets: expected one more entry"),
        (lambda m, x: m(x, None, [(x, x)]), ValueError, r"initial_state\[0\].c: expected shape"),
        (lambda m, x: m(x, None, [1, 2, 3]), ValueError, "initial_state: expected 1 pairs"),
        (lambda m, x: m(x, [1.5, 2]), ValueError, "lengths: expected integers"),
        (lambda m, x: m(x, x[0][0]), ValueError, "lengths: expected integers, got float32"),
        (lambda m, x: m(x, stream=-1), TypeError, "stream: expected a CUDA stream as an integer"),
        (lambda m, x: m(x, stream=2**64), TypeError, "stream: expected a CUDA stream"),
        (lambda m, x: m.synchronize(True), TypeError, "stream: expected a CUDA stream"),
    ],
)
def test_calls_that_are_refused(gpu, call, error, match):
    on_gpu, x = model().to("cuda"), cuda.asarray(X)
    with pytest.raises(error, match=match):
        call(on_gpu, x)
    assert on_gpu(x).shape == (2, 4, 6)


def test_out_that_the_call_reads(gpu):
    """Of another direction or chunk of steps, say: as on the CPU."""
    both = lstmcore.LSTM(12, 6, bidirectional=True, seed=2).to("cuda")
    values = RNG.normal(size=(3, 7, 12)).astype(np.float32)
    x = cuda.asarray(values)
    with pytest.raises(ValueError, match=r"^out and x may not share memory"):
        both(x, out=x)
    states = [tuple(cuda.asarray(np.full((3, 6), k, np.float32)) for k in (1, 2)) for _ in range(2)]
    out = Producer(states[1][1], shape=(3, 12), strides=(0, 1))
    with pytest.raises(ValueError, match=r"^out and initial_state\[1\].h may not share memory"):
        both(x, None, states, outputs="last", out=out)
    np.testing.assert_array_equal(cuda.asnumpy(x), values)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"values": X, "device": 7}, ValueError, "device: there is no cuda:7, only 2"),
        ({"values": X, "dtype": np.float32}, TypeError, "dtype: expected one of float32, .* got <"),
        ({"values": X.astype(int)}, TypeError, "values: expected floats"),
        ({"values": np.ma.masked_array(X)}, TypeError, "^values"),
    ],
)
def test_arrays_that_are_not_made(gpu, arguments, error, match):
    with pytest.raises(error, match=match):
        cuda.asarray(**arguments)
    with pytest.raises(TypeError):
        cuda.DeviceArray(None, 0, [1], 0, 0)


def test_where_a_model_is_stays(gpu, tmp_path):
    lstm = lstmcore.LSTM(5, 6, seed=3, device="cuda:1", device_dtype="float16")
    assert lstm.device == "cuda:1"
    assert "device=cuda:1 device_dtype=float16" in repr(lstm)
    lstm.set_weights({name: w * 0.5 for name, w in lstm.weights.items()})
    assert lstm.device == "cuda:1"
    again = pickle.loads(pickle.dumps(lstm))
    assert again.device == "cuda:1"
    np.testing.assert_array_equal(again(X), lstm(X))
    assert again.to("cpu").device == "cpu"
    pytest.importorskip("safetensors")
    lstm.save(tmp_path / "m.safetensors")
    loaded = lstmcore.load(tmp_path / "m.safetensors", device="cuda:1", device_dtype="float16")
    np.testing.assert_array_equal(loaded(X), lstm(X))
    models = lstmcore.open_models(tmp_path / "m.safetensors", device="auto")
    assert [m.device for m in models.values()] == ["cuda:0"]
    with pytest.raises(ValueError, match="device: expected"):
        lstmcore.load(tmp_path / "m.safetensors", device="tpu")
    plan = lstm.plan(10, 4)
    assert len(plan) == 1
    assert plan[0]["path"] in ("stepwise", "block", "cluster", "grid")
    with pytest.raises(ValueError, match="plan: only of a model on a GPU"):
        lstm.to("cpu").plan(1, 1)
    lstm.synchronize()


# ---- Faults


def test_cublas_that_is_too_old(gpu):
    gpu.fail("cublasLtGetVersion", count=1000, status=110200)  # what it returns is the version
    cell = lstmcore.LSTMCell(3, device="cuda")
    for call in (
        lambda: model().to("cuda"),
        lambda: cell(X[:, 0], cell.zero_state(2, np.float32)),
    ):
        with pytest.raises(RuntimeError, match=r"cuBLAS is too old: 12\.0 .*found 11\.2"):
            call()
    gpu.heal()
    assert cell(X[:, 0], cell.zero_state(2, np.float32))[0].shape == (2, 3)


def test_memory_that_runs_out_at_any_place(gpu):
    lstm = lstmcore.LSTM(5, 6, 2, bidirectional=True, num_proj=3, use_peepholes=True, seed=1)
    want = lstm(X, return_state=True)[0]
    gc.collect()
    base, refused, survived = gpu.allocations(), 0, 0
    for nth in range(200):
        gpu.fail("cudaMalloc", nth)
        try:
            got = lstm.to("cuda")(X)
        except MemoryError as error:
            refused += "out of memory" in str(error)
        else:  # scratch memory was tried for fewer steps; or so many allocations were not made
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
            survived += 1
            del got
        finally:
            gpu.heal()
        if survived == 4:
            break
        gc.collect()
        assert gpu.allocations() == base, f"allocation {nth} leaves memory behind"
    assert refused >= 40
    on_gpu, x = lstm.to("cuda"), cuda.asarray(X)
    on_gpu(x)
    gpu.fail("cudaMalloc", 1)
    with pytest.raises(MemoryError):
        on_gpu(x)
    np.testing.assert_allclose(cuda.asnumpy(on_gpu(x)), want, rtol=1e-5, atol=1e-6)


def test_a_kernel_that_breaks_the_device(gpu):
    break_and_call(gpu, model().to("cuda"), cuda.asarray(X))
    gc.collect()  # destructors raise nothing
    assert model()(X).shape == (2, 4, 6)


def break_and_call(gpu, on_gpu, x):
    gpu.break_device()
    with pytest.raises(RuntimeError, match=r"cudaErrorIllegalAddress.*process is restarted"):
        on_gpu(X)
    for call in (lambda: on_gpu(x), lambda: cuda.asarray(X), lambda: model().to("cuda")):
        with pytest.raises(RuntimeError, match="cudaErrorIllegalAddress"):
            call()
    cell = lstmcore.LSTMCell(6, device="cuda")
    with pytest.raises(RuntimeError, match="cudaErrorIllegalAddress"):
        cell(X[:, 0], cell.zero_state(2, np.float32))


def built_cell():
    cell = lstmcore.LSTMCell(3, device="cuda")
    cell(X[:, 0], cell.zero_state(2, np.float32))
    return cell


def test_threads_share_a_cell(gpu):
    cell = built_cell()
    want, _ = lstmcore.dynamic_rnn(cell, X, dtype=np.float32)
    results = [None] * 4

    def work(k):
        for _ in range(5):
            results[k], _ = lstmcore.dynamic_rnn(cell, X, dtype=np.float32)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for result in results:
        np.testing.assert_array_equal(result, want)
