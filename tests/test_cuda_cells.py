"""TensorFlow's cells with a device, through the emulator: as on the CPU, in every option."""

import copy
import pickle

import numpy as np
import pytest

import lstmcore
from cuda_cells import (
    OPTIONS,
    TOLERANCES,
    H,
    I,
    N,
    T,
    back,
    close,
    host_dtype,
    on_device,
    state_of,
    twins,
    values,
)
from lstmcore import cuda


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("options", OPTIONS)
def test_a_step(gpu, options, dtype):
    kind = np.float64 if dtype == "float64" else np.float32
    on_cpu, on_gpu = twins(dtype=kind, device_dtype=dtype, **OPTIONS[options])
    x, state = values(N, I, dtype=kind), state_of(on_cpu, dtype=kind)
    want, want_state = on_cpu(x, state)
    got, got_state = on_gpu(x, state)
    close(got, want, dtype)
    close(got_state.c, want_state.c, dtype)
    assert got is got_state.h
    assert on_gpu.device == "cuda:0"


def test_arrays_on_the_gpu_stay_there(gpu):
    on_cpu, on_gpu = twins(use_peepholes=True)
    x, state = values(N, I), state_of(on_cpu)
    want, want_state = on_cpu(x, state)
    for given in (on_device(state), (cuda.asarray(state.c), state.h), state):
        got, got_state = on_gpu(cuda.asarray(x), given)
        assert isinstance(got, cuda.DeviceArray)
        close(cuda.asnumpy(got), want)
        close(cuda.asnumpy(got_state.c), want_state.c)
    got, got_state = on_gpu(x, on_device(state))
    close(got, want)
    close(got_state.c, want_state.c)


def test_first_call_builds(gpu):
    for given in (values(N, I), cuda.asarray(values(N, I))):
        cell = lstmcore.BasicLSTMCell(H, device="cuda")
        cell(given, cell.zero_state(N, np.float32))
        assert [w.shape for w in cell.weights] == [(I + H, 4 * H), (4 * H,)]
    for given in (values(N, T, I), cuda.asarray(values(N, T, I))):
        stack = lstmcore.MultiRNNCell([lstmcore.LSTMCell(k, device="cuda") for k in (4, 3)])
        scope = type(given).__name__
        y, state = lstmcore.dynamic_rnn(stack, given, dtype=np.float32, scope=scope)
        assert y.shape == (N, T, 3)
        assert stack.weights[0].shape == (I + 4, 16)
        assert [part.shape for pair in state for part in pair] == [(N, 4)] * 2 + [(N, 3)] * 2


def test_float64_arrays_build_float64(gpu):
    cell = lstmcore.LSTMCell(H, device="cuda")
    y, _ = lstmcore.dynamic_rnn(
        cell, cuda.asarray(values(N, T, I, dtype=np.float64)), dtype=np.float64
    )
    assert cell.dtype == "float64"
    assert y.dtype_name == "float64"


def test_an_assigned_variable_is_uploaded(gpu):
    on_cpu, on_gpu = twins()
    x, state = values(N, I), state_of(on_cpu)
    before, _ = on_gpu(x, state)
    for cell in (on_cpu, on_gpu):
        cell.weights[1].assign(np.full(4 * H, 0.3, np.float32))
    after, _ = on_gpu(x, state)
    close(after, on_cpu(x, state)[0])
    assert not np.array_equal(before, after)
    assert on_gpu._on_gpu(on_gpu._placement) is on_gpu._on_gpu(on_gpu._placement)


@pytest.mark.parametrize("peephole", [False, True])
def test_block_cells(gpu, peephole):
    options = {"use_peephole": peephole, "cell_clip": 0.3}
    on_cpu, on_gpu = twins(cls=lstmcore.LSTMBlockCell, **options)
    x, state = values(T, N, I), state_of(on_cpu)
    close(on_gpu(x[0], state)[0], on_cpu(x[0], state)[0])
    fused = [lstmcore.LSTMBlockFusedCell(H, **options, device=d) for d in ("cpu", "cuda")]
    for layer in fused:
        layer(x, dtype=np.float32)
        layer.set_weights(on_cpu.get_weights())
    want, want_state = fused[0](x, state, sequence_length=[2, 0, T])
    got, got_state = fused[1](x, state, sequence_length=[2, 0, T])
    close(got, want)
    close(got_state.c, want_state.c)
    got, _ = fused[1](cuda.asarray(x), dtype=np.float32)
    close(cuda.asnumpy(got), fused[0](x, dtype=np.float32)[0])
    cell = lstmcore.CudnnCompatibleLSTMCell(H, device="cuda")
    assert cell(values(N, I), state)[0].shape == (N, H)


def test_the_cpu_kernels_are_left_alone(gpu, monkeypatch):
    cell = lstmcore.LSTMCell(H, device="cuda")
    stack = lstmcore.MultiRNNCell([lstmcore.LSTMCell(H, device="cuda") for _ in range(2)])

    def refused(self):
        raise AssertionError("a cell with a device has no weights packed for the CPU")

    monkeypatch.setattr(type(cell), "_native", refused)
    for each in (cell, stack):
        for place in (np.asarray, cuda.asarray):
            lstmcore.dynamic_rnn(each, place(values(N, T, I)), dtype=np.float32, scope=each.name)
            for _ in range(3):
                each(place(values(N, I)), each.zero_state(N, np.float32))
    assert cell.packed_bytes == 0
    assert cell.plain_native() is None


def test_configs_copies_and_pickles_keep_the_device(gpu):
    cell = lstmcore.LSTMCell(H, device="cuda:1", device_dtype="float16", math="tf32")
    config = cell.get_config()
    assert (config["device"], config["device_dtype"], config["math"]) == (
        "cuda:1",
        "float16",
        "tf32",
    )
    assert lstmcore.LSTMCell.from_config(config).device == "cuda:1"
    assert "device" not in lstmcore.LSTMCell(H).get_config()
    _, on_gpu = twins()
    x, state = values(N, I), state_of(on_gpu)
    for again in (pickle.loads(pickle.dumps(on_gpu)), copy.deepcopy(on_gpu)):
        assert again.device == "cuda:0"
        np.testing.assert_array_equal(again(x, state)[0], on_gpu(x, state)[0])
    for cls in (lstmcore.LSTMBlockCell, lstmcore.LSTMBlockFusedCell):
        assert cls.from_config(cls(H, device="cuda:1").get_config())._where.ordinal == 1


def test_auto_and_cpu(gpu, monkeypatch):
    assert lstmcore.LSTMCell(H, device="auto").device == "cuda:0"
    assert lstmcore.LSTMCell(H, device="cpu").device == "cpu"
    monkeypatch.setenv("LSTMCORE_CUDA_LIBRARY", "/nowhere/lib.so")
    assert lstmcore.LSTMCell(H, device="auto").device == "cpu"
    with pytest.raises(RuntimeError, match="device='cuda': LSTMCORE_CUDA_LIBRARY: there is no"):
        lstmcore.LSTMCell(H, device="cuda")


def test_cells_of_one_device_share_memory_there(gpu):
    first, second = twins()[1], twins()[1]
    shared = [cell._on_gpu(cell._placement).gpu.context for cell in (first, second)]
    assert shared[0] is shared[1]


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("where", ["host", "device"])
@pytest.mark.parametrize("options", ["peepholes", "all"])
def test_a_state_in_one_array(gpu, options, where, dtype):
    kind = host_dtype(dtype)
    on_cpu, on_gpu = twins(dtype=kind, device_dtype=dtype, state_is_tuple=False, **OPTIONS[options])
    x, state = values(N, I, dtype=kind), values(N, on_cpu.state_size, dtype=kind, seed=2)
    want, want_state = on_cpu(x, state)
    for given in (state, cuda.asarray(state)):
        got, got_state = on_gpu(x if where == "host" else cuda.asarray(x, dtype), given)
        assert isinstance(got, np.ndarray) == (where == "host")
        close(back(got, dtype), want, dtype)
        close(back(got_state, dtype), want_state, dtype)
    # what a step returns goes into the next one
    close(back(on_gpu(x, got_state)[0], dtype), on_cpu(x, want_state)[0], dtype)


def test_a_basic_cell_with_a_state_in_one_array(gpu):
    on_cpu, on_gpu = twins(cls=lstmcore.BasicLSTMCell, state_is_tuple=False)
    x, state = values(N, I), values(N, 2 * H, seed=2)
    want, want_state = on_cpu(x, state)
    got, got_state = on_gpu(cuda.asarray(x), cuda.asarray(state))
    close(back(got), want)
    close(back(got_state), want_state)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("rows", [N, 6])  # one kernel, and products with a kernel
@pytest.mark.parametrize("where", ["host", "device"])
def test_out(gpu, where, rows, dtype):
    kind = host_dtype(dtype)
    on_cpu, on_gpu = twins(dtype=kind, device_dtype=dtype, use_peepholes=True, num_proj=4)
    x, state = values(rows, I, dtype=kind), state_of(on_cpu, rows, dtype=kind)
    want, want_state = on_cpu(x, state)
    out = tuple(np.full(part.shape, np.nan, kind) for part in state)
    if where == "device":
        x, state, out = cuda.asarray(x, dtype), on_device(state, dtype), on_device(out, dtype)
    got, got_state = on_gpu(x, state, out=tuple(out))
    assert got is out[1]
    assert got_state.c is out[0]
    assert got_state.h is out[1]
    close(back(got, dtype), want, dtype)
    close(back(got_state.c, dtype), want_state.c, dtype)
    # c in place
    got, got_state = on_gpu(x, state, out=(state.c, out[1]))
    assert got_state.c is state.c
    close(back(got, dtype), want, dtype)
    close(back(state.c, dtype), want_state.c, dtype)


def test_out_of_a_first_call(gpu):
    cell = lstmcore.LSTMCell(H, device="cuda")
    out = tuple(cuda.asarray(np.full((N, H), np.nan, np.float32)) for _ in "ch")
    x, state = cuda.asarray(values(N, I)), cell.zero_state(N, np.float32)
    cell(x, state, out=out)
    np.testing.assert_array_equal(back(out[1]), back(cell(x, state)[0]))


@pytest.mark.parametrize("rows", [N, 6])
def test_out_allocates_nothing(gpu, rows):
    _, cell = twins()
    x, state = cuda.asarray(values(rows, I)), on_device(state_of(cell, rows))
    out = [cuda.asarray(values(rows, H)) for _ in "chch"]
    cell(x, state, out=(out[0], out[1]))  # takes scratch memory
    before = gpu.allocations()
    for _ in range(2):
        cell(x, (out[0], out[1]), out=(out[2], out[3]))
        cell(x, (out[2], out[3]), out=(out[0], out[1]))
    assert gpu.allocations() == before
    cell(x, state)
    assert gpu.allocations() == before  # back where it was: the results are gone again


def test_out_of_memory_leaves_out_alone(gpu):
    _, cell = twins()
    state, out = state_of(cell), [values(N, H, seed=5), values(N, H, seed=6)]
    before = [part.copy() for part in out]
    cell(values(N, I), state)
    gpu.fail("cudaMalloc")
    with pytest.raises(MemoryError):
        cell(values(N, I), state, out=tuple(out))
    for part, old in zip(out, before, strict=True):
        np.testing.assert_array_equal(part, old)
