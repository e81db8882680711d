"""What cells and sequence functions on the emulated GPU refuse."""

import numpy as np
import pytest

import lstmcore
from cuda_cells import H, I, N, T, on_device, stacks, twins, values
from lstmcore import cuda


def run(cell, **arguments):
    return lstmcore.dynamic_rnn(cell, values(N, T, I), dtype=np.float32, **arguments)


def step_into(out, place=np.asarray):
    """A step of a cell on the GPU whose inputs are in a ``place``."""
    state = [place(values(N, H)), place(values(N, H, seed=2))]
    return twins()[1](place(values(N, I)), state, out=out(state) if callable(out) else out)


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
        lambda: step_into([values(N, H)] * 2),
        TypeError,
        "out: expected a pair",
    ),
    "out's type": (
        lambda: step_into((cuda.asarray(values(N, H)), values(N, H))),
        TypeError,
        r"out\[0\] \(c\): expected a float32 array .* where the inputs are, got DeviceArray",
    ),
    "out's dtype": (
        lambda: step_into((values(N, H), values(N, H, dtype=np.float64))),
        TypeError,
        r"out\[1\] \(h\): .* got dtype float64",
    ),
    "out's shape": (
        lambda: step_into((values(N, H + 1), values(N, H))),
        ValueError,
        r"out\[0\] \(c\): .* got shape \(3, 8\)",
    ),
    "out's layout": (
        lambda: step_into((values(N, H), values(H, N).T)),
        ValueError,
        r"out\[1\] \(h\): .* C-contiguous",
    ),
    "out over the state": (
        lambda: step_into(lambda state: (values(N, H), state[1])),
        ValueError,
        r"out\[1\] \(h\) may not share memory",
    ),
    "out on the host": (
        lambda: step_into((cuda.asarray(values(N, H)), values(N, H)), cuda.asarray),
        TypeError,
        r"out\[1\] \(h\): expected an array on the GPU, got one elsewhere",
    ),
    "out's dtype there": (
        lambda: step_into((cuda.asarray(values(N, H), "float64"), None), cuda.asarray),
        TypeError,
        r"out\[0\] \(c\): expected float32, got float64",
    ),
    "out's shape there": (
        lambda: step_into(
            (cuda.asarray(values(N, H)), cuda.asarray(values(N, H + 1))), cuda.asarray
        ),
        ValueError,
        r"out\[1\] \(h\): expected shape \(3, 7\), got \(3, 8\)",
    ),
    "h of out over the state": (
        lambda: step_into(lambda state: (cuda.asarray(values(N, H)), state[1]), cuda.asarray),
        ValueError,
        r"out\[1\] \(h\) and h of state may not share memory",
    ),
    "c of out over h": (
        lambda: step_into(lambda state: (state[1], cuda.asarray(values(N, H))), cuda.asarray),
        ValueError,
        r"out\[0\] \(c\) and h of state may not share memory",
    ),
    "out on one place": (
        lambda: step_into((cuda.asarray(values(N, H)),) * 2, cuda.asarray),
        ValueError,
        r"out\[1\] \(h\) and out\[0\] \(c\) may not share memory",
    ),
    "out of one array": (
        lambda: twins(state_is_tuple=False)[1](
            values(N, I), values(N, 2 * H), out=(values(N, H), values(N, H))
        ),
        TypeError,
        "out: only for cells with state_is_tuple",
    ),
    "one array's width": (
        lambda: twins(state_is_tuple=False)[1](values(N, I), cuda.asarray(values(N, 2 * H - 1))),
        ValueError,
        r"Expected size\[1\] in \[0, 6\], but got 7: state must be \[batch, 14\]",
    ),
    "one array's dtype": (
        lambda: twins(state_is_tuple=False)[1](
            values(N, I), cuda.asarray(values(N, 2 * H), "float64")
        ),
        TypeError,
        "state: expected float32, got float64",
    ),
    "one array's rows": (
        lambda: twins(state_is_tuple=False)[1](values(N, I), cuda.asarray(values(2, 2 * H))),
        ValueError,
        "Dimension 0 in both shapes must be equal",
    ),
    "stack's width": (
        lambda: stacks(state_is_tuple=False)[1](values(N, I), cuda.asarray(values(N, 4 * H - 1))),
        ValueError,
        r"Expected size\[1\] in \[0, 13\], but got 14",
    ),
    "residual of another depth": (
        lambda: lstmcore.ResidualWrapper(twins()[1])(
            cuda.asarray(values(N, I)), [values(N, H)] * 2
        ),
        ValueError,
        "Shapes .* are incompatible",
    ),
    "residual_fn over a sequence there": (
        lambda: lstmcore.dynamic_rnn(
            lstmcore.ResidualWrapper(twins()[1], lambda x, y: y),
            cuda.asarray(values(N, T, I)),
            dtype=np.float32,
        ),
        TypeError,
        "inputs: expected NumPy arrays for .*ResidualWrapper.* step by step .* arrays on cuda:0",
    ),
    "axes of a sequence there": (
        lambda: lstmcore.dynamic_rnn(twins()[1], cuda.asarray(values(N, T, 1, I)), dtype="f4"),
        ValueError,
        "inputs: expected one array of 3 axes",
    ),
    "a call's device": (
        lambda: run(twins()[0], device="gpu"),
        ValueError,
        "device: expected 'cpu', 'cuda'",
    ),
    "a call's index": (lambda: run(twins()[0], device="cuda:7"), ValueError, "no cuda:7"),
    "a call's dtype": (
        lambda: run(twins()[0], device="cuda", device_dtype="int8"),
        ValueError,
        "device_dtype: expected one of",
    ),
    "a call's math without device": (
        lambda: run(twins()[0], math="tf32"),
        ValueError,
        "math: 'tf32' is for a GPU",
    ),
    "a call on the CPU": (
        lambda: lstmcore.dynamic_rnn(
            twins()[1], cuda.asarray(values(N, T, I)), dtype=np.float32, device="cpu"
        ),
        TypeError,
        "inputs must be readable",
    ),
    "a cell of one's own": (
        lambda: run(lstmcore.LSTMCell(H, activation=np.arctan), device="cuda"),
        TypeError,
        "device: expected a cell whose time loop is native for device='cuda', got .*LSTMCell",
    ),
    "arrays of another GPU": (
        lambda: lstmcore.dynamic_rnn(
            twins()[1], cuda.asarray(values(N, T, I)), dtype=np.float32, device="cuda:1"
        ),
        ValueError,
        "inputs: expected an array on cuda:1, got one on cuda:0",
    ),
    "fused layer's stream": (
        lambda: lstmcore.Stream(lstmcore.LSTMBlockFusedCell(H, device="cuda"), input_size=I),
        TypeError,
        "lstm_fused_cell is on cuda:0; a stream needs a cell on the CPU",
    ),
    "stack's stream": (lambda: lstmcore.Stream(stacks()[1]), TypeError, "is on cuda:0"),
    "packed rows in one array": (
        lambda: lstmcore.packed_rnn(twins(state_is_tuple=False)[1], values(4, I), np.array([0, 4])),
        TypeError,
        "cell: expected state_is_tuple=True",
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
