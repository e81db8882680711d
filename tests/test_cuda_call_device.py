"""``device=`` of the sequence functions, through the emulator: where one call runs."""

import numpy as np
import pytest

import lstmcore
from cuda_cells import (
    TOLERANCES,
    H,
    I,
    N,
    T,
    back,
    built,
    close,
    host_dtype,
    on_device,
    stacks,
    state_of,
    values,
)
from lstmcore import cuda

# Inputs are [T, N, I]; what comes back is a list of arrays.


def dynamic(cells, x, lengths, state, **arguments):
    y, final = lstmcore.dynamic_rnn(cells[0], x, lengths, state[0], time_major=True, **arguments)
    return [y, *final]


def bidirectional(cells, x, lengths, state, **arguments):
    y, finals = lstmcore.bidirectional_dynamic_rnn(
        *cells, x, lengths, *state, time_major=True, **arguments
    )
    return [*y, *finals[0], *finals[1]]


def stacked(cells, x, lengths, state, **arguments):
    y, fw, bw = lstmcore.stack_bidirectional_dynamic_rnn(
        [cells[0], cells[2]],
        [cells[1], cells[3]],
        x,
        [state[0], state[2]],
        [state[1], state[3]],
        sequence_length=lengths,
        time_major=True,
        **arguments,
    )
    return [y, *fw[0], *bw[1]]


def static(cells, x, lengths, state, **arguments):
    steps = [x[n] for n in range(len(x))]
    y, final = lstmcore.static_rnn(cells[0], steps, state[0], sequence_length=lengths, **arguments)
    return [*y, *final]


def static_bidirectional(cells, x, lengths, state, **arguments):
    steps = [x[n] for n in range(len(x))]
    y, fw, bw = lstmcore.static_bidirectional_rnn(
        *cells, steps, *state, sequence_length=lengths, **arguments
    )
    return [*y, *fw, *bw]


def packed(cells, x, lengths, state, **arguments):
    """The first step, taken as rows one after the other."""
    offsets = np.cumsum([0, *lengths])
    y, final = lstmcore.packed_rnn(cells[0], x[0], offsets, state[0], **arguments)
    return [y, *final]


FUNCTIONS = {
    f.__name__: f for f in (dynamic, bidirectional, stacked, static, static_bidirectional, packed)
}


def cells_for(function, dtype=np.float32, **options):
    """As many cells as a function takes, on the CPU: layers of 4 and 5 outputs."""
    sizes = [I] * 2 + [4 + 5] * 2
    count = {"stacked": 4, "bidirectional": 2, "static_bidirectional": 2}.get(function, 1)
    return [
        built(lstmcore.LSTMCell(H, num_proj=4 + k % 2, dtype=dtype, **options), sizes[k], dtype)
        for k in range(count)
    ]


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("where", ["host", "device"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_device_of_a_call(gpu, function, where, dtype):
    call, kind = FUNCTIONS[function], host_dtype(dtype)
    cells = cells_for(function, kind, use_peepholes=True)
    states = [state_of(cell, dtype=kind) for cell in cells]
    x, lengths = values(T, N, I, dtype=kind), [2, 1, 0]
    want = call(cells, x, lengths, states)
    if where == "device":
        x, states = cuda.asarray(x, dtype), [on_device(state, dtype) for state in states]
    got = call(cells, x, lengths, states, device="cuda", device_dtype=dtype)
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        assert isinstance(a, np.ndarray) == (where == "host")
        close(back(a, dtype), b, dtype)
    assert [cell.device for cell in cells] == ["cpu"] * len(cells)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_cell_on_a_gpu_in_a_call_on_the_cpu(gpu, function):
    cells = cells_for(function, device="cuda")
    on_cpu = cells_for(function)
    states = [state_of(cell) for cell in cells]
    x = values(T, N, I)
    want = FUNCTIONS[function](on_cpu, x, [1, 2, 0], states)
    got = FUNCTIONS[function](cells, x, [1, 2, 0], states, device="cpu")
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)
    step = cells[0](cuda.asarray(values(N, I)), states[0])[0]
    assert isinstance(step, cuda.DeviceArray)  # its own steps stay where they were


def test_stacks_and_wrappers_in_a_call_elsewhere(gpu):
    on_cpu, on_gpu = stacks()
    x = values(N, T, I)
    for wrapped in (lambda cell: cell, lstmcore.DropoutWrapper):
        want, _ = lstmcore.dynamic_rnn(wrapped(on_cpu), x, [2, 0, T], dtype=np.float32)
        got, state = lstmcore.dynamic_rnn(
            wrapped(on_cpu), cuda.asarray(x), [2, 0, T], dtype=np.float32, device="cuda:0"
        )
        close(back(got), want)
        got, _ = lstmcore.dynamic_rnn(wrapped(on_gpu), x, [2, 0, T], dtype=np.float32, device="cpu")
        np.testing.assert_array_equal(got, want)
    assert isinstance(state[0].c, cuda.DeviceArray)
    got, _ = lstmcore.packed_rnn(on_cpu, x[0], np.array([0, 2, T]), device="cuda:1")
    close(got, lstmcore.packed_rnn(on_cpu, x[0], np.array([0, 2, T]))[0])


def test_a_call_elsewhere_builds(gpu):
    for device, given in (("cuda", cuda.asarray(values(N, T, I))), ("cuda:1", values(N, T, I))):
        stack = lstmcore.MultiRNNCell([lstmcore.LSTMCell(k) for k in (4, 3)])
        y, _ = lstmcore.dynamic_rnn(stack, given, dtype=np.float32, device=device, scope=device[-1])
        assert y.shape == (N, T, 3)
        assert [w.shape for w in stack.weights][:2] == [(I + 4, 16), (16,)]
        want, _ = lstmcore.dynamic_rnn(stack, values(N, T, I), dtype=np.float32, scope="again")
        close(back(y), want)


def test_weights_go_to_each_device_once(gpu, monkeypatch):
    from lstmcore.cells import on_gpu

    made, make = [], on_gpu.CellOnGpu.__init__

    def counted(self, where, *arguments):
        made.append(where)
        make(self, where, *arguments)

    monkeypatch.setattr(on_gpu.CellOnGpu, "__init__", counted)
    cell = built(lstmcore.LSTMCell(H))
    x = values(N, T, I)

    def run(device, **arguments):
        return lstmcore.dynamic_rnn(cell, x, dtype=np.float32, device=device, **arguments)[0]

    for _ in range(2):
        for device in ("cuda", "cuda:0", "auto", "cuda:1", None):
            run(device)
        run("cuda", device_dtype="float16")
    assert [(where.device, where.dtype) for where in made] == [
        ("cuda:0", None),
        ("cuda:1", None),
        ("cuda:0", "float16"),
    ]
    before = run("cuda")
    cell.weights[1].assign(np.full(4 * H, 0.3, np.float32))
    close(run("cuda"), run("cpu"))
    assert not np.array_equal(run("cuda"), before)
    assert len(made) == 4


def test_without_a_gpu(gpu, monkeypatch):
    cell, x = built(lstmcore.LSTMCell(H)), values(N, T, I)
    own = built(lstmcore.LSTMCell(H, activation=np.arctan))
    monkeypatch.setenv("LSTMCORE_CUDA_LIBRARY", "/nowhere/lib.so")
    for each in (cell, own):
        want, _ = lstmcore.dynamic_rnn(each, x, dtype=np.float32)
        got, _ = lstmcore.dynamic_rnn(each, x, dtype=np.float32, device="auto")
        np.testing.assert_array_equal(got, want)
    with pytest.raises(RuntimeError, match="device='cuda': LSTMCORE_CUDA_LIBRARY: there is no"):
        lstmcore.dynamic_rnn(cell, x, dtype=np.float32, device="cuda")


def test_auto_is_the_cpu_for_what_a_gpu_refuses(gpu):
    cell = lstmcore.LSTMCell(H, activation=lambda z: np.sin(z), device="auto")
    assert cell.device == "cpu"
    assert lstmcore.LSTMCell(H, device="auto").device == "cuda:0"
    x = values(T, N, I)
    y, _ = lstmcore.dynamic_rnn(cell, x, dtype=np.float32, time_major=True, device="auto")
    again, _ = lstmcore.dynamic_rnn(cell, x, dtype=np.float32, time_major=True)
    np.testing.assert_array_equal(y, again)
    with pytest.raises(ValueError, match=r"^activation: .* computed by NumPy"):
        lstmcore.LSTMCell(H, activation=np.sin, device="cuda")
