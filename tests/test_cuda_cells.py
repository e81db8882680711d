"""TensorFlow's cells with a device, through the emulator: as on the CPU, in every option."""

import copy
import pickle

import numpy as np
import pytest

import lstmcore
from lstmcore import LSTMStateTuple, cuda

TOLERANCES = {"float32": 2e-6, "float64": 1e-13, "float16": 4e-3, "bfloat16": 2e-2}
OPTIONS = {
    "plain": {},
    "peepholes": {"use_peepholes": True},
    "projection": {"num_proj": 4},
    "clips": {"cell_clip": 0.3, "num_proj": 4, "proj_clip": 0.1},
    "all": {"use_peepholes": True, "cell_clip": 0.3, "num_proj": 5, "proj_clip": 0.1},
    "relu": {"activation": "relu", "forget_bias": 0.25},
}
T, N, I, H = 5, 3, 6, 7


def values(*shape, dtype=np.float32, seed=1):
    return (np.random.default_rng(seed).normal(size=shape) * 0.5).astype(dtype)


def close(got, want, dtype="float32"):
    assert isinstance(got, np.ndarray)
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    error = np.linalg.norm(got - want) / max(np.linalg.norm(want), 1e-30)
    assert error < TOLERANCES[dtype]


def built(cell, depth=I, dtype=np.float32):
    """The cell with weights that no initializer gives: biases and peepholes are not 0."""
    units = cell.state_size[0]
    cell(np.zeros((1, depth), dtype), cell.zero_state(1, dtype))
    random = np.random.default_rng(units)
    cell.set_weights([random.normal(size=w.shape).astype(dtype) * 0.4 for w in cell.get_weights()])
    return cell


def twins(cls=lstmcore.LSTMCell, device_dtype=None, dtype=np.float32, depth=I, **options):
    """The same cell on the CPU and on the GPU."""
    on_cpu = built(cls(H, dtype=dtype, **options), depth, dtype)
    on_gpu = cls(H, dtype=dtype, device="cuda", device_dtype=device_dtype, **options)
    on_gpu(np.zeros((1, depth), dtype), on_gpu.zero_state(1, dtype))
    on_gpu.set_weights(on_cpu.get_weights())
    return on_cpu, on_gpu


def state_of(cell, rows=N, dtype=np.float32):
    sizes = cell.state_size
    return LSTMStateTuple(
        *(values(rows, size, dtype=dtype, seed=k) for k, size in enumerate(sizes))
    )


def on_device(state):
    return LSTMStateTuple(*(cuda.asarray(part) for part in state))


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


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("time_major", [False, True])
def test_a_sequence(gpu, options, dtype, time_major):
    kind = np.float64 if dtype == "float64" else np.float32
    on_cpu, on_gpu = twins(dtype=kind, device_dtype=dtype, **OPTIONS[options])
    x = values(*((T, N, I) if time_major else (N, T, I)), dtype=kind)
    arguments = {
        "sequence_length": [3, 0, T],
        "initial_state": state_of(on_cpu, dtype=kind),
        "time_major": time_major,
    }
    want, want_state = lstmcore.dynamic_rnn(on_cpu, x, **arguments)
    got, got_state = lstmcore.dynamic_rnn(on_gpu, x, **arguments)
    close(got, want, dtype)
    for a, b in zip(got_state, want_state, strict=True):
        close(a, b, dtype)
    again, _ = lstmcore.dynamic_rnn(on_gpu, x, **arguments)
    np.testing.assert_array_equal(again, got)


@pytest.mark.parametrize(("rows", "steps"), [(1, 1), (0, 4), (3, 0), (0, 0), (2, 1), (1, 9)])
@pytest.mark.parametrize("where", ["host", "device"])
def test_sizes(gpu, rows, steps, where):
    on_cpu, on_gpu = twins(num_proj=3)
    x = values(rows, steps, I)
    want, want_state = lstmcore.dynamic_rnn(on_cpu, x, dtype=np.float32)
    given = x if where == "host" else cuda.asarray(x)
    got, got_state = lstmcore.dynamic_rnn(on_gpu, given, dtype=np.float32)
    if where == "device":
        got, got_state = cuda.asnumpy(got), [cuda.asnumpy(part) for part in got_state]
    close(got, want)
    for a, b in zip(got_state, want_state, strict=True):
        close(a, b)


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


def test_lengths_on_the_gpu(gpu):
    on_cpu, on_gpu = twins()
    x = values(N, T, I)
    want, _ = lstmcore.dynamic_rnn(on_cpu, x, [2, 9, 0], dtype=np.float32)
    for kind in (np.int32, np.int64):
        lengths = Integers(np.array([2, 9, 0], kind))
        got, _ = lstmcore.dynamic_rnn(on_gpu, cuda.asarray(x), lengths, dtype=np.float32)
        close(cuda.asnumpy(got), want)


class Integers:
    """Integers on the GPU: lstmcore makes none itself."""

    def __init__(self, host):
        # a block of float32 of as many bytes holds them
        self._block = cuda.asarray(host.view(np.float32))
        interface = dict(self._block.__cuda_array_interface__)
        interface |= {"typestr": host.dtype.str, "shape": host.shape}
        self.__cuda_array_interface__ = interface
        self.shape = host.shape


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
    assert on_gpu._on_gpu() is on_gpu._on_gpu()


def stacks():
    """(on the CPU, on the GPU)"""
    pairs = [twins(), twins(cls=lstmcore.BasicLSTMCell, depth=H)]
    return [lstmcore.MultiRNNCell(cells) for cells in zip(*pairs, strict=True)]


@pytest.mark.parametrize("where", ["host", "device"])
def test_a_stack(gpu, where):
    on_cpu, on_gpu = stacks()
    x = values(N, T, I)
    state = tuple(state_of(cell) for cell in on_cpu._cells)
    given = x if where == "host" else cuda.asarray(x)
    back = (lambda a: a) if where == "host" else cuda.asnumpy
    for start in (None, state):
        arguments = {"initial_state": start, "sequence_length": [4, 1, 0]}
        if start is None:
            arguments["dtype"] = np.float32
        want, want_state = lstmcore.dynamic_rnn(on_cpu, x, **arguments)
        got, got_state = lstmcore.dynamic_rnn(on_gpu, given, **arguments)
        close(back(got), want)
        close(back(got_state[1].c), want_state[1].c)
    want, want_state = on_cpu(x[:, 0], state)
    step = x[:, 0] if where == "host" else cuda.asarray(x[:, 0])
    got, got_state = on_gpu(step, state)
    close(back(got), want)
    close(back(got_state[0].h), want_state[0].h)
    assert on_gpu.device == "cuda:0"


@pytest.mark.parametrize("where", ["host", "device"])
def test_two_directions(gpu, where):
    cpu_fw, gpu_fw = twins(num_proj=3)
    cpu_bw, gpu_bw = twins(use_peepholes=True)
    x, lengths = values(N, T, I), [2, 0, T]
    want, want_states = lstmcore.bidirectional_dynamic_rnn(
        cpu_fw, cpu_bw, x, lengths, dtype=np.float32
    )
    given = x if where == "host" else cuda.asarray(x)
    back = (lambda a: a) if where == "host" else cuda.asnumpy
    got, got_states = lstmcore.bidirectional_dynamic_rnn(
        gpu_fw, gpu_bw, given, lengths, dtype=np.float32
    )
    for a, b in zip(got, want, strict=True):
        close(back(a), b)
    close(back(got_states[1].c), want_states[1].c)
    layers = [lstmcore.stack_bidirectional_dynamic_rnn] * 2
    results = [
        function([fw], [bw], array, dtype=np.float32, sequence_length=lengths)[0]
        for function, fw, bw, array in zip(
            layers, (cpu_fw, gpu_fw), (cpu_bw, gpu_bw), (x, given), strict=True
        )
    ]
    close(back(results[1]), results[0])


@pytest.mark.parametrize("where", ["host", "device"])
def test_lists_of_steps(gpu, where):
    on_cpu, on_gpu = twins()
    back_cpu, back_gpu = twins(num_proj=2)
    steps = [values(N, I, seed=k) for k in range(T)]
    given = steps if where == "host" else [cuda.asarray(step) for step in steps]
    back = (lambda a: a) if where == "host" else cuda.asnumpy
    arguments = {"dtype": np.float32, "sequence_length": [1, T, 0]}
    want, want_state = lstmcore.static_rnn(on_cpu, steps, **arguments)
    got, got_state = lstmcore.static_rnn(on_gpu, given, **arguments)
    assert len(got) == T
    for a, b in zip(got, want, strict=True):
        close(back(a), b)
    close(back(got_state.c), want_state.c)
    want = lstmcore.static_bidirectional_rnn(on_cpu, back_cpu, steps, **arguments)
    got = lstmcore.static_bidirectional_rnn(on_gpu, back_gpu, given, **arguments)
    for a, b in zip(got[0], want[0], strict=True):
        close(back(a), b)


@pytest.mark.parametrize("device_dtype", ["float32", "float16"])
@pytest.mark.parametrize("where", ["host", "device"])
@pytest.mark.parametrize("lengths", [[2, 0, 3, 1], [0, 0], [5], []])
def test_packed_rows(gpu, where, lengths, device_dtype):
    on_cpu, on_gpu = twins(num_proj=5, device_dtype=device_dtype)
    offsets = np.cumsum([0, *lengths])
    x, state = values(offsets[-1], I), state_of(on_cpu, len(lengths))
    given = x if where == "host" else cuda.asarray(x, device_dtype)
    for start in (None, state):
        want, want_state = lstmcore.packed_rnn(on_cpu, x, offsets, start)
        got, got_state = lstmcore.packed_rnn(on_gpu, given, offsets, start)
        parts = [got, *got_state]
        if where == "device":
            parts = [cuda.asnumpy(part, np.float32) for part in parts]
        for a, b in zip(parts, [want, *want_state], strict=True):
            close(a, b, device_dtype)
    stack_cpu, stack_gpu = stacks()
    want, _ = lstmcore.packed_rnn(stack_cpu, x, offsets)
    got, _ = lstmcore.packed_rnn(stack_gpu, x, offsets)
    close(got, want)


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


def test_wrappers(gpu):
    on_cpu, on_gpu = twins(depth=H)
    x, state = values(N, T, H), state_of(on_cpu)
    wrappers = [
        lstmcore.ResidualWrapper,
        lstmcore.DropoutWrapper,
        lambda c: lstmcore.DeviceWrapper(c, "/gpu:0"),
    ]
    for wrapper in wrappers:
        want, _ = lstmcore.dynamic_rnn(wrapper(on_cpu), x, [2, 0, T], state)
        got, _ = lstmcore.dynamic_rnn(wrapper(on_gpu), x, [2, 0, T], state)
        close(got, want)
    with pytest.raises(TypeError, match="ResidualWrapper adds NumPy arrays"):
        lstmcore.dynamic_rnn(lstmcore.ResidualWrapper(on_gpu), cuda.asarray(x), dtype=np.float32)
    y, _ = lstmcore.DropoutWrapper(on_gpu)(cuda.asarray(x[:, 0]), state)
    close(cuda.asnumpy(y), on_cpu(x[:, 0], state)[0])


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
    assert first._on_gpu().gpu.context is second._on_gpu().gpu.context


REFUSED = {
    "device": (lambda: lstmcore.LSTMCell(H, device="gpu"), ValueError, "device: expected"),
    "index": (lambda: lstmcore.LSTMCell(H, device="cuda:7"), ValueError, "no cuda:7"),
    "dtype": (
        lambda: lstmcore.LSTMCell(H, device="cuda", device_dtype="int8"),
        ValueError,
        "device_dtype: expected one of",
    ),
    "math": (lambda: lstmcore.LSTMCell(H, device="cuda", math="x"), ValueError, "math: expected"),
    "no device": (
        lambda: lstmcore.LSTMCell(H, math="tf32"),
        ValueError,
        "^math: 'tf32' is for a GPU, expected device='cuda', .*got device=None$",
    ),
    "on the CPU": (
        lambda: lstmcore.LSTMBlockCell(H, device="cpu", device_dtype="float16"),
        ValueError,
        "^device_dtype: 'float16' is for a GPU, .*got device='cpu'$",
    ),
    "activation": (
        lambda: lstmcore.LSTMCell(H, device="cuda", activation=lambda v: v),
        ValueError,
        "activation: .* computed by NumPy",
    ),
    "one array": (
        lambda: lstmcore.LSTMCell(H, device="cuda", state_is_tuple=False),
        ValueError,
        "state_is_tuple: must be True",
    ),
    "mixed stack": (
        lambda: lstmcore.MultiRNNCell([lstmcore.LSTMCell(H, device="cuda"), lstmcore.LSTMCell(H)]),
        ValueError,
        "cells: expected one device, got cpu, cuda:0",
    ),
    "mixed directions": (
        lambda: lstmcore.bidirectional_dynamic_rnn(
            lstmcore.LSTMCell(H, device="cuda"),
            lstmcore.LSTMCell(H, device="cuda:1"),
            values(N, T, I),
            dtype=np.float32,
        ),
        ValueError,
        "cell_fw, cell_bw: expected one device, got cuda:0 and cuda:1",
    ),
    "out": (
        lambda: twins()[1](values(N, I), [values(N, H)] * 2, out=(values(N, H), values(N, H))),
        TypeError,
        "out: not of a cell on cuda:0",
    ),
    "stream": (lambda: lstmcore.Stream(twins()[1]), TypeError, "is on cuda:0"),
    "model's stream": (
        lambda: lstmcore.Stream(lstmcore.LSTM(3, 4, device="cuda")),
        TypeError,
        "is on cuda:0",
    ),
    "no depth": (
        lambda: lstmcore.LSTMCell(H, device="cuda")(values(N, 0), [values(N, H)] * 2),
        ValueError,
        "at least 1 of each on a GPU",
    ),
    "other GPU": (
        lambda: twins()[1](cuda.asarray(values(N, I), device=1), [values(N, H)] * 2),
        ValueError,
        "inputs: expected an array on cuda:0, got one on cuda:1",
    ),
    "state on other GPU": (
        lambda: twins()[1](values(N, I), [values(N, H), cuda.asarray(values(N, H), device=1)]),
        ValueError,
        "h of state: expected an array on cuda:0, got one on cuda:1",
    ),
    "inputs' dtype": (
        lambda: twins()[1](cuda.asarray(values(N, I), "float16"), [values(N, H)] * 2),
        TypeError,
        "inputs: expected float32, got float16",
    ),
    "depth": (
        lambda: twins()[1](cuda.asarray(values(N, I + 1)), on_device([values(N, H)] * 2)),
        ValueError,
        "inputs: expected depth 6",
    ),
    "state's shape": (
        lambda: twins()[1](cuda.asarray(values(N, I)), on_device([values(N, H), values(1, H)])),
        ValueError,
        r"h of state: expected shape \(3, 7\), got \(1, 7\)",
    ),
    "three states": (
        lambda: twins()[1](values(N, I), [cuda.asarray(values(N, H))] * 3),
        ValueError,
        r"state must be \(c, h\)",
    ),
    "rank": (
        lambda: twins()[1](cuda.asarray(values(I)), [values(N, H)] * 2),
        ValueError,
        "expected ndim=2, found ndim=1",
    ),
    "CPU cell": (
        lambda: twins()[0](cuda.asarray(values(N, I)), [values(N, H)] * 2),
        TypeError,
        r"inputs must be readable .* <DeviceArray float32 \(3, 6\) on cuda:0>",
    ),
    "CPU cell's state": (
        lambda: twins()[0](values(N, I), [cuda.asarray(values(N, H))] * 2),
        (TypeError, AttributeError),
        "state|dtype",
    ),
    "CPU cell's sequence": (
        lambda: lstmcore.dynamic_rnn(twins()[0], cuda.asarray(values(N, T, I)), dtype=np.float32),
        TypeError,
        "inputs must be readable",
    ),
    "dtype of the state": (
        lambda: lstmcore.dynamic_rnn(twins()[1], cuda.asarray(values(N, T, I)), dtype=np.float64),
        ValueError,
        "dtype is float64",
    ),
    "packed": (
        lambda: lstmcore.packed_rnn(twins()[1], cuda.asarray(values(4, I)), np.array([0, 3])),
        ValueError,
        "offsets: expected to begin with 0 and end with 4",
    ),
    "packed depth": (
        lambda: lstmcore.packed_rnn(twins()[1], values(4, I + 1), np.array([0, 4])),
        ValueError,
        "values: expected an array of shape",
    ),
    "offsets": (
        lambda: lstmcore.packed_rnn(twins()[1], values(4, I), np.array([0, 3, 1, 4])),
        ValueError,
        "offsets must not decrease",
    ),
    "steps of two shapes": (
        lambda: lstmcore.static_rnn(
            twins()[1], [cuda.asarray(values(N, I)), cuda.asarray(values(N, I + 1))], dtype="f4"
        ),
        ValueError,
        "inputs",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(gpu, case):
    call, error, match = REFUSED[case]
    with pytest.raises(error, match=match):
        call()
    assert twins()[1](values(N, I), [values(N, H)] * 2)[0].shape == (N, H)
