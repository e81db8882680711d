"""Stacks and wrappers of cells on the emulated GPU: as on the CPU."""

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
    close,
    host_dtype,
    on_device,
    stacks,
    state_of,
    twins,
    values,
)
from lstmcore import cuda


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
    y, _ = lstmcore.DropoutWrapper(on_gpu)(cuda.asarray(x[:, 0]), state)
    close(cuda.asnumpy(y), on_cpu(x[:, 0], state)[0])
    assert [wrapper(on_gpu).device for wrapper in wrappers] == ["cuda:0"] * 3


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_residuals_over_a_sequence_there(gpu, reverse, time_major, dtype):
    kind = host_dtype(dtype)
    cells = twins(dtype=kind, depth=4, device_dtype=dtype, num_proj=4)
    on_cpu, on_gpu = (lstmcore.ResidualWrapper(lstmcore.ResidualWrapper(cell)) for cell in cells)
    x = values(*((T, N, 4) if time_major else (N, T, 4)), dtype=kind)
    for lengths in ([2, 0, T], None):
        arguments = {"dtype": kind, "sequence_length": lengths, "time_major": time_major}
        function = lstmcore.dynamic_rnn
        pair = [(on_cpu,), (on_gpu,)]
        if reverse:
            function = lstmcore.bidirectional_dynamic_rnn
            pair = [(on_cpu, on_cpu), (on_gpu, on_gpu)]
        want, _ = function(*pair[0], x, **arguments)
        got, _ = function(*pair[1], cuda.asarray(x, dtype), **arguments)
        if reverse:
            want, got = want[1], got[1]
        close(back(got, dtype), want, dtype)


def test_residuals_past_a_length_are_zero(gpu):
    """Whatever the padding holds."""
    on_cpu, on_gpu = twins(depth=H)
    x = values(N, T, H)
    x[0, 2:], x[1] = np.nan, np.inf
    got, _ = lstmcore.dynamic_rnn(
        lstmcore.ResidualWrapper(on_gpu), cuda.asarray(x), [2, 0, T], dtype=np.float32
    )
    want, _ = lstmcore.dynamic_rnn(lstmcore.ResidualWrapper(on_cpu), x, [2, 0, T], dtype=np.float32)
    close(back(got), want)
    assert not back(got)[0, 2:].any()


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_a_residual_step_there(gpu, dtype):
    kind = host_dtype(dtype)
    on_cpu, on_gpu = twins(dtype=kind, depth=H, device_dtype=dtype)
    x, state = values(N, H, dtype=kind), state_of(on_cpu, dtype=kind)
    want, want_state = lstmcore.ResidualWrapper(on_cpu)(x, state)
    got, got_state = lstmcore.ResidualWrapper(on_gpu)(
        cuda.asarray(x, dtype), on_device(state, dtype)
    )
    close(back(got, dtype), want, dtype)
    close(back(got_state.h, dtype), want_state.h, dtype)  # which stays without the inputs


@pytest.mark.parametrize("where", ["host", "device"])
def test_a_stack_of_residuals(gpu, where):
    pairs = [twins(depth=H), twins(depth=H, use_peepholes=True)]
    on_cpu, on_gpu = (
        lstmcore.MultiRNNCell([lstmcore.ResidualWrapper(cell) for cell in cells])
        for cells in zip(*pairs, strict=True)
    )
    x = values(N, T, H)
    state = tuple(state_of(pair[0]) for pair in pairs)
    given, step = (x, x[:, 0]) if where == "host" else map(cuda.asarray, (x, x[:, 0]))
    want, want_state = lstmcore.dynamic_rnn(on_cpu, x, [2, 0, T], state)
    got, got_state = lstmcore.dynamic_rnn(on_gpu, given, [2, 0, T], state)
    close(back(got), want)
    close(back(got_state[1].h), want_state[1].h)
    close(back(on_gpu(step, state)[0]), on_cpu(x[:, 0], state)[0])


def test_a_residual_fn_of_arrays_there(gpu):
    _, on_gpu = twins(depth=H)
    wrapper = lstmcore.ResidualWrapper(on_gpu, lambda x, y: (x, y))
    x = cuda.asarray(values(N, H))
    (given, output), state = wrapper(x, state_of(on_gpu))
    assert given is x
    assert output is state.h


@pytest.mark.parametrize("where", ["host", "device"])
def test_a_stack_with_its_state_in_one_array(gpu, where):
    on_cpu, on_gpu = stacks(state_is_tuple=False)
    x, state = values(N, I), values(N, 4 * H, seed=2)
    want, want_state = on_cpu(x, state)
    given = (x, state) if where == "host" else (cuda.asarray(x), cuda.asarray(state))
    got, got_state = on_gpu(*given)
    close(back(got), want)
    close(back(got_state), want_state)
    got, got_state = on_gpu(given[0], state)
    close(back(got_state), want_state)
