"""Sequence functions on the emulated GPU: as on the CPU."""

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
    built,
    close,
    host_dtype,
    on_device,
    stacks,
    state_of,
    twins,
    values,
)
from lstmcore import cuda


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


def fused_layer(on_cpu):
    layer = lstmcore.LSTMBlockFusedCell(H)
    layer(values(1, 1, I), dtype=np.float32)
    layer.set_weights(on_cpu.get_weights())
    return layer


@pytest.mark.parametrize("where", ["host", "device"])
@pytest.mark.parametrize("device", [None, "cuda"])
def test_packed_rows_of_a_fused_layer(gpu, device, where):
    layer, (on_cpu, _) = None, twins(cls=lstmcore.LSTMBlockCell)
    layer = fused_layer(on_cpu)
    x, offsets, state = values(6, I), np.array([0, 2, 2, 6]), state_of(on_cpu)
    want, want_state = lstmcore.packed_rnn(on_cpu, x, offsets, state)
    given = x if where == "host" or device is None else cuda.asarray(x)
    got, got_state = lstmcore.packed_rnn(layer, given, offsets, state, device=device)
    close(back(got), want)
    close(back(got_state.c), want_state.c)


def test_packed_rows_of_a_fused_layer_with_a_device(gpu):
    on_cpu, _ = twins(cls=lstmcore.LSTMBlockCell)
    layer = lstmcore.LSTMBlockFusedCell(H, device="cuda")
    layer(values(1, 1, I), dtype=np.float32)
    layer.set_weights(on_cpu.get_weights())
    assert layer.device == "cuda:0"
    assert lstmcore.LSTMBlockFusedCell(H).device == "cpu"
    x, offsets = values(6, I), [0, 2, 2, 6]
    got, _ = lstmcore.packed_rnn(layer, x, np.array(offsets))
    close(got, lstmcore.packed_rnn(on_cpu, x, np.array(offsets))[0])


# The device of a call. Inputs are [T, N, I]; what comes back is a list of arrays.


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


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("where", ["host", "device"])
@pytest.mark.parametrize("stack", [False, True])
def test_states_in_one_array(gpu, stack, where, dtype):
    kind = host_dtype(dtype)
    make = stacks if stack else twins
    on_cpu, on_gpu = make(state_is_tuple=False, dtype=kind, device_dtype=dtype)
    x, state = values(N, T, I, dtype=kind), values(N, on_cpu.state_size, dtype=kind, seed=2)
    for start in (None, state):
        given, there = (x, start) if where == "host" else (cuda.asarray(x, dtype), start)
        if where == "device" and start is not None:
            there = cuda.asarray(start)
        arguments = {"sequence_length": [3, 0, T]} | ({"dtype": kind} if start is None else {})
        want, want_state = lstmcore.dynamic_rnn(on_cpu, x, initial_state=start, **arguments)
        for cell, device in ((on_gpu, None), (on_cpu, "cuda")):
            got, got_state = lstmcore.dynamic_rnn(
                cell,
                given,
                initial_state=there,
                **arguments,
                device=device,
                device_dtype=dtype if device else None,
            )
            close(back(got, dtype), want, dtype)
            close(back(got_state, dtype), want_state, dtype)
