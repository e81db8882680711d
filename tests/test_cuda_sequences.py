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
    close,
    host_dtype,
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
